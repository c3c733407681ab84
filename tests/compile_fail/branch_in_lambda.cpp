// Control flow in a lambda of pointwise: it is traced once, so it cannot look at values. where(a > 0, ...) is the way.
// expect: use where\(condition, a, b\)
#include <mindgap/ops/pointwise.hpp>

mindgap::Tensor<float, 1> positive(const mindgap::Tensor<float, 1>& x) {
  return mindgap::pointwise(
      [](auto a) {
        auto y = a * 2.f;
        if (a > 0.f) y = a * 3.f;
        return y;
      },
      x);
}
