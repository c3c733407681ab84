// A kernel of one device would read memory of the other.
// expect_first: mindgap: the operands of one op live on one device
#include <mindgap/ops/pointwise.hpp>

using namespace mindgap;

Tensor<float, 4> scaled(const Tensor<float, 4>& x, const Tensor<float, 1, Cuda>& scale) {
  return pointwise([](auto a, auto s) { return a * s; }, x, row(scale));
}
