// pointwise(f, x, ...): a fused elementwise op on tensors, and its backward.
//
//   auto y = pointwise(film, x, row(scale), row(shift));      one kernel; scale and shift are [C] or [N, C]
//
// The first operand is a dense tensor and gives the result its shape and type. Others: a tensor of the same shape,
// row(t) with t [C] or [N, C], scalar(t) with one element on the device, value(v) a number of the host.
// f is a stateless generic lambda of + - * / max min and the functions of kernels/expression.hpp.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/bias.hpp>
#include <mindgap/kernels/pointwise.hpp>
#include <mindgap/kernels/reduce.hpp>
#include <mindgap/ops/operands.hpp>

#include <tuple>

namespace mindgap {

// Operand marks. X is a Tensor here, and may be a Var in autograd/pointwise.hpp.
template <class X>
struct RowMark {
  X x;
};
template <class X>
struct ScalarMark {
  X x;
};
struct ValueMark {
  float number;
};
template <class X>
RowMark<X> row(X x) {
  return {std::move(x)};
}
template <class X>
ScalarMark<X> scalar(X x) {
  return {std::move(x)};
}
inline ValueMark value(float number) { return {number}; }

namespace detail {

template <class X>
inline constexpr bool mentions_var = is_var<X>;
template <class X>
inline constexpr bool mentions_var<RowMark<X>> = is_var<X>;
template <class X>
inline constexpr bool mentions_var<ScalarMark<X>> = is_var<X>;

template <class X>
inline constexpr bool of_integers<RowMark<X>> = of_integers<X>;
template <class X>
inline constexpr bool of_integers<ScalarMark<X>> = of_integers<X>;

// Whether an operand has a rank that is not the first one's, without a mark that would say how it is spread.
template <class X, class Y>
constexpr bool is_of_another_rank() {
  if constexpr (is_operand<X> && is_operand<Y>) return X::rank != Y::rank;
  else return false;
}
// Operands that pointwise does not take.
template <class X, class... Xs>
inline constexpr bool misfits_pointwise =
    !is_operand<X> || ((std::is_arithmetic_v<Xs> || of_integers<Xs> || is_of_another_rank<X, Xs>()) || ... || of_integers<X>);

// Whether an operand is a number, or lies on device D.
template <class D, class X>
inline constexpr bool lies_on = true;
template <class D, class T, int N, class E>
inline constexpr bool lies_on<D, Tensor<T, N, E>> = std::is_same_v<D, E>;
template <class D, class X>
inline constexpr bool lies_on<D, RowMark<X>> = lies_on<D, X>;
template <class D, class X>
inline constexpr bool lies_on<D, ScalarMark<X>> = lies_on<D, X>;

// Elements a block does: large enough to hide the launch, small enough to spread over the cores. A constant, so that
// the order of partial sums does not depend on the machine.
inline constexpr i64 block_elements = 8192;

inline kernel::RowGrid make_grid(i64 total, i64 cols, i64 outer, i64 least_rows = 1) {
  const i64 rows_per_outer = (total + cols * outer - 1) / std::max<i64>(cols * outer, 1);
  const i64 rows_per_block = std::clamp(block_elements / std::max<i64>(cols, 1), least_rows, kernel::longest_sum);
  return {total, cols, outer, rows_per_outer, rows_per_block, (rows_per_outer + rows_per_block - 1) / rows_per_block};
}

template <int N>
i64 outer_slices(const Shape<N>&, const auto&) {
  return 0;  // no row operand
}
template <int N, class T, int M, Device D>
i64 outer_slices(const Shape<N>&, const RowMark<Tensor<T, M, D>>& mark) {
  return M == 1 ? 1 : mark.x.extent(0);
}

// The length of a row; of rank 0, its one element.
template <int N>
i64 innermost(const Shape<N>& shape) {
  if constexpr (N == 0) return 1;
  else return shape[N - 1];
}

// The grid of a call: rows of the innermost extent if any operand is a row or reduced, long rows otherwise.
template <bool Rows, int N, class... Marks>
kernel::RowGrid grid_of(const Shape<N>& shape, const Marks&... marks) {
  const i64 outer = std::max<i64>({0, outer_slices(shape, marks)...});
  if (outer == 0 && !Rows) return make_grid(shape.size(), 1024, 1);
  return make_grid(shape.size(), innermost(shape), std::max<i64>(outer, 1));
}

template <int N>
[[noreturn]] void operand_mismatch(const char* kind, const Shape<N>& first, const std::string& operand) {
  throw Error(text("pointwise: ", kind, " does not fit the first operand"), {{"first", first.str()}, {"operand", operand}});
}

template <class T, int N, Device D>
kernel::DenseOperand<T> lower(const Shape<N>& shape, const Tensor<T, N, D>& x) {
  if (x.shape() != shape || x.size() != shape.size())
    operand_mismatch(x.defined() ? "a tensor" : "an undefined tensor", shape, x.str());
  return {x.data()};
}
template <class T, int M, int N, Device D>
kernel::RowOperand<T> lower(const Shape<N>& shape, const RowMark<Tensor<T, M, D>>& mark) {
  static_assert(M == 1 || M == 2, "mindgap: pointwise: row(t) wants t of rank 1, [C], or rank 2, [N, C]");
  const i64 cols = innermost(shape), outer = M == 2 && N > 0 ? shape[0] : 1;
  if (M > N || mark.x.cols() != cols || (M == 2 && mark.x.extent(0) != outer)) operand_mismatch("a row", shape, mark.x.str());
  return {mark.x.data(), cols && outer ? std::max<i64>(shape.size() / cols / outer, 1) : 1};
}
template <class T, int M, int N, Device D>
kernel::ScalarOperand<T> lower(const Shape<N>& shape, const ScalarMark<Tensor<T, M, D>>& mark) {
  if (mark.x.size() != 1) operand_mismatch("a scalar", shape, mark.x.str());
  return {mark.x.data()};
}
template <int N>
kernel::ValueOperand lower(const Shape<N>&, const ValueMark& mark) {
  return {mark.number};
}

// As of tensors (operands.hpp), but a row and a scalar may not overlap y at all.
template <class T, int N, Device D, class X>
bool clobbers(const Tensor<T, N, D>& y, const RowMark<X>& mark) {
  return y.overlaps(mark.x);
}
template <class T, int N, Device D, class X>
bool clobbers(const Tensor<T, N, D>& y, const ScalarMark<X>& mark) {
  return y.overlaps(mark.x);
}
template <class T, int N, Device D>
bool clobbers(const Tensor<T, N, D>&, const ValueMark&) {
  return false;
}

}  // namespace detail

// Writes f(x, marks...) to `y`, which may be one of the dense operands: every element is read before it is written. Throws where
// it overlaps an operand in another way.
template <class F, class T, int N, Device D, class TX, class... Marks>
void pointwise_into(const Tensor<T, N, D>& y, F, const Tensor<TX, N, D>& x, const Marks&... marks) {
  static_assert((detail::lies_on<D, Marks> && ... && true),
                "mindgap: the operands of one op live on one device: x.to<Cuda>() copies a tensor there");
  detail::explain_integers<Tensor<T, N, D>, Tensor<TX, N, D>, Marks...>();
  written(y);
  const Op<D> op("pointwise");
  op.moves(y, x, marks...);
  const auto operands = pack(detail::lower(x.shape(), x), detail::lower(x.shape(), marks)...);
  detail::check_destination("pointwise", y, x);
  if ((detail::clobbers(y, marks) || ...))
    throw Error("pointwise: the destination overlaps an operand, which is read after it is written",
                {{"destination", y.str()}, {"remedy", "write to a tensor of its own"}});
  const kernel::RowGrid grid = detail::grid_of<false>(x.shape(), marks...);
  [&]<class... Operands>(const Pack<Operands...>& o) {
    Runtime<D>::launch(Grid{grid.blocks()}, kernel::Pointwise<Traced<F, sizeof...(Operands)>, T, Operands...>{y.data(), grid, o});
  }(operands);
}

// Of operands that it does not take.
template <class F, class X, class... Xs>
requires detail::misfits_pointwise<X, Xs...>
auto pointwise(F, const X& x, const Xs&...) {
  static_assert(detail::is_operand<X>,
                "mindgap: pointwise: the first operand gives the result its shape: a tensor or a variable, without a mark");
  static_assert(!(std::is_arithmetic_v<Xs> || ...), "mindgap: pointwise takes a number as value(x)");
  detail::explain_integers<X, Xs...>();
  static_assert(!(detail::is_of_another_rank<X, Xs>() || ...),
                "mindgap: pointwise: operands have one rank; row(t) spreads t [C] or [N, C], scalar(t) a single element");
  return x;
}

template <class F, Real T, int N, Device D, class... Marks>
requires(!(detail::misfits_pointwise<Tensor<T, N, D>, Marks...> ||
           (detail::mentions_var<Marks> || ...))) Tensor<T, N, D> pointwise(F f, const Tensor<T, N, D>& x,
                                                                            const Marks&... marks) {
  Tensor<T, N, D> y(x.shape());
  pointwise_into(y, f, x, marks...);
  return y;
}

// The same values in another element type, rounded to nearest even. Throws where y has another shape than x or overlaps it; in
// types of one size y may be x's memory.
template <Real To, Real From, int N, Device D>
void cast_into(const Tensor<To, N, D>& y, const Tensor<From, N, D>& x) {
  detail::check_destination("cast", y, x);
  written(y);
  const kernel::Convert<To, From> kernel{y.data(), x.data(), x.size()};
  Runtime<D>::launch(Grid{kernel.blocks()}, kernel);
}
template <Real To, Real From, int N, Device D>
Tensor<To, N, D> cast(const Tensor<From, N, D>& x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else {
    Tensor<To, N, D> y(x.shape());
    cast_into(y, x);
    return y;
  }
}

// Where the gradient of one operand goes, in elements G; null: not wanted. A dense operand's gradient has the result's
// shape and the operand's type; a row's has the row's shape; a scalar's one element.
template <class G>
struct GradientTarget {
  G* data = nullptr;
  i64 size = 0;  // elements

