// Sums and means on variables, of all elements (losses of one's own end with one) or over some axes.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/reduce.hpp>

namespace mindgap {

namespace detail {

template <Real T, int N, Device D>
Var<float, 1, D> summed(const Tensor<float, 1, D>& value, const Var<T, N, D>& x, float scale) {
  Var<float, 1, D> y(value, tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([scale, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { sum_backward(out, ys->gradient(), scale); });
    });
  return y;
}
template <Real T, int N, Device D>
Var<T, N, D> summed_axes(const Tensor<T, N, D>& value, const Var<T, N, D>& x, float scale) {
  Var<T, N, D> y(value, tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([scale, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { sum_axes_backward(out, ys->gradient(), scale); });
    });
  return y;
}

}  // namespace detail

// The sum of all elements, one, f32.
template <Real T, int N, Device D>
Var<float, 1, D> sum(const Var<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  return detail::summed(sum(x.value()), x, 1.f);
}
// Their mean.
template <Real T, int N, Device D>
Var<float, 1, D> mean(const Var<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  return detail::summed(mean(x.value()), x, 1.f / float(x.size()));
}

// Over some axes, whose extents become 1: sum(x, {1, 2}) of [N, H, W, C] is [N, 1, 1, C].
template <Real T, int N, Device D>
Var<T, N, D> sum(const Var<T, N, D>& x, const std::vector<int>& axes, Location at = Location::current()) {
  const Caller caller(at);
  return detail::summed_axes(sum(x.value(), axes), x, 1.f);
}
// The mean over some axes, as sum.
template <Real T, int N, Device D>
Var<T, N, D> mean(const Var<T, N, D>& x, const std::vector<int>& axes, Location at = Location::current()) {
  const Caller caller(at);
  const Tensor<T, N, D> y = mean(x.value(), axes);
  return detail::summed_axes(y, x, y.size() ? 1.f / float(x.size() / y.size()) : 1.f);
}

}  // namespace mindgap
