// Operands of one op live on one device.
// expect_first: mindgap: the operands of one op live on one device
#include <mindgap/ops/conv.hpp>

auto convolve(const mindgap::Tensor<float, 4, mindgap::Cpu>& x, const mindgap::Tensor<float, 4, mindgap::Cuda>& w) {
  return mindgap::conv2d(x, w);
}