  GradientTarget() = default;
  template <int N, Device D>
  explicit GradientTarget(const Tensor<G, N, D>& to) : data(to.data()), size(to.size()) {}
};
// Never wanted, whatever the operand's type.
template <>
struct GradientTarget<void> {};

// Gradients of pointwise(f, operands...), one target an operand; operands that the gradient does not read
// (Traced::reads) may hold null pointers. `outer` is the number of images if a row operand is [N, C], else 0 or 1.
template <class F, Device D, class T, int N, class... Operands, class... G>
void pointwise_backward(F, const Tensor<T, N, D>& grad_y, i64 outer, const std::tuple<Operands...>& operands,
                        const std::tuple<GradientTarget<G>...>& targets) {
  const Op<D> op("pointwise backward");
  op.moves(grad_y);
  constexpr int K = sizeof...(Operands);
  constexpr bool any_reduced = (Operands::reduced || ...);
  // At least 16 rows a block of a GPU, whose memory partial sums of fewer would fill.
  constexpr i64 least_rows = has_teams<D> ? 16 : 1;
  const kernel::RowGrid grid =
      any_reduced ? detail::make_grid(grad_y.size(), detail::innermost(grad_y.shape()), std::max<i64>(outer, 1), least_rows)
                  : detail::make_grid(grad_y.size(), 1024, 1);
  const auto packed = std::apply([](const auto&... operand) { return pack(operand...); }, operands);
  kernel::PointwiseBackward<Traced<F, K>, T, Operands...> kernel{grad_y.data(), grid, packed, {}, {}};
  Tensor<float, 2, D> partials[K];

  const auto prepare = [&]<size_t I>(std::integral_constant<size_t, I>) {
    using Operand = std::tuple_element_t<I, std::tuple<Operands...>>;
    if constexpr (!std::is_void_v<std::tuple_element_t<I, std::tuple<G...>>>) {
      auto* target = std::get<I>(targets).data;
      if constexpr (Operand::reduced) {
        if (target) partials[I] = Tensor<float, 2, D>({grid.blocks(), grid.cols});
        kernel.partials[I] = partials[I].data();
      } else if constexpr (!std::is_same_v<Operand, kernel::ValueOperand>) {
        static_assert(std::is_same_v<decltype(target), typename Operand::element*>,
                      "mindgap: pointwise: the gradient of a tensor operand has the operand's element type");
        get<I>(kernel.grads) = target;
      }
    }
  };
  const auto finish = [&]<size_t I>(std::integral_constant<size_t, I>) {
    using Operand = std::tuple_element_t<I, std::tuple<Operands...>>;
    if constexpr (!std::is_void_v<std::tuple_element_t<I, std::tuple<G...>>>) {
      auto* target = std::get<I>(targets).data;
      if (!target) return;
      if constexpr (Operand::by_row) {
        // One for all images, or one for each; there may be no images, and no rows of them.
        const i64 slices = grid.cols ? std::get<I>(targets).size / grid.cols : 0;
        if (slices) kernel::reduce_rows<D>(target, partials[I].data(), slices, grid.blocks() / slices, grid.cols, 1.f);
      } else if constexpr (Operand::reduced) {
        Runtime<D>::launch(Grid{1}, kernel::SumAll{target, partials[I].data(), partials[I].size(), 1.f});
      }
    }
  };
  [&]<size_t... I>(std::index_sequence<I...>) {
    (prepare(std::integral_constant<size_t, I>{}), ...);
    Runtime<D>::launch(Grid{grid.blocks()}, kernel);
    (finish(std::integral_constant<size_t, I>{}), ...);
  }
  (std::make_index_sequence<K>{});
}

}  // namespace mindgap
