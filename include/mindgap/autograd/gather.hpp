// Elements by index on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/gather.hpp>

namespace mindgap {

// The elements of x that the index names along an axis; what is named several times has the sum of the gradients.
template <Real T, int N, Device D>
Var<T, N, D> gather(const Var<T, N, D>& x, const Tensor<i32, N, D>& index, int axis, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(gather(x.value(), index, axis), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient()) {
    y.tape().reads(index);
    y.tape().record([index, axis, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { gather_backward(out, index, ys->gradient(), axis); });
    });
  }
  return y;
}

}  // namespace mindgap
