// GEGLU of rows: the first half times gelu (by erf) of the second, as diffusers' GEGLU after its projection; no half is copied.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/gated.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

// x [..., 2 K] -> [..., K]. Throws where the innermost extent is odd.
template <Real T, int N, Device D>
Tensor<T, N, D> geglu(const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("geglu");
  if (x.cols() % 2) throw Error("geglu: a row has no two halves", {{"input", x.str()}});
  Shape<N> shape = x.shape();
  shape[N - 1] /= 2;
  const Tensor<T, N, D> y(shape);
  op.moves(y, x);
  if (y.size()) Runtime<D>::launch(Grid{y.rows()}, kernel::Geglu<T>{y.data(), x.data(), y.cols()});
  return y;
}

template <detail::Integers X, class... Rest>
auto geglu(const X& x, const Rest&...) {
  detail::explain_integers<X>();
  return x;
}

// Overwrites grad_x.
template <Real T, int N, Device D>
void geglu_backward(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& grad_y, const Tensor<T, N, D>& x) {
  written(grad_x);
  const Op<D> op("geglu backward");
  op.moves(grad_x, grad_y, x);
  if (x.size())
    Runtime<D>::launch(Grid{x.rows()}, kernel::GegluBackward<T>{grad_x.data(), grad_y.data(), x.data(), grad_y.cols()});
}

}  // namespace mindgap
