// A network in bf16, images in f32.
// expect_first: mindgap: the operands of one op have one element type: cast<bf16>\(x\) converts a tensor
#include <mindgap/nn/layers.hpp>

using namespace mindgap;

Tensor<bf16, 4> run(const Conv2d<Cpu, Precision<bf16>>& layer, const Tensor<float, 4>& x) { return layer(x); }
