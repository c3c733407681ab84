// The smallest use of mindgap from another project: a tensor, and a product, whose library must come with the headers.
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/library.hpp>
#include <mindgap/ops/matmul.hpp>

#include <iostream>

#ifndef __NO_MATH_ERRNO__
#error "the flags without which loops are not vectorised did not come with mindgap::mindgap"
#endif

int main() {
  const auto x = mindgap::Tensor<float, 2>::full({2, 3}, 1.5f);
  const auto y = mindgap::linear(x, x);
  std::cout << y.str() << "\n";
  return y.to_vector()[3] == 6.75f ? 0 : 1;
}
