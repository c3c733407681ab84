// A lambda of pointwise that captures: its type would not say what it computes.
// expect: mindgap: pointwise: the lambda must not capture; pass the value as an argument
#include <mindgap/ops/pointwise.hpp>

mindgap::Tensor<float, 1> scaled(const mindgap::Tensor<float, 1>& x, float factor) {
  return mindgap::pointwise([factor](auto a) { return a * factor; }, x);
}
