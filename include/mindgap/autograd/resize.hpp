// Nearest-neighbour resizing on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/resize.hpp>

namespace mindgap {

// Each pixel of the result is the nearest one of x; the gradient adds up what was made of a pixel.
template <Real T, Device D>
Var<T, 4, D> upsample_nearest(const Var<T, 4, D>& x, i64 height, i64 width, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, 4, D> y(upsample_nearest(x.value(), height, width), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { upsample_nearest_backward(out, ys->gradient()); });
    });
  return y;
}

}  // namespace mindgap
