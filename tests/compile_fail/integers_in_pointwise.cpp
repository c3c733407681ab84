// Expressions are computed in f32: 16777217 + 1 would be 16777216.
// expect_first: mindgap: this op computes in f32, bf16 and f16, not in integers
#include <mindgap/ops/pointwise.hpp>

using namespace mindgap;

auto next(const Tensor<i64, 1>& x) {
  return pointwise([](auto v) { return v + 1.f; }, x);
}
