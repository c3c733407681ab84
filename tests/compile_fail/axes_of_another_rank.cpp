// A permutation names every axis.
// expect: mindgap: one number for each axis of the tensor
#include <mindgap/autograd/layout.hpp>

using namespace mindgap;

Var<float, 4> turned(const Var<float, 4>& images) { return permute(images, {3, 1, 2}); }
