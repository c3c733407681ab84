// pointwise on variables: one kernel and one record, whose backward is one kernel too.
//
// Any operand may be a Var or a Tensor, the first one included as long as one is a Var. The record keeps only the
// values that the gradient reads (Traced::reads): of x + y it keeps nothing, of x * y both.
#pragma once

#include <mindgap/autograd/var.hpp>

namespace mindgap {
namespace detail {

// What an operand contributes: its value as pointwise on tensors wants it, and its slot if it has one.
template <class X>
const X& operand_value(const X& x) {
  return x;
}
template <Real T, int N, Device D, Real G>
const Tensor<T, N, D>& operand_value(const Var<T, N, D, G>& x) {
  return value_of(x);
}
template <class X>
auto operand_value(const RowMark<X>& mark) {
  return row(operand_value(mark.x));
}
template <class X>
auto operand_value(const ScalarMark<X>& mark) {
  return scalar(operand_value(mark.x));
}

struct NoSlot {
  explicit operator bool() const { return false; }
};
template <class X>
NoSlot operand_slot(const X&) {
  return {};
}
template <Real T, int N, Device D, Real G>
std::shared_ptr<GradientSlot<G, N, D>> operand_slot(const Var<T, N, D, G>& x) {
  return x.slot();
}
template <class X>
auto operand_slot(const RowMark<X>& mark) {
  return operand_slot(mark.x);
}
template <class X>
auto operand_slot(const ScalarMark<X>& mark) {
  return operand_slot(mark.x);
}

// Destinations of a backward kernel: undefined where there is no slot.
inline NoSlot destination(NoSlot) { return {}; }
template <Real G, int N, Device D>
Tensor<G, N, D> destination(const std::shared_ptr<GradientSlot<G, N, D>>& slot) {
  return slot ? slot->destination() : Tensor<G, N, D>();
}
inline GradientTarget<void> target(NoSlot) { return {}; }
template <Real G, int N, Device D>
GradientTarget<G> target(const Tensor<G, N, D>& out) {
  return GradientTarget<G>(out);
}
inline void commit(NoSlot, NoSlot) {}
template <Real G, int N, Device D>
void commit(const std::shared_ptr<GradientSlot<G, N, D>>& slot, const Tensor<G, N, D>& out) {
  if (slot) slot->commit(out);
}

// The storage that a mark's tensor shares, to be kept alive or dropped.
template <class T, int N, Device D>
std::shared_ptr<const void> keep(const Tensor<T, N, D>& x) {
  return std::make_shared<Tensor<T, N, D>>(x);
}
template <class X>
std::shared_ptr<const void> keep(const RowMark<X>& mark) {
  return keep(mark.x);
}
template <class X>
std::shared_ptr<const void> keep(const ScalarMark<X>& mark) {
  return keep(mark.x);
}
inline std::shared_ptr<const void> keep(const ValueMark&) { return {}; }

template <class T, int N, Device D>
void note_read(Tape& tape, const Tensor<T, N, D>& x) {
  tape.reads(x);
}
template <class X>
void note_read(Tape& tape, const RowMark<X>& mark) {
  tape.reads(mark.x);
}
template <class X>
void note_read(Tape& tape, const ScalarMark<X>& mark) {
  tape.reads(mark.x);
}
inline void note_read(Tape&, const ValueMark&) {}

}  // namespace detail

// f of the operands, element by element; gradients of all that are variables and want one.
template <class F, class... Xs>
requires((detail::mentions_var<Xs> || ...) && !detail::misfits_pointwise<Xs...>) auto pointwise(F f, const Xs&... xs) {
  const auto& first = detail::operand_value(std::get<0>(std::tie(xs...)));
  const Shape shape = first.shape();
  auto y_value = pointwise(f, detail::operand_value(xs)...);
  using Y = decltype(y_value);
  using T = typename Y::element;
  using D = typename Y::device;

  const bool needed = (bool(detail::operand_slot(xs)) || ...);
  Var<T, Y::rank, D> y(std::move(y_value), detail::tape_of(xs...), needed);
  if (!needed) return y;

  constexpr int K = sizeof...(Xs);
  const i64 outer = std::max<i64>({0, detail::outer_slices(shape, detail::operand_value(xs))...});
  auto operands = std::tuple(detail::lower(shape, detail::operand_value(xs))...);
  std::array<std::shared_ptr<const void>, K> kept;
  const auto keep = [&](std::shared_ptr<const void>& place, const auto& operand) {
    place = detail::keep(operand);
    detail::note_read(y.tape(), operand);
  };
  [&]<size_t... I>(std::index_sequence<I...>) {
    ((((Traced<F, K>::reads >> I) & 1) ? keep(kept[I], detail::operand_value(xs)) : void()), ...);
  }
  (std::make_index_sequence<K>{});

  y.tape().record([f, outer, operands, kept, slots = std::tuple(detail::operand_slot(xs)...), ys = y.slot()] {
    if (!ys->written()) return;
    std::apply(
        [&](const auto&... slot) {
          const auto outs = std::tuple(detail::destination(slot)...);
          const auto targets = std::apply([](const auto&... out) { return std::tuple(detail::target(out)...); }, outs);
          pointwise_backward(f, ys->gradient(), outer, operands, targets);
          std::apply([&](const auto&... out) { (detail::commit(slot, out), ...); }, outs);
        },
        slots);
  });
  return y;
}

// a + b. Unlike pointwise, its backward runs nothing: both gradients are the result's.
template <Real T, int N, Device D>
Tensor<T, N, D> add(const Tensor<T, N, D>& a, const Tensor<T, N, D>& b, Location at = Location::current()) {
  const Caller caller(at);
  return pointwise([](auto x, auto y) { return x + y; }, a, b);
}
template <Real T, int N, Device D>
Var<T, N, D> add(const Var<T, N, D>& a, const Var<T, N, D>& b, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(add(a.value(), b.value()), detail::tape_of(a, b), a.needs_gradient() || b.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([as = a.slot(), bs = b.slot(), ys = y.slot()] {
      if (!ys->written()) return;
      if (as) as->pass(ys->gradient());
      if (bs) bs->pass(ys->gradient());
    });
  return y;
}

namespace detail {

// Two operands, one of them a variable, that do not fit each other: not a variable and a number.
template <class A, class B>
inline constexpr bool misfits_as_operands = misfits<0, same_rank, A, B>&& is_operand<A>&& is_operand<B> &&
                                            (is_var<A> || is_var<B>);

}  // namespace detail

template <class A, class B>
requires(detail::misfits<0, detail::same_rank, A, B>) auto add(const A& a, const B&) {
  static_assert(!detail::alike<A, B>, "mindgap: add wants two operands of one shape; pointwise() adds a row(x) or a scalar(x)");
  detail::explain<A, B>();
  return a;
}

// x as a constant: no gradient flows through it.
template <Real T, int N, Device D, Real G>
Var<T, N, D> detach(const Var<T, N, D, G>& x) {
  return constant(x.tape(), x.value());
}

}  // namespace mindgap
