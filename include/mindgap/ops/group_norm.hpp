// Group norm with an epilogue: y = epilogue((x - mean) * rstd * gamma + beta), mean and rstd of each sample and group of
// channels.
//
//   auto [y, mean, rstd] = group_norm(epilogues::silu, {x}, 8, 1e-5f, gamma, beta);
//   group_norm(epilogues::silu, {x, skip}, ...)         x and skip side by side along the channels, never concatenated
//   group_norm(epilogues::silu, {x, {}, row}, ...)      row [N, C] is added to each row of its sample before the norm
//
// Formulas and bytes moved: kernels/norm_group.hpp; kernels/norm_group_divided.hpp and _backward.hpp for a GPU, whose blocks
// share a sample. Semantics as torch.nn.functional.group_norm.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/norm_group_divided_backward.hpp>
#include <mindgap/kernels/reduce.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

template <class T, int N, Device D>
struct GroupNormInput {
  Tensor<T, N, D> x;       // [N, ..., C] or the first part of it
  Tensor<T, N, D> skip{};  // the second part, or undefined
  Tensor<T, 2, D> row{};   // [N, C], or undefined
};
template <class T, int N, Device D>
GroupNormInput(Tensor<T, N, D>) -> GroupNormInput<T, N, D>;
template <class T, int N, Device D>
GroupNormInput(Tensor<T, N, D>, Tensor<T, N, D>) -> GroupNormInput<T, N, D>;

template <class T, int N, Device D>
struct GroupNormResult {
  Tensor<T, N, D> y;               // [N, ..., C]
  Tensor<float, 2, D> mean, rstd;  // [N, groups]
};

namespace detail {

template <class T, int N, Device D>
kernel::GroupGrid check_group_norm(const GroupNormInput<T, N, D>& in, i64 groups, const Tensor<float, 1, D>& gamma,
                                   const Tensor<float, 1, D>& beta) {
  static_assert(N >= 2, "mindgap: group_norm wants [N, ..., C]");
  const i64 samples = in.x.extent(0), second = in.skip.defined() ? in.skip.cols() : 0, channels = in.x.cols() + second;
  std::vector<ErrorLine> lines{{"input", in.x.str()}};
  if (in.skip.defined()) {
    lines.push_back({"skip", in.skip.str()});
    for (int axis = 0; axis < N - 1; ++axis)
      if (in.skip.extent(axis) != in.x.extent(axis))
        throw Error("group norm: skip and input differ in more than channels", lines);
  }
  if (groups < 1 || channels % groups)
    throw Error(text("group norm: ", channels, " channels do not divide into ", groups, " groups"), lines);
  for (const auto* row : {&gamma, &beta})
    if (row->size() != channels)
      throw Error(text("group norm: input has ", channels, " channels, ", row == &gamma ? "gamma" : "beta", " has ", row->size()),
                  lines);
  if (in.row.defined() && in.row.shape() != Shape<2>(samples, channels)) {
    lines.push_back({"row", in.row.str()});
    throw Error(text("group norm: the added row should be ", Shape<2>(samples, channels).str()), lines);
  }
  i64 rows = 1;
  for (int axis = 1; axis < N - 1; ++axis) rows *= in.x.extent(axis);
  return kernel::group_grid(samples, rows, in.x.cols(), second, groups);
}

template <class T, int N, Device D>
void zero_one(const Tensor<T, N, D>& tensor) {
  if (tensor.defined()) Runtime<D>::zero(tensor.data(), tensor.bytes());
}
template <class... Tensors>
void zero_defined(const Tensors&... tensors) {
  (zero_one(tensors), ...);
}

}  // namespace detail

template <class F, class T, int N, Device D>
GroupNormResult<T, N, D> group_norm(F, const GroupNormInput<T, N, D>& in, i64 groups, float eps, const Tensor<float, 1, D>& gamma,
                                    const Tensor<float, 1, D>& beta, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("group norm");
  detail::check_eps("group norm", eps);
  const kernel::GroupGrid grid = detail::check_group_norm(in, groups, gamma, beta);
  Shape<N> shape = in.x.shape();
  shape[N - 1] = grid.channels;
  const Shape<2> statistics(grid.samples, groups);
  GroupNormResult<T, N, D> out{Tensor<T, N, D>(shape), Tensor<float, 2, D>(statistics), Tensor<float, 2, D>(statistics)};
  op.moves(in.x, in.skip, out.y);
  if (!out.y.size()) {  // nothing has a mean
    detail::zero_defined(out.mean, out.rstd);
    return out;
  }
  const T* const x[2] = {in.x.data(), in.skip.data()};
  if constexpr (std::same_as<D, Cpu>) {
    Runtime<D>::launch(
        Grid{grid.samples},
        kernel::GroupNorm<Traced<F, 1>, T>{
            out.y.data(), out.mean.data(), out.rstd.data(), {x[0], x[1]}, in.row.data(), gamma.data(), beta.data(), eps, grid});
  } else {
    const kernel::GroupTiles tiles = kernel::group_tiles(grid);
    const Grid blocks{tiles.blocks(), team_threads};
    const Tensor<float, 2, D> mean({grid.samples * tiles.chunks, grid.channels}), m2(mean.shape());
    Runtime<D>::launch(blocks, kernel::GroupMoments<T>{mean.data(), m2.data(), {x[0], x[1]}, tiles});
    const kernel::RowTeams teams = kernel::row_teams<float>(grid.samples * groups, tiles.chunks * grid.group_channels());
    Runtime<D>::launch(teams.grid(), kernel::GroupStatistics<T>{out.mean.data(), out.rstd.data(), mean.data(), m2.data(),
                                                                in.row.data(), eps, tiles, teams});
    const kernel::GroupParameters<T> parameters{in.row.data(), out.mean.data(), out.rstd.data(), gamma.data(), beta.data()};
    Runtime<D>::launch(blocks, kernel::GroupApply<Traced<F, 1>, T>{out.y.data(), {x[0], x[1]}, parameters, tiles});
  }
  return out;
}

