// Losses on variables; targets need no gradient.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/loss.hpp>

namespace mindgap {

// The mean over the rows, one element in f32; gradient of the logits. targets: labels, or a distribution a row.
template <Real T, Device D, class Targets>
Var<float, 1, D> cross_entropy(const Var<T, 2, D>& logits, const Targets& targets, float smoothing = 0.f,
                               Location at = Location::current()) {
  detail::assert_targets<T, D, Targets>();
  const Caller caller(at);
  const CrossEntropyResult<D> result = cross_entropy_rows(logits.value(), targets, smoothing);
  Var<float, 1, D> loss(result.loss, detail::tape_of(logits), logits.needs_gradient());
  if (loss.needs_gradient()) {
    loss.tape().reads(logits.value(), targets);
    loss.tape().record([=, normaliser = result.normaliser, x = logits.value(), xs = logits.slot(), ys = loss.slot()] {
      if (ys->written())
        xs->write([&](const auto& out) { cross_entropy_backward(out, ys->gradient(), x, targets, normaliser, smoothing); });
    });
  }
  return loss;
}

template <class X, class Targets, class... Rest>
requires(detail::is_operand<X> && !(is_var<X> && detail::rank_of<X>() == 2)) auto cross_entropy(const X& x, const Targets&,
                                                                                                const Rest&...) {
  static_assert(!detail::is_operand<X>,
                "mindgap: cross_entropy wants logits, a variable [N, K]; of a tensor: cross_entropy_rows(logits, targets)");
  return x;
}

// The mean of (x - y)^2, one element in f32; gradient of x.
template <Real T, int N, Device D>
Var<float, 1, D> mse_loss(const Var<T, N, D>& x, const Tensor<T, N, D>& y, Location at = Location::current()) {
  const Caller caller(at);
  Var<float, 1, D> loss(mse_loss(x.value(), y), detail::tape_of(x), x.needs_gradient());
  if (loss.needs_gradient()) {
    loss.tape().reads(x.value(), y);
    loss.tape().record([y, x = x.value(), xs = x.slot(), ys = loss.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { mse_loss_backward(out, ys->gradient(), x, y); });
    });
  }
  return loss;
}

}  // namespace mindgap
