// One image is a batch of one.
// expect_first: mindgap: conv2d wants images \[N, H, W, C\] and weights \[O, kh, kw, C\]
#include <mindgap/ops/conv.hpp>

using namespace mindgap;

Tensor<float, 4> convolve(const Tensor<float, 3>& x, const Tensor<float, 4>& w) { return conv2d(x, w, {}, {1, 1}); }
