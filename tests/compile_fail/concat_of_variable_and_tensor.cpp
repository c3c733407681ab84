// expect_first: mindgap: a tensor and a variable in one op: constant\(tape, x\) makes a variable of a tensor
#include <mindgap/autograd/concat.hpp>

using namespace mindgap;

Var<float, 2> joined(const Var<float, 2>& x, const Tensor<float, 2>& y) { return concat(x, y, 0); }
