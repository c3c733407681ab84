// f32 plus bf16.
// expect_first: mindgap: the operands of one op have one element type: cast<bf16>\(x\) converts a tensor
#include <mindgap/autograd/pointwise.hpp>

using namespace mindgap;

Tensor<float, 3> sum(const Tensor<float, 3>& a, const Tensor<bf16, 3>& b) { return add(a, b); }
