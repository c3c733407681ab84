// A broadcast row is [C] or [N, C].
// expect: mindgap: pointwise: row\(t\) wants t of rank 1, \[C\], or rank 2, \[N, C\]
#include <mindgap/ops/pointwise.hpp>

mindgap::Tensor<float, 4> add(const mindgap::Tensor<float, 4>& x, const mindgap::Tensor<float, 3>& bias) {
  return mindgap::pointwise([](auto a, auto b) { return a + b; }, x, mindgap::row(bias));
}
