// Softmax over the innermost axis, as torch.softmax(x, -1).
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/softmax.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

// y may be x itself; throws where it overlaps x in another way, and for another shape.
template <Real T, int N, Device D>
void softmax_into(const Tensor<T, N, D>& y, const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  detail::check_destination("softmax", y, x);
  written(y);
  const Op<D> op("softmax");
  op.moves(y, x);
  const kernel::RowTeams teams = kernel::row_teams<T>(x.rows(), x.cols());
  Runtime<D>::launch(teams.grid(), kernel::Softmax<T>{y.data(), x.data(), teams});
}
template <Real T, int N, Device D>
Tensor<T, N, D> softmax(const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  Tensor<T, N, D> y(x.shape());
  softmax_into(y, x);
  return y;
}

// Of integers, and with an axis as torch has it.
template <detail::Integers X, class... Rest>
auto softmax(const X& x, const Rest&...) {
  detail::explain_integers<X>();
  return x;
}
template <class X, std::integral I>
requires detail::is_operand<X>
auto softmax(const X& x, I) {
  static_assert(!detail::is_operand<X>, "mindgap: softmax is over the innermost axis: softmax(x)");
  return x;
}

// Overwrites grad_x, which may be grad_y itself, from y = softmax(x) and its gradient.
template <Real T, int N, Device D>
void softmax_backward(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& y, const Tensor<T, N, D>& grad_y) {
  detail::check_destination("softmax backward", grad_x, y);
  detail::check_destination("softmax backward", grad_x, grad_y);
  written(grad_x);
  const Op<D> op("softmax backward");
  op.moves(grad_x, y, grad_y);
  const kernel::RowTeams teams = kernel::row_teams<T>(y.rows(), y.cols());
  Runtime<D>::launch(teams.grid(), kernel::SoftmaxBackward<T>{grad_x.data(), grad_y.data(), y.data(), teams});
}

}  // namespace mindgap
