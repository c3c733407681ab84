// Sums and means of all elements, in f32 whatever the type, and in a fixed order: in pieces first, which run side by side and
// round less than one long sum.
#pragma once

#include <mindgap/ops/pointwise.hpp>

namespace mindgap {

namespace detail {

template <Real T, int N, Device D>
Tensor<float, 1, D> scaled_sum(const Tensor<T, N, D>& x, float scale) {
  const i64 whole = x.size() / block_elements, rest = x.size() % block_elements, pieces = whole + (rest ? 1 : 0);
  const Tensor<float, 1, D> partial{Shape<1>(pieces)}, out{Shape<1>(1)};
  if (whole) Runtime<D>::launch(Grid{whole}, kernel::SumAll<float, T>{partial.data(), x.data(), block_elements, 1.f});
  if (rest)
    Runtime<D>::launch(Grid{1}, kernel::SumAll<float, T>{partial.data() + whole, x.data() + whole * block_elements, rest, 1.f});
  Runtime<D>::launch(Grid{1}, kernel::SumAll<float, float>{out.data(), partial.data(), pieces, scale});
  return out;
}

}  // namespace detail

// One element, f32; 0 of a tensor without any.
template <Real T, int N, Device D>
Tensor<float, 1, D> sum(const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("sum");
  op.moves(x);
  return detail::scaled_sum(x, 1.f);
}
template <Real T, int N, Device D>
Tensor<float, 1, D> mean(const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("mean");
  op.moves(x);
  if (x.size() == 0) throw Error("mean: there are no elements", {{"input", x.str()}});
  return detail::scaled_sum(x, 1.f / float(x.size()));
}

// Overwrites grad_x, each element of which is scale * grad.
template <Real T, int N, Device D>
void sum_backward(const Tensor<T, N, D>& grad_x, const Tensor<float, 1, D>& grad, float scale) {
  const Op<D> op("sum backward");
  op.moves(grad_x);
  Runtime<D>::zero(grad_x.data(), grad_x.bytes());
  pointwise_into(
      grad_x, [](auto x, auto g, auto s) { return x + g * s; }, grad_x, scalar(grad), value(scale));
}

}  // namespace mindgap