// Where the gradients go; an undefined tensor is not wanted.
template <class T, int N, Device D>
struct GroupNormGradients {
  Tensor<T, N, D> x, skip;
  Tensor<T, 2, D> row;              // [N, C]
  Tensor<float, 1, D> gamma, beta;  // [C]
};

// Writes the gradients of group_norm(epilogue, in, ...), whose mean and rstd it is given.
template <class F, class T, int N, Device D>
void group_norm_backward(F, const Tensor<T, N, D>& grad_y, const GroupNormInput<T, N, D>& in, const Tensor<float, 2, D>& mean,
                         const Tensor<float, 2, D>& rstd, const Tensor<float, 1, D>& gamma, const Tensor<float, 1, D>& beta,
                         const GroupNormGradients<T, N, D>& grads) {
  written(grads.x, grads.skip, grads.row, grads.gamma, grads.beta);
  const Op<D> op("group norm backward");
  op.moves(grad_y, in.x, in.skip, grads.x, grads.skip);
  const kernel::GroupGrid grid = detail::check_group_norm(in, mean.cols(), gamma, beta);
  if (!grad_y.size()) return detail::zero_defined(grads.x, grads.skip, grads.row, grads.gamma, grads.beta);
  const bool want_x = grads.x.defined() || grads.skip.defined() || grads.row.defined();
  const bool want_parameters = grads.gamma.defined() || grads.beta.defined();
  if (!want_x && !want_parameters) return;
  Tensor<float, 2, D> grad_gamma({grid.samples, grid.channels}), grad_beta({grid.samples, grid.channels});
  const T* const x[2] = {in.x.data(), in.skip.data()};
  if constexpr (std::same_as<D, Cpu>) {
    // The kernel keeps dz where grad_x goes, so a part that nobody wants still needs its place.
    Tensor<T, N, D> grad_x = grads.x, grad_skip = grads.skip;
    if (want_x && !grad_x.defined()) grad_x = Tensor<T, N, D>(in.x.shape());
    if (want_x && in.skip.defined() && !grad_skip.defined()) grad_skip = Tensor<T, N, D>(in.skip.shape());
    const auto launch = [&]<bool WriteX>() {
      Runtime<D>::launch(Grid{grid.samples}, kernel::GroupNormBackward<Traced<F, 1>, T, WriteX>{{grad_x.data(), grad_skip.data()},
                                                                                                grads.row.data(),
                                                                                                grad_gamma.data(),
                                                                                                grad_beta.data(),
                                                                                                grad_y.data(),
                                                                                                {x[0], x[1]},
                                                                                                in.row.data(),
                                                                                                mean.data(),
                                                                                                rstd.data(),
                                                                                                gamma.data(),
                                                                                                beta.data(),
                                                                                                grid});
    };
    if (want_x) launch.template operator()<true>();
    else launch.template operator()<false>();
  } else {
    const kernel::GroupTiles tiles = kernel::group_tiles(grid);
    const Grid blocks{tiles.blocks(), team_threads};
    const kernel::GroupParameters<T> parameters{in.row.data(), mean.data(), rstd.data(), gamma.data(), beta.data()};
    const Tensor<float, 2, D> sum({grid.samples * tiles.chunks, grid.channels}), product(sum.shape()), deviation(sum.shape());
    const Tensor<float, 2, D> level(mean.shape()), slope(mean.shape());
    Runtime<D>::launch(blocks, kernel::GroupReduce<Traced<F, 1>, T>{
                                   sum.data(), product.data(), deviation.data(), grad_y.data(), {x[0], x[1]}, parameters, tiles});
    const kernel::RowTeams teams = kernel::row_teams<float>(grid.samples * grid.groups, grid.group_channels());
    Runtime<D>::launch(teams.grid(), kernel::GroupSlopes<T>{grad_gamma.data(), grad_beta.data(), grads.row.data(), level.data(),
                                                            slope.data(), sum.data(), product.data(), deviation.data(),
                                                            rstd.data(), gamma.data(), tiles, teams});
    if (grads.x.defined() || grads.skip.defined())
      Runtime<D>::launch(
          blocks,
          kernel::GroupBackward<Traced<F, 1>, T>{
              {grads.x.data(), grads.skip.data()}, level.data(), slope.data(), grad_y.data(), {x[0], x[1]}, parameters, tiles});
  }
  const auto sum_samples = [&](const Tensor<float, 1, D>& to, const Tensor<float, 2, D>& from) {
    if (to.defined())
      kernel::reduce_rows<D>(to.data(), static_cast<const float*>(from.data()), 1, grid.samples, grid.channels, 1.f);
  };
  sum_samples(grads.gamma, grad_gamma);
  sum_samples(grads.beta, grad_beta);
}

}  // namespace mindgap
