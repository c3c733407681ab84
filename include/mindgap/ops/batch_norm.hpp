// Batch norm with an epilogue: y = epilogue((x - mean) * rstd * gamma + beta, extras...) over all rows of x [..., C].
//
//   auto s = batch_statistics(x, 1e-5f);                                 or running averages: running_rstd(variance, eps)
//   auto y = batch_norm(relu_add, x, s.mean, s.rstd, gamma, beta, residual);
//
// The epilogue is a stateless lambda of z and of dense tensors shaped like x (kernels/epilogue.hpp has the usual ones); it costs
// no pass of its own, in neither direction. Statistics, gamma and beta are f32 [C]: y is off where a mean's last digit is.
// Formulas and bytes moved: kernels/norm_batch.hpp and norm_batch_backward.hpp. Semantics as torch.nn.functional.batch_norm.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/norm_batch_backward.hpp>
#include <mindgap/ops/operands.hpp>
#include <mindgap/ops/pointwise.hpp>

#include <array>

namespace mindgap {

template <Device D>
struct BatchNormStatistics {
  Tensor<float, 1, D> mean, rstd;  // [C]; rstd = 1 / sqrt(biased variance + eps)
};

// Mean and sum of squared deviations of each column over chunks of rows, from which the statistics of all rows follow.
template <Device D>
struct ColumnMoments {
  Tensor<float, 2, D> mean, m2;  // [chunks, cols]
  kernel::ColumnGrid grid;       // what the chunks are

