// Layer norm over the innermost axis, as torch.nn.functional.layer_norm(x, [C], gamma, beta, eps).
// Formulas and bytes moved: kernels/norm_layer.hpp.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/norm_layer.hpp>
#include <mindgap/kernels/reduce.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

template <class T, int N, Device D>
struct LayerNormResult {
  Tensor<T, N, D> y;               // [..., C]
  Tensor<float, 1, D> mean, rstd;  // of each row
};

// x [..., C], gamma and beta f32 [C].
template <Real T, int N, Device D>
LayerNormResult<T, N, D> layer_norm(const Tensor<T, N, D>& x, const Tensor<float, 1, D>& gamma, const Tensor<float, 1, D>& beta,
                                    float eps, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("layer norm");
  detail::check_eps("layer norm", eps);
  if (gamma.size() != x.cols() || beta.size() != x.cols())
    throw Error(text("layer norm: input has ", x.cols(), " channels, gamma has ", gamma.size(), ", beta has ", beta.size()),
                {{"input", x.str()}});
  const i64 rows = x.rows();
  LayerNormResult<T, N, D> out{Tensor<T, N, D>(x.shape()), Tensor<float, 1, D>(Shape<1>(rows)),
                               Tensor<float, 1, D>(Shape<1>(rows))};
  op.moves(x, out.y);
  const kernel::RowTeams teams = kernel::row_teams<T>(rows, x.cols());
  Runtime<D>::launch(teams.grid(), kernel::LayerNorm<T>{out.y.data(), out.mean.data(), out.rstd.data(), x.data(), gamma.data(),
                                                        beta.data(), teams, eps});
  return out;
}

// Of operands that do not fit.
template <class X, class G, class B, class... Rest>
requires(detail::is_operand<X> && !(detail::is_row_for<X, G>() &&
                                    detail::is_row_for<X, B>())) auto layer_norm(const X& x, const G&, const B&, const Rest&...) {
  static_assert(
      !detail::is_operand<X>,
      "mindgap: layer_norm wants x in f32, bf16 or f16 and gamma and beta f32 [C]; all tensors or all variables, on one device");
  return x;
}

// Where the gradients go; an undefined tensor is not wanted.
template <class T, int N, Device D>
struct LayerNormGradients {
  Tensor<T, N, D> x;
  Tensor<float, 1, D> gamma, beta;
};

template <Real T, int N, Device D>
void layer_norm_backward(const Tensor<T, N, D>& grad_y, const Tensor<T, N, D>& x, const Tensor<float, 1, D>& mean,
                         const Tensor<float, 1, D>& rstd, const Tensor<float, 1, D>& gamma,
                         const LayerNormGradients<T, N, D>& grads) {
  written(grads.x, grads.gamma, grads.beta);
  const Op<D> op("layer norm backward");
  op.moves(grad_y, x, grads.x);
  kernel::RowTeams teams = kernel::row_teams<T>(x.rows(), x.cols());
  // Many rows a block, since each leaves a row of sums; and many blocks for the cores of a GPU.
  constexpr bool cpu = std::same_as<D, Cpu>;
  teams.rows_per_block = std::clamp<i64>(teams.rows / (cpu ? 64 : 1024), cpu ? 8 : 32, 256);
  const i64 blocks = teams.grid().blocks;
  Tensor<float, 2, D> sum_gamma({blocks, x.cols()}), sum_beta({blocks, x.cols()});
  Runtime<D>::launch(teams.grid(), kernel::LayerNormBackward<T>{grads.x.data(), sum_gamma.data(), sum_beta.data(), grad_y.data(),
                                                                x.data(), mean.data(), rstd.data(), gamma.data(), teams});
  const auto add_blocks = [&](const Tensor<float, 1, D>& to, const Tensor<float, 2, D>& from) {
    if (to.defined()) kernel::reduce_rows<D>(to.data(), static_cast<const float*>(from.data()), 1, blocks, x.cols(), 1.f);
  };
  add_blocks(grads.gamma, sum_gamma);
  add_blocks(grads.beta, sum_beta);
}

}  // namespace mindgap
