// Layer norm on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/layer_norm.hpp>

namespace mindgap {

// Each row normalised by itself; gradients of x, gamma and beta.
template <Real T, int N, Device D>
Var<T, N, D> layer_norm(const Var<T, N, D>& x, const Var<float, 1, D>& gamma, const Var<float, 1, D>& beta, float eps,
                        Location at = Location::current()) {
  const Caller caller(at);
  const auto [value, mean, rstd] = layer_norm(x.value(), gamma.value(), beta.value(), eps);
  Var<T, N, D> y(value, detail::tape_of(x, gamma, beta), x.needs_gradient() || gamma.needs_gradient() || beta.needs_gradient());
  if (y.needs_gradient()) {
    y.tape().reads(x.value(), gamma.value(), mean, rstd);
    y.tape().record([mean = mean, rstd = rstd, x = x.value(), gamma = gamma.value(), xs = x.slot(), gs = gamma.slot(),
                     bs = beta.slot(), ys = y.slot()] {
      if (!ys->written()) return;
      LayerNormGradients<T, N, D> grads;
      if (xs) grads.x = xs->destination();
      if (gs) grads.gamma = gs->destination();
      if (bs) grads.beta = bs->destination();
      layer_norm_backward(ys->gradient(), x, mean, rstd, gamma, grads);
      if (xs) xs->commit(grads.x);
      if (gs) gs->commit(grads.gamma);
      if (bs) bs->commit(grads.beta);
    });
  }
  return y;
}

}  // namespace mindgap
