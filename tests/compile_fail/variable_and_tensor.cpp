// A weight that is a tensor, an input that is a variable.
// expect_first: mindgap: a tensor and a variable in one op: constant\(tape, x\) makes a variable of a tensor
#include <mindgap/autograd/linear.hpp>

using namespace mindgap;

Var<float, 2> product(const Var<float, 2>& x, const Tensor<float, 2>& w) { return linear(x, w); }
