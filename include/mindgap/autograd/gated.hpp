// GEGLU on variables; its backward reads the input only.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/gated.hpp>

namespace mindgap {

// x [..., 2 K] -> [..., K]: the first half of each row times gelu of the second.
template <Real T, int N, Device D>
Var<T, N, D> geglu(const Var<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(geglu(x.value()), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient()) {
    y.tape().reads(x.value());
    y.tape().record([value = x.value(), xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { geglu_backward(out, ys->gradient(), value); });
    });
  }
  return y;
}

}  // namespace mindgap
