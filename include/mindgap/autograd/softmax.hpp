// Softmax on variables; its backward reads the result only.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/softmax.hpp>

namespace mindgap {

// Over the innermost axis.
template <Real T, int N, Device D>
Var<T, N, D> softmax(const Var<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(softmax(x.value()), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient()) {
    y.tape().reads(y.value());
    y.tape().record([value = y.value(), xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { softmax_backward(out, value, ys->gradient()); });
    });
  }
  return y;
}

}  // namespace mindgap
