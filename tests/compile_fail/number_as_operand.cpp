// expect_first: mindgap: pointwise takes a number as value\(x\)
#include <mindgap/autograd/pointwise.hpp>

using namespace mindgap;

Tensor<float, 2> scaled(const Tensor<float, 2>& x) {
  return pointwise([](auto a, auto s) { return a * s; }, x, 2.f);
}
