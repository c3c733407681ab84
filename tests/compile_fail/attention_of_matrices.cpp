// expect_first: mindgap: attend wants q \[N, L, E\]
#include <mindgap/autograd/linear.hpp>

using namespace mindgap;

Var<float, 2> attended(const Var<float, 2>& x) { return attend(x, x, x, 2); }
