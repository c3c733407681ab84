// The CPU has no f16 convolution.
// expect: mindgap: this device does not compute in this element type; the CPU computes in f32 and bf16
#include <mindgap/ops/conv.hpp>

using Image = mindgap::Tensor<mindgap::f16, 4>;
Image convolve(const Image& x, const Image& w) { return mindgap::conv2d(x, w); }
