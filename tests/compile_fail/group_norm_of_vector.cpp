// Group norm needs a batch axis and channels.
// expect: mindgap: group_norm wants \[N, ..., C\]
#include <mindgap/ops/group_norm.hpp>

using Vector = mindgap::Tensor<float, 1>;
auto normalise(const Vector& x, const Vector& gamma, const Vector& beta) {
  return mindgap::group_norm(mindgap::epilogues::silu, mindgap::GroupNormInput<float, 1, mindgap::Cpu>{x}, 2, 1e-5f, gamma, beta);
}
