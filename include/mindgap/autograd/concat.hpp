// Concatenation on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/concat.hpp>

namespace mindgap {

// a, then b, along an axis; the gradient of each is its part.
template <Real T, int N, Device D>
Var<T, N, D> concat(const Var<T, N, D>& a, const Var<T, N, D>& b, int axis, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(concat(a.value(), b.value(), axis), detail::tape_of(a, b), a.needs_gradient() || b.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([axis, first = a.extent(axis), as = a.slot(), bs = b.slot(), ys = y.slot()] {
      if (!ys->written()) return;
      Tensor<T, N, D> grad_a, grad_b;
      if (as) grad_a = as->destination();
      if (bs) grad_b = bs->destination();
      concat_backward(grad_a, grad_b, ys->gradient(), first, axis);
      if (as) as->commit(grad_a);
      if (bs) bs->commit(grad_b);
    });
  return y;
}
// Along the channels.
template <Real T, int N, Device D>
Var<T, N, D> concat_channels(const Var<T, N, D>& a, const Var<T, N, D>& b, Location at = Location::current()) {
  return concat(a, b, N - 1, at);
}

// Of three and more.
template <class A, class B, class C, class... Rest>
requires(detail::is_operand<A>&& detail::is_operand<B>&& detail::is_operand<C>) auto concat(const A& a, const B&, const C&,
                                                                                            const Rest&...) {
  static_assert(!detail::is_operand<C>, "mindgap: concat joins two: concat(concat(a, b, axis), c, axis)");
  return a;
}

// Of operands that do not fit.
template <class A, class B>
requires(detail::misfits<0, detail::same_rank, A, B>) auto concat(const A& a, const B&, int) {
  static_assert(!detail::alike<A, B>, "mindgap: concat wants two operands of one rank");
  detail::explain<A, B>();
  return a;
}

}  // namespace mindgap
