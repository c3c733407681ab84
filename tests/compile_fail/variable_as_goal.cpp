// The goal of a loss needs no gradient.
// expect_first: mindgap: mse_loss wants x in f32, bf16 or f16 and a goal that is a tensor
#include <mindgap/autograd/loss.hpp>

using namespace mindgap;

Var<float, 1> loss(const Var<float, 2>& x, const Var<float, 2>& goal) { return mse_loss(x, goal); }
