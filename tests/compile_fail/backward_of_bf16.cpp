// expect_first: mindgap: backward wants a loss in f32
#include <mindgap/autograd/var.hpp>

using namespace mindgap;

void learn(const Var<bf16, 1>& x) { backward(x); }
