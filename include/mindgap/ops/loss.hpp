// Losses: cross-entropy with label smoothing and soft targets, mean squared error; means over the batch, in f32. And what
// evaluation counts: the predicted class, and the rank of the right one.
#pragma once

#include <mindgap/kernels/loss.hpp>
#include <mindgap/ops/pointwise.hpp>

namespace mindgap {

template <Device D>
struct CrossEntropyResult {
  Tensor<float, 1, D> loss;        // one element, the mean over rows
  Tensor<float, 1, D> rows;        // [N], of each row
  Tensor<float, 2, D> normaliser;  // [N, 2], for the backward: the largest logit, the log of the sum of exp(logit - largest)
};

namespace detail {

// A label outside the classes is an error where the host can see the labels; a GPU's kernels make NaN of its loss instead, since
// reading labels back would wait for the GPU at every step.
template <class T, Device D>
kernel::ClassTargets<T> class_targets(const Tensor<T, 2, D>& logits, const Tensor<i64, 1, D>& labels, float smoothing) {
  if (labels.size() != logits.extent(0))
    throw Error(text("cross entropy: ", labels.size(), " labels for ", logits.extent(0), " rows"), {{"logits", logits.str()}});
  if constexpr (std::same_as<D, Cpu>)
    for (i64 r = 0; r < labels.size(); ++r)
      if (const i64 label = labels.data()[r]; label < 0 || label >= logits.extent(1))
        throw Error(text("cross entropy: label ", label, " is outside 0 to ", logits.extent(1) - 1), {{"logits", logits.str()}});
  return {labels.data(), nullptr, smoothing};
}
template <class T, Device D>
kernel::ClassTargets<T> class_targets(const Tensor<T, 2, D>& logits, const Tensor<T, 2, D>& targets, float smoothing) {
  if (targets.shape() != logits.shape())
    throw Error("cross entropy: targets are not shaped like the logits", {{"logits", logits.str()}, {"targets", targets.str()}});
  return {nullptr, targets.data(), smoothing};
}

}  // namespace detail

namespace detail {

template <class T, class D, class Targets>
constexpr void assert_targets() {
  static_assert(std::is_same_v<Targets, Tensor<i64, 1, D>> || std::is_same_v<Targets, Tensor<T, 2, D>>,
                "mindgap: cross_entropy wants labels, an i64 tensor [N], or a distribution a row, a tensor [N, K] of the logits' "
                "type; on the device of the logits");
}

}  // namespace detail

// logits [N, K]; targets: labels i64 [N], or a distribution a row, [N, K]. A label outside the classes is an error on the CPU and
// a loss of NaN on a GPU.
template <Real T, Device D, class Targets>
CrossEntropyResult<D> cross_entropy_rows(const Tensor<T, 2, D>& logits, const Targets& targets, float smoothing = 0.f,
                                         Location at = Location::current()) {
  detail::assert_targets<T, D, Targets>();
  const Caller caller(at);
  const Op<D> op("cross entropy");
  op.moves(logits);
  const i64 rows = logits.extent(0), classes = logits.extent(1);
  if (rows < 1 || classes < 1) throw Error("cross entropy: there are no rows or no classes", {{"logits", logits.str()}});
  if (!(smoothing >= 0.f && smoothing <= 1.f))
    throw Error(text("cross entropy: a smoothing of ", smoothing), {{"remedy", "0 to 1"}});
  const kernel::ClassTargets<T> q = detail::class_targets(logits, targets, smoothing);
  CrossEntropyResult<D> out{Tensor<float, 1, D>(Shape<1>(1)), Tensor<float, 1, D>(Shape<1>(rows)),
                            Tensor<float, 2, D>(Shape<2>(rows, 2))};
  const kernel::RowTeams teams = kernel::row_teams<T>(rows, classes);
  Runtime<D>::launch(teams.grid(), kernel::CrossEntropy<T>{out.rows.data(), out.normaliser.data(), logits.data(), q, teams});
  Runtime<D>::launch(Grid{1}, kernel::SumAll<float, float>{out.loss.data(), out.rows.data(), rows, 1.f / float(rows)});
  return out;
}
template <Real T, Device D, class Targets>
Tensor<float, 1, D> cross_entropy(const Tensor<T, 2, D>& logits, const Targets& targets, float smoothing = 0.f,
                                  Location at = Location::current()) {
  detail::assert_targets<T, D, Targets>();
  const Caller caller(at);
  return cross_entropy_rows(logits, targets, smoothing).loss;
}
// Overwrites grad_logits; grad_loss has one element.
template <Real T, Device D, class Targets>
void cross_entropy_backward(const Tensor<T, 2, D>& grad_logits, const Tensor<float, 1, D>& grad_loss,
                            const Tensor<T, 2, D>& logits, const Targets& targets, const Tensor<float, 2, D>& normaliser,
                            float smoothing) {
  written(grad_logits);
  const Op<D> op("cross entropy backward");
  op.moves(logits, grad_logits);
  const i64 rows = logits.extent(0);
  const kernel::ClassTargets<T> q = detail::class_targets(logits, targets, smoothing);
  const kernel::RowTeams teams = kernel::row_teams<T>(rows, logits.extent(1));
  Runtime<D>::launch(teams.grid(), kernel::CrossEntropyBackward<T>{grad_logits.data(), grad_loss.data(), normaliser.data(),
                                                                   logits.data(), q, teams, 1.f / float(rows)});
}

// mean of (x - y)^2, as torch.nn.functional.mse_loss
template <Real T, int N, Device D>
Tensor<float, 1, D> mse_loss(const Tensor<T, N, D>& x, const Tensor<T, N, D>& y, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("mse loss");
  op.moves(x, y);
  if (x.shape() != y.shape() || x.size() == 0 || y.size() == 0)
    throw Error("mse loss: the operands must have one shape, and elements", {{"x", x.str()}, {"y", y.str()}});
  const i64 blocks = (x.size() + kernel::SquaredError<T>::elements_per_block - 1) / kernel::SquaredError<T>::elements_per_block;
  Tensor<float, 1, D> partial{Shape<1>(blocks)}, loss{Shape<1>(1)};
  Runtime<D>::launch(Grid{blocks}, kernel::SquaredError<T>{partial.data(), x.data(), y.data(), x.size()});
  Runtime<D>::launch(Grid{1}, kernel::SumAll<float, float>{loss.data(), partial.data(), blocks, 1.f / float(x.size())});
  return loss;
}
namespace detail {

// Whether Y may be the goal of mse_loss(x): a tensor as x, or as x's value.
template <class X, class Y>
constexpr bool is_goal_for() {
  if constexpr (is_operand<X> && is_tensor<Y>)
    return X::rank == Y::rank && std::is_same_v<typename X::device, typename Y::device> &&
           std::is_same_v<typename X::element, typename Y::element> && Real<typename X::element>;
  else return false;
}

}  // namespace detail

// Of operands that do not fit.
template <class X, class Y, class... Rest>
requires(detail::is_operand<X> && !detail::is_goal_for<X, Y>()) auto mse_loss(const X& x, const Y&, const Rest&...) {
  static_assert(!detail::is_operand<X>,
                "mindgap: mse_loss wants x in f32, bf16 or f16 and a goal that is a tensor of its type, rank and device: of a "
                "variable, its value()");
  return x;
}

// Overwrites grad_x = 2 (x - y) / size * grad_loss. The gradient of y is its negative.
template <Real T, int N, Device D>
void mse_loss_backward(const Tensor<T, N, D>& grad_x, const Tensor<float, 1, D>& grad_loss, const Tensor<T, N, D>& x,
                       const Tensor<T, N, D>& y) {
  written(grad_x);
  const Op<D> op("mse loss backward");
  op.moves(grad_x, x, y);
  constexpr auto slope = [](auto a, auto b, auto g, auto scale) { return (a - b) * (g * scale); };
  pointwise_into(grad_x, slope, x, y, scalar(grad_loss), value(2.f / float(x.size())));
}

// The class of the first largest logit of each row, i64 [N].
template <Real T, Device D>
Tensor<i64, 1, D> argmax(const Tensor<T, 2, D>& logits, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("argmax");
  op.moves(logits);
  const i64 rows = logits.extent(0), classes = logits.extent(1);
  if (classes < 1) throw Error("argmax: there are no classes", {{"logits", logits.str()}});
  Tensor<i64, 1, D> index{Shape<1>(rows)};
  const kernel::RowTeams teams = kernel::row_teams<T>(rows, classes);
  Runtime<D>::launch(teams.grid(), kernel::ArgMax<T>{index.data(), logits.data(), teams});
  return index;
}

// How many classes come before each row's label, i32 [N]: 0 is right, below k is among the top k. A label outside the classes is
// an error on the CPU and has rank K on a GPU.
template <Real T, Device D>
Tensor<i32, 1, D> label_ranks(const Tensor<T, 2, D>& logits, const Tensor<i64, 1, D>& labels, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("label ranks");
  op.moves(logits);
  const kernel::ClassTargets<T> q = detail::class_targets(logits, labels, 0.f);
  Tensor<i32, 1, D> rank{labels.shape()};
  const kernel::RowTeams teams = kernel::row_teams<T>(logits.extent(0), logits.extent(1));
  Runtime<D>::launch(teams.grid(), kernel::LabelRank<T>{rank.data(), logits.data(), q.labels, teams});
  return rank;
}

}  // namespace mindgap
