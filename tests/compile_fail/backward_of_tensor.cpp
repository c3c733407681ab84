// expect_first: mindgap: backward wants a variable
#include <mindgap/autograd/reduce.hpp>

using namespace mindgap;

void learn(const Tensor<float, 2>& x) { backward(sum(x)); }
