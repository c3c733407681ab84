// Concatenation along the channels on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/concat.hpp>

namespace mindgap {

template <Real T, int N, Device D>
Var<T, N, D> concat_channels(const Var<T, N, D>& a, const Var<T, N, D>& b, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(concat_channels(a.value(), b.value()), detail::tape_of(a, b), a.needs_gradient() || b.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([first = a.value().cols(), as = a.slot(), bs = b.slot(), ys = y.slot()] {
      if (!ys->written()) return;
      Tensor<T, N, D> grad_a, grad_b;
      if (as) grad_a = as->destination();
      if (bs) grad_b = bs->destination();
      concat_channels_backward(grad_a, grad_b, ys->gradient(), first);
      if (as) as->commit(grad_a);
      if (bs) bs->commit(grad_b);
    });
  return y;
}

}  // namespace mindgap
