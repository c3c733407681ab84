// The smallest use of mindgap from another project: a tensor.
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <iostream>

int main() {
  const auto x = mindgap::Tensor<float, 2>::full({2, 3}, 1.5f);
  std::cout << x.str() << "\n";
  return x.to_vector()[5] == 1.5f ? 0 : 1;
}
