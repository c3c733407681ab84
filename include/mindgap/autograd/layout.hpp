// Axes in another order, or repeated, on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/layout.hpp>
#include <mindgap/ops/reduce.hpp>

namespace mindgap {

// Axis k of the result is axis axes[k] of x; the gradient goes the other way.
template <Real T, int N, Device D, Real G>
Var<T, N, D, G> permute(const Var<T, N, D, G>& x, const Axes<N>& axes, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D, G> y(permute(x.value(), axes), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient()) {
    Axes<N> back;
    for (int k = 0; k < N; ++k) back[axes[k]] = k;
    y.tape().record([back, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->pass(permute(ys->gradient(), back));
    });
  }
  return y;
}

// Axes i and j exchanged.
template <Real T, int N, Device D, Real G>
Var<T, N, D, G> transpose(const Var<T, N, D, G>& x, int i, int j, Location at = Location::current()) {
  const Caller caller(at);
  return permute(x, detail::swapped_axes<N>(i, j, x.value().str()));
}

// Repeated to a shape where x has extents of 1; the gradient is the sum over those axes. x itself where it has the shape.
template <Real T, int N, Device D>
Var<T, N, D> expand(const Var<T, N, D>& x, const std::type_identity_t<Shape<N>>& shape, Location at = Location::current()) {
  const Caller caller(at);
  if (x.shape() == shape) return x;
  Var<T, N, D> y(expand(x.value(), shape), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient()) {
    unsigned grown = 0;
    for (int k = 0; k < N; ++k) grown |= unsigned(x.extent(k) != shape[k]) << k;
    y.tape().record([grown, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { detail::sum_axes_into(out, ys->gradient(), grown, 1.f); });
    });
  }
  return y;
}

}  // namespace mindgap
