// Images as they come from a file are integers; layers compute in f32, bf16 and f16.
// expect_first: mindgap: this op computes in f32, bf16 and f16, not in integers
#include <mindgap/ops/conv.hpp>

using namespace mindgap;

Tensor<float, 4> convolve(const Tensor<i32, 4>& x, const Tensor<float, 4>& w) { return conv2d(x, w); }
