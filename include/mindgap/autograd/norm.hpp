// Norms on variables: with their epilogue, one record each.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/batch_norm.hpp>
#include <mindgap/ops/group_norm.hpp>

namespace mindgap {

// y = epilogue((x - mean) * rstd * gamma + beta, extras...). `from_batch` says that mean and rstd are the statistics of x
// itself, so that the gradient flows through them too; otherwise they are constants (running statistics).
template <class F, Real T, int N, Device D, std::same_as<Var<T, N, D>>... Extras>
Var<T, N, D> batch_norm(F epilogue, const Var<T, N, D>& x, const Tensor<float, 1, D>& mean, const Tensor<float, 1, D>& rstd,
                        bool from_batch, const Var<float, 1, D>& gamma, const Var<float, 1, D>& beta, const Extras&... extras) {
  constexpr int K = sizeof...(Extras);
  using Rule = Epilogue<F, K>;
  const bool needed =
      x.needs_gradient() || gamma.needs_gradient() || beta.needs_gradient() || (extras.needs_gradient() || ... || false);
  Tape& tape = detail::tape_of(x, gamma, beta, extras...);
  if (!needed) return {batch_norm(epilogue, x.value(), mean, rstd, gamma.value(), beta.value(), extras.value()...), tape, false};
  const auto out = batch_norm_with_signs(epilogue, x.value(), mean, rstd, gamma.value(), beta.value(), extras.value()...);
  const Var<T, N, D> y(out.y, tape, true);

  BatchNormInputs<T, N, D, K> in{x.value(), {}, {}, mean, rstd, gamma.value(), beta.value(), from_batch, out.signs};
  if constexpr (Rule::reads_y) in.y = y.value();
  [&]<size_t... I>(std::index_sequence<I...>) {
    ((Rule::reads_extra(int(I)) ? void(in.extras[I] = extras.value()) : void()), ...);
  }
  (std::make_index_sequence<K>{});

  for (const auto& extra : in.extras) y.tape().reads(extra);
  using Slot = std::shared_ptr<typename Var<T, N, D>::Slot>;
  y.tape().reads(in.x, in.y, in.mean, in.rstd, in.gamma, in.beta);
  y.tape().record([epilogue, in, xs = x.slot(), gs = gamma.slot(), bs = beta.slot(), es = std::array<Slot, K>{extras.slot()...},
                   ys = y.slot()] {
    if (!ys->written()) return;
    BatchNormGradients<T, N, D, K> grads;
    if (xs) grads.x = xs->destination();
    if (gs) grads.gamma = gs->destination();
    if (bs) grads.beta = bs->destination();
    for (size_t k = 0; k != K; ++k)
      if (es[k]) grads.extras[k] = es[k]->destination();
    batch_norm_backward(epilogue, ys->gradient(), in, grads);
    if (xs) xs->commit(grads.x);
    if (gs) gs->commit(grads.gamma);
    if (bs) bs->commit(grads.beta);
    for (size_t k = 0; k != K; ++k)
      if (es[k]) es[k]->commit(grads.extras[k]);
  });
  return y;
}

// y = epilogue(group norm of x); `skip` (undefined or the second part of the channels) and `row` (undefined or [N, C], added to
// every position of its sample before the norm) as in ops/group_norm.hpp.
template <class F, Real T, int N, Device D>
Var<T, N, D> group_norm(F epilogue, const Var<T, N, D>& x, const Var<T, N, D>& skip, const Var<T, 2, D>& row, i64 groups,
                        float eps, const Var<float, 1, D>& gamma, const Var<float, 1, D>& beta,
                        Location at = Location::current()) {
  const Caller caller(at);
  const GroupNormInput<T, N, D> in{x.value(), skip.value(), row.value()};
  const bool needed =
      x.needs_gradient() || skip.needs_gradient() || row.needs_gradient() || gamma.needs_gradient() || beta.needs_gradient();
  const auto [y_value, mean, rstd] = group_norm(epilogue, in, groups, eps, gamma.value(), beta.value());
  Var<T, N, D> y(y_value, detail::tape_of(x, skip, row, gamma, beta), needed);
  if (needed) {
    y.tape().reads(x.value(), skip.value(), row.value(), gamma.value(), beta.value());
    y.tape().record([epilogue, in, mean = mean, rstd = rstd, gamma = gamma.value(), beta = beta.value(), xs = x.slot(),
                     ss = skip.slot(), rs = row.slot(), gs = gamma.slot(), bs = beta.slot(), ys = y.slot()] {
      if (!ys->written()) return;
      GroupNormGradients<T, N, D> grads;
      if (xs) grads.x = xs->destination();
      if (ss) grads.skip = ss->destination();
      if (rs) grads.row = rs->destination();
      if (gs) grads.gamma = gs->destination();
      if (bs) grads.beta = bs->destination();
      group_norm_backward(epilogue, ys->gradient(), in, mean, rstd, gamma, beta, grads);
      if (xs) xs->commit(grads.x);
      if (ss) ss->commit(grads.skip);
      if (rs) rs->commit(grads.row);
      if (gs) gs->commit(grads.gamma);
      if (bs) bs->commit(grads.beta);
    });
  }
  return y;
}
template <class F, Real T, int N, Device D>
Tensor<T, N, D> group_norm(F epilogue, const Tensor<T, N, D>& x, const Tensor<T, N, D>& skip, const Tensor<T, 2, D>& row,
                           i64 groups, float eps, const Tensor<float, 1, D>& gamma, const Tensor<float, 1, D>& beta,
                           Location at = Location::current()) {
  const Caller caller(at);
  return group_norm(epilogue, GroupNormInput<T, N, D>{x, skip, row}, groups, eps, gamma, beta).y;
}

}  // namespace mindgap
