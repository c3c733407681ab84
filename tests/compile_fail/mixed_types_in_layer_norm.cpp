// Norms keep gamma and beta in f32, whatever x is.
// expect_first: mindgap: layer_norm wants x in f32, bf16 or f16 and gamma and beta f32 \[C\]
#include <mindgap/ops/layer_norm.hpp>

using namespace mindgap;

auto norm(const Tensor<bf16, 3>& x, const Tensor<bf16, 1>& gamma, const Tensor<bf16, 1>& beta) {
  return layer_norm(x, gamma, beta, 1e-5f);
}
