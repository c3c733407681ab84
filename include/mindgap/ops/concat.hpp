// Concatenation along the channels, as torch.cat((a, b), -1), and its backward. A group norm needs none: it takes both
// parts (ops/group_norm.hpp).
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/concat.hpp>

namespace mindgap {
namespace detail {

inline i64 concat_rows_per_block(i64 channels) { return std::max<i64>(1, 8192 / std::max<i64>(channels, 1)); }

}  // namespace detail

// a [..., A], b [..., B] -> [..., A + B]
template <Element T, int N, Device D>
Tensor<T, N, D> concat_channels(const Tensor<T, N, D>& a, const Tensor<T, N, D>& b, Location at = Location::current()) {
  const Caller caller(at);
  Shape<N> shape = a.shape();
  shape[N - 1] = b.cols();
  if (shape != b.shape())
    throw Error("concat: the parts differ in more than channels", {{"first", a.str()}, {"second", b.str()}});
  shape[N - 1] = a.cols() + b.cols();
  const Op<D> op("concat");
  Tensor<T, N, D> y(shape);
  op.moves(a, b, y);
  const i64 rows = y.rows(), per_block = detail::concat_rows_per_block(y.cols());
  Runtime<D>::launch(Grid{(rows + per_block - 1) / per_block},
                     kernel::ConcatChannels<T, true>{y.data(), a.data(), b.data(), rows, a.cols(), b.cols(), per_block});
  return y;
}

// Overwrites grad_a and grad_b with their channels of grad_y, of which the first `first` belong to a. An undefined one is not
// wanted.
template <Element T, int N, Device D>
void concat_channels_backward(const Tensor<T, N, D>& grad_a, const Tensor<T, N, D>& grad_b, const Tensor<T, N, D>& grad_y,
                              i64 first) {
  written(grad_a, grad_b);
  const Op<D> op("concat backward");
  op.moves(grad_a, grad_b, grad_y);
  const i64 rows = grad_y.rows(), per_block = detail::concat_rows_per_block(grad_y.cols());
  Runtime<D>::launch(Grid{(rows + per_block - 1) / per_block},
                     kernel::ConcatChannels<T, false>{grad_y.data(), grad_a.data(), grad_b.data(), rows, first,
                                                      grad_y.cols() - first, per_block});
}

}  // namespace mindgap
