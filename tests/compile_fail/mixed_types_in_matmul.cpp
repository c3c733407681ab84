// f32 times bf16.
// expect_first: mindgap: the operands of one op have one element type: cast<bf16>\(x\) converts a tensor
#include <mindgap/ops/matmul.hpp>

using namespace mindgap;

Tensor<float, 3> product(const Tensor<float, 3>& a, const Tensor<bf16, 3>& b) { return matmul(a, b, false, true); }
