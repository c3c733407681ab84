// expect_first: mindgap: gather wants an index of i32
#include <mindgap/autograd/gather.hpp>

using namespace mindgap;

Var<float, 2> taken(const Var<float, 2>& x, const Tensor<i64, 2>& index) { return gather(x, index, 1); }
