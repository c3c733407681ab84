// A shape has as many extents as its tensor has rank.
// expect: Shape<4
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

auto image = mindgap::Tensor<float, 4>::zeros(mindgap::Shape<3>(28, 28, 1));
