// What a batch norm's epilogue adds has the type of what the norm makes.
// expect_first: mindgap: batch norm: what its epilogue takes besides is of the type of x
#include <mindgap/nn/layers.hpp>

using namespace mindgap;

Tensor<bf16, 4> block(BatchNorm2d<Cpu, Precision<bf16>>& norm, const Tensor<bf16, 4>& x, const Tensor<float, 4>& residual) {
  return norm(x, relu_add, residual);
}
