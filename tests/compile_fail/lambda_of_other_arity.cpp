// expect_first: mindgap: pointwise: the lambda takes as many arguments as there are operands
#include <mindgap/autograd/pointwise.hpp>

using namespace mindgap;

Tensor<float, 2> product(const Tensor<float, 2>& x) {
  return pointwise([](auto a, auto b) { return a * b; }, x);
}
