// Softmax over the innermost axis, as torch.softmax(x, -1).
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/softmax.hpp>

namespace mindgap {

// y may be x itself.
template <Real T, int N, Device D>
void softmax_into(const Tensor<T, N, D>& y, const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
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

// Overwrites grad_x, which may be grad_y itself, from y = softmax(x) and its gradient.
template <Real T, int N, Device D>
void softmax_backward(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& y, const Tensor<T, N, D>& grad_y) {
  written(grad_x);
  const Op<D> op("softmax backward");
  op.moves(grad_x, y, grad_y);
  const kernel::RowTeams teams = kernel::row_teams<T>(y.rows(), y.cols());
  Runtime<D>::launch(teams.grid(), kernel::SoftmaxBackward<T>{grad_x.data(), grad_y.data(), y.data(), teams});
}

}  // namespace mindgap
