// double is no element type; both compilers show the concept that lists those that are.
// expect: constraint( failure|s? not satisfied)
// expect: concept Element = Real<T>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

mindgap::Tensor<double, 2> matrix;
