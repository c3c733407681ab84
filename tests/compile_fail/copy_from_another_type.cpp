// expect: mindgap: copy_from copies elements of one type
#include <mindgap/core/tensor.hpp>

void copy(const mindgap::Tensor<float, 2>& x, const mindgap::Tensor<mindgap::bf16, 2>& y) { y.copy_from(x); }
