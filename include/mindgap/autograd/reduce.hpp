// Sums and means of all elements on variables: losses of one's own end with one.
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

}  // namespace detail

template <Real T, int N, Device D>
Var<float, 1, D> sum(const Var<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  return detail::summed(sum(x.value()), x, 1.f);
}
template <Real T, int N, Device D>
Var<float, 1, D> mean(const Var<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  return detail::summed(mean(x.value()), x, 1.f / float(x.size()));
}

}  // namespace mindgap