  bool defined() const { return mean.defined(); }
  static ColumnMoments over(const kernel::ColumnGrid& grid) {
    return {Tensor<float, 2, D>({grid.chunks, grid.cols}), Tensor<float, 2, D>({grid.chunks, grid.cols}), grid};
  }
};

// Running averages of a batch norm: value += momentum * (batch value - value), of the mean and the unbiased variance.
template <Device D>
struct RunningAverages {
  Tensor<float, 1, D> mean, variance;  // [C]
  float momentum = 0.1f;
};

namespace detail {

template <class T, int N, Device D>
void check_channels(const char* op, const Tensor<T, N, D>& x, const char* label, const Tensor<float, 1, D>& row) {
  if (row.size() != x.cols())
    throw Error(text(op, ": input has ", x.cols(), " channels, ", label, " has ", row.size()),
                {{"input", x.str()}, {label, row.str()}});
}

template <class T, int N, Device D>
void check_same_shape(const char* op, const Tensor<T, N, D>& x, const char* label, const Tensor<T, N, D>& other) {
  if (other.shape() != x.shape())
    throw Error(text(op, ": ", label, " is not shaped like the input"), {{"input", x.str()}, {label, other.str()}});
}

// Passes over x. eps: of the norm that they are for.
template <class T, int N, Device D>
ColumnMoments<D> column_moments(const Tensor<T, N, D>& x, float eps) {
  const auto moments = ColumnMoments<D>::over(kernel::column_grid<D>(x.rows(), x.cols()));
  Runtime<D>::launch(Grid{moments.grid.blocks(), team_threads},
                     kernel::BatchMoments<T>{moments.mean.data(), moments.m2.data(), x.data(), moments.grid, eps});
  return moments;
}

// moments: of x, or undefined. running: of which nothing moves where it is undefined.
template <class T, int N, Device D>
BatchNormStatistics<D> batch_statistics(const Tensor<T, N, D>& x, ColumnMoments<D> moments, float eps,
                                        const RunningAverages<D>& running) {
  const Op<D> op("batch statistics");
  check_eps("batch norm", eps);
  if (!(running.momentum >= 0.f && running.momentum <= 1.f))
    throw Error(text("batch norm: a momentum of ", running.momentum), {{"remedy", "0 to 1; 0.1 is usual"}});
  if (x.rows() < 2)
    throw Error("batch norm: batch statistics need more than one value per channel",
                {{"input", x.str()}, {"remedy", "use a larger batch, drop the short last one, or use running statistics"}});
  if (!moments.defined()) {
    op.moves(x);
    moments = column_moments(x, eps);
  }
  const Shape<1> channels(x.cols());
  const BatchNormStatistics<D> out{Tensor<float, 1, D>(channels), Tensor<float, 1, D>(channels)};
  Runtime<D>::launch(Grid{kernel::column_groups(x.cols()), team_threads},
                     kernel::BatchStatistics{out.mean.data(), out.rstd.data(), running.mean.data(), running.variance.data(),
                                             moments.mean.data(), moments.m2.data(), moments.grid, eps, running.momentum});
  written(running.mean, running.variance);
  return out;
}

}  // namespace detail

// Mean and rstd of each channel over all rows of x. Needs at least two rows.
template <class T, int N, Device D>
BatchNormStatistics<D> batch_statistics(const Tensor<T, N, D>& x, float eps, Location at = Location::current()) {
  const Caller caller(at);
  return detail::batch_statistics(x, {}, eps, RunningAverages<D>{});
}

// The same, and moves the running averages. moments: of x, from who wrote it, which spares a pass over x; or undefined.
template <class T, int N, Device D>
BatchNormStatistics<D> batch_statistics(const Tensor<T, N, D>& x, float eps, const RunningAverages<D>& running,
                                        const ColumnMoments<D>& moments = {}, Location at = Location::current()) {
  const Caller caller(at);
  detail::check_channels("batch norm", x, "running mean", running.mean);
  detail::check_channels("batch norm", x, "running variance", running.variance);
  return detail::batch_statistics(x, moments, eps, running);
}

// rstd [C] of running statistics.
template <Device D>
Tensor<float, 1, D> running_rstd(const Tensor<float, 1, D>& variance, float eps) {
  detail::check_eps("batch norm", eps);
  constexpr auto reciprocal_root = [](auto v, auto e) { return 1.f / sqrt(v + e); };
  return pointwise(reciprocal_root, variance, value(eps));
}

template <class T, int N, Device D>
struct BatchNormResult {
  Tensor<T, N, D> y;
  // Which elements of y are positive, a bit each (kernels/norm_batch.hpp), where the backward reads no more of it and a device
  // gains by it; else undefined.
  Tensor<u8, 1, D> signs;
};

namespace detail {

template <class F, class T, int N, Device D, std::same_as<Tensor<T, N, D>>... Extras>
BatchNormResult<T, N, D> batch_norm(F, bool with_signs, const Tensor<T, N, D>& x, const Tensor<float, 1, D>& mean,
                                    const Tensor<float, 1, D>& rstd, const Tensor<float, 1, D>& gamma,
                                    const Tensor<float, 1, D>& beta, const Extras&... extras) {
  using Kernel = kernel::BatchNormApply<Traced<F, 1 + sizeof...(Extras)>, T, int(sizeof...(Extras))>;
  const Op<D> op("batch norm");
  check_channels("batch norm", x, "mean", mean);
  check_channels("batch norm", x, "rstd", rstd);
  check_channels("batch norm", x, "gamma", gamma);
  check_channels("batch norm", x, "beta", beta);
  (check_same_shape("batch norm", x, "extra", extras), ...);
  BatchNormResult<T, N, D> out{Tensor<T, N, D>(x.shape()), {}};
  const kernel::ColumnGrid grid = kernel::column_grid<D>(x.rows(), x.cols());
  Kernel kernel{out.y.data(), x.data(), {{extras.data()...}}, {mean.data(), rstd.data(), gamma.data(), beta.data()}, grid};
  if constexpr (has_teams<D> && Epilogue<F, int(sizeof...(Extras))>::reads_y)
    if (with_signs && kernel.vectorised()) {
      out.signs = Tensor<u8, 1, D>(Shape(x.size() / Kernel::vec_size));
      kernel.signs = out.signs.data();
    }
  op.moves(x, extras..., out.y, out.signs);
  Runtime<D>::launch(Grid{grid.blocks(), team_threads}, kernel);
  return out;
}

}  // namespace detail

// y = epilogue((x - mean) * rstd * gamma + beta, extras...)
template <class F, class T, int N, Device D, std::same_as<Tensor<T, N, D>>... Extras>
Tensor<T, N, D> batch_norm(F epilogue, const Tensor<T, N, D>& x, const Tensor<float, 1, D>& mean, const Tensor<float, 1, D>& rstd,
                           const Tensor<float, 1, D>& gamma, const Tensor<float, 1, D>& beta, const Extras&... extras) {
  return detail::batch_norm(epilogue, false, x, mean, rstd, gamma, beta, extras...).y;
}

// The same, and the signs of y for batch_norm_backward.
template <class F, class T, int N, Device D, std::same_as<Tensor<T, N, D>>... Extras>
BatchNormResult<T, N, D> batch_norm_with_signs(F epilogue, const Tensor<T, N, D>& x, const Tensor<float, 1, D>& mean,
                                               const Tensor<float, 1, D>& rstd, const Tensor<float, 1, D>& gamma,
                                               const Tensor<float, 1, D>& beta, const Extras&... extras) {
  return detail::batch_norm(epilogue, true, x, mean, rstd, gamma, beta, extras...);
}

// What the backward of batch_norm reads. Tensors that nothing reads may stay undefined:
// y unless Epilogue<F, K>::reads_y, extras[k] unless Epilogue<F, K>::reads_extra(k).
template <class T, int N, Device D, int K>
struct BatchNormInputs {
  Tensor<T, N, D> x, y;
  std::array<Tensor<T, N, D>, K> extras;
  Tensor<float, 1, D> mean, rstd, gamma, beta;
  bool batch_statistics;     // mean and rstd come from x (batch_statistics), else they are constants
  Tensor<u8, 1, D> signs{};  // of y, as batch_norm_with_signs left them, or undefined: y does as well
};

// Where the gradients go; an undefined tensor is not wanted.
template <class T, int N, Device D, int K>
struct BatchNormGradients {
  Tensor<T, N, D> x;
  Tensor<float, 1, D> gamma, beta;
  std::array<Tensor<T, N, D>, K> extras;
};

// Writes the gradients of batch_norm(epilogue, ...). Two passes over the data for batch statistics, one for constant ones.
template <class F, class T, int N, Device D, int K>
void batch_norm_backward(F, const Tensor<T, N, D>& grad_y, const BatchNormInputs<T, N, D, K>& in,
                         const BatchNormGradients<T, N, D, K>& grads) {
  using Function = Traced<F, 1 + K>;
  using Rule = Epilogue<F, K>;
  written(grads.x, grads.gamma, grads.beta);
  for (const auto& extra : grads.extras) written(extra);
  const Op<D> op("batch norm backward");
  op.moves(grad_y, in.x, grads.x);
  if (in.signs.defined()) op.moves(in.signs);
  else op.moves(in.y);
  for (int k = 0; k < K; ++k) op.moves(in.extras[size_t(k)], grads.extras[size_t(k)]);
  const kernel::ColumnGrid grid = kernel::column_grid<D>(grad_y.rows(), grad_y.cols());
  const kernel::BatchNormParameters parameters{in.mean.data(), in.rstd.data(), in.gamma.data(), in.beta.data()};
  kernel::BatchNormSaved<Function, T, K> saved{grad_y.data(), in.x.data(), in.y.data(), {}, in.signs.data()};
  kernel::Pointers<T, K> grad_extras{};
  bool any_extra = false;
  for (int k = 0; k < K; ++k) {
    saved.extras.at[k] = in.extras[size_t(k)].data();
    grad_extras.at[k] = grads.extras[size_t(k)].data();
    any_extra |= grads.extras[size_t(k)].defined();
  }
  const bool want_parameters = grads.gamma.defined() || grads.beta.defined();
  const bool sums = want_parameters || (in.batch_statistics && grads.x.defined());
  const bool write_x = !in.batch_statistics && grads.x.defined();

  Tensor<float, 2, D> partial, mean({2, grid.cols});
  if (sums) partial = Tensor<float, 2, D>({2 * grid.chunks, grid.cols});
  float *sum = partial.data(), *product = sum ? sum + grid.chunks * grid.cols : nullptr;
  const auto reduce = [&]<bool Sums, bool WriteX>() {
    Runtime<D>::launch(Grid{grid.blocks(), team_threads},
                       kernel::BatchNormReduce<Function, T, K, Sums, WriteX>{sum, product, grads.x.data(), grad_extras, saved,
                                                                             parameters, grid});
  };
  if (sums && write_x) reduce.template operator()<true, true>();
  else if (sums) reduce.template operator()<true, false>();
  else if (write_x) reduce.template operator()<false, true>();
  else if (any_extra) reduce.template operator()<false, false>();
  if (!sums) return;

  float *mean_grad = mean.data(), *slope = mean_grad + grid.cols;
  Runtime<D>::launch(Grid{kernel::column_groups(grid.cols), team_threads},
                     kernel::BatchNormSums{grads.gamma.data(), grads.beta.data(), mean_grad, slope, in.rstd.data(), sum, product,
                                           grid.rows, grid.cols, grid.chunks});
  if (!in.batch_statistics || !grads.x.defined()) return;
  if constexpr (Rule::twin() >= 0) {
    // The gradient that an extra has just received is dz: reading it spares y and the epilogue.
    if (const auto& dz = grads.extras[size_t(Rule::twin())]; dz.defined()) {
      Runtime<D>::launch(Grid{grid.blocks(), team_threads},
                         kernel::BatchNormBackward<Traced<decltype(epilogues::identity), 1>, T, 0>{
                             grads.x.data(), mean_grad, slope, {dz.data(), in.x.data(), nullptr, {}, nullptr}, parameters, grid});
      return;
    }
  }
  Runtime<D>::launch(Grid{grid.blocks(), team_threads},
                     kernel::BatchNormBackward<Function, T, K>{grads.x.data(), mean_grad, slope, saved, parameters, grid});
}

}  // namespace mindgap
