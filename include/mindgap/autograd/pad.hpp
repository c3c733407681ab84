// Zeros around images on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/pad.hpp>

namespace mindgap {

// x [N, H, W, C] with zeros on each side.
template <Real T, Device D>
Var<T, 4, D> zero_pad2d(const Var<T, 4, D>& x, const Padding2d& padding, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, 4, D> y(zero_pad2d(x.value(), padding), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([padding, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { zero_pad2d_backward(out, ys->gradient(), padding); });
    });
  return y;
}

}  // namespace mindgap
