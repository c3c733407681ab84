// Concatenation along the channels, as torch.cat((a, b), -1), or any axis, and the backwards. A group norm needs none: it takes
// both parts (ops/group_norm.hpp).
#pragma once

#include <mindgap/core/axes.hpp>
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

namespace detail {

// The axis and what lies inside it as channels.
template <Element T, int N, Device D>
Tensor<T, 2, D> joined_at(const Tensor<T, N, D>& x, int axis) {
  if (!x.defined()) return {};
  const AxisSplit split = split_at(x.shape(), axis);
  return x.reshape(Shape(split.outer, split.extent * split.inner));
}

}  // namespace detail

// a, then b, along an axis, as torch.cat((a, b), axis). Throws where they differ along another one.
template <Element T, int N, Device D>
Tensor<T, N, D> concat(const Tensor<T, N, D>& a, const Tensor<T, N, D>& b, int axis, Location at = Location::current()) {
  const Caller caller(at);
  check_axis("concat", axis, N, a.str());
  Shape<N> shape = a.shape();
  shape[axis] = b.extent(axis);
  if (shape != b.shape())
    throw Error(text("concat: the parts differ in more than axis ", axis), {{"first", a.str()}, {"second", b.str()}});
  shape[axis] += a.extent(axis);
  return concat_channels(detail::joined_at(a, axis), detail::joined_at(b, axis)).reshape(shape);
}

// Overwrites grad_a and grad_b with their parts of grad_y, of which the first `first` along the axis belong to a. An undefined
// one is not wanted.
template <Element T, int N, Device D>
void concat_backward(const Tensor<T, N, D>& grad_a, const Tensor<T, N, D>& grad_b, const Tensor<T, N, D>& grad_y, i64 first,
                     int axis) {
  concat_channels_backward(detail::joined_at(grad_a, axis), detail::joined_at(grad_b, axis), detail::joined_at(grad_y, axis),
                           first * split_at(grad_y.shape(), axis).inner);
}

}  // namespace mindgap
