// A layer has its weights on one device, and an input on another.
// expect_first: mindgap: the operands of one op live on one device
#include <mindgap/nn/layers.hpp>

using namespace mindgap;

Tensor<float, 2> run(const Linear<Cpu, Precision<float>>& layer, const Tensor<float, 2, Cuda>& x) { return layer(x); }
