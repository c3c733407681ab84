// Control flow in a lambda of pointwise: it is traced once, so it cannot look at values. where(a > 0, ...) is the way.
// expect: use where\(condition, a, b\)
#include <mindgap/ops/pointwise.hpp>

mindgap::Tensor<float, 1> positive(const mindgap::Tensor<float, 1>& x) {
  return mindgap::pointwise([](auto a) { return a > 0.f ? a : a * 0.f; }, x);
}
