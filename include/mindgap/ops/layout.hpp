// Axes in another order, or repeated: copies, since tensors are dense. Names and meaning are torch's.
#pragma once

#include <mindgap/core/axes.hpp>
#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/strided_copy.hpp>

#include <utility>

namespace mindgap {
namespace detail {

// How far apart neighbours along each axis lie.
template <int N>
using Strides = std::type_identity_t<std::array<i64, size_t(N)>>;
template <int N>
Strides<N> dense_strides(const Shape<N>& shape) {
  Strides<N> strides;
  for (int k = 0; k < N; ++k) strides[k] = split_at(shape, k).inner;
  return strides;
}

// Overwrites y with x, read at a stride for each axis of y.
template <Element T, int N, Device D>
void copy_strided(const Tensor<T, N, D>& y, const Tensor<T, N, D>& x, const Strides<N>& strides) {
  kernel::StridedCopy<T, N> kernel{y.data(), x.data(), y.size(), {}, {}};
  // Axes that x's strides let be one are merged, and those of one element left out: fewer divisions, longer runs.
  for (int k = 0; k < N; ++k) kernel.extents[k] = 1;
  int last = N - 1;
  kernel.strides[last] = 1;
  for (int k = N - 1; k >= 0; --k) {
    if (y.extent(k) == 1) continue;
    i64 &extent = kernel.extents[last], &stride = kernel.strides[last];
    if (extent == 1) extent = y.extent(k), stride = strides[k];
    else if (strides[k] == stride * extent) extent *= y.extent(k);
    else --last, kernel.extents[last] = y.extent(k), kernel.strides[last] = strides[k];
  }
  Runtime<D>::launch(Grid{kernel.blocks()}, kernel);
}

}  // namespace detail

// y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...]: axis k of the result is axis axes[k] of x. Throws unless the axes are a
// permutation. permute(x, {0, 3, 1, 2}) makes [N, C, H, W] of [N, H, W, C].
template <Element T, int N, Device D>
Tensor<T, N, D> permute(const Tensor<T, N, D>& x, const Axes<N>& axes, Location at = Location::current()) {
  const Caller caller(at);
  Shape<N> shape;
  detail::Strides<N> strides;
  Axes<N> times{};
  for (int k = 0; k < N; ++k) {
    check_axis("permute", axes[k], N, x.str());
    if (++times[axes[k]] > 1) throw Error(text("permute: axis ", axes[k], " is named twice"), {{"input", x.str()}});
    shape[k] = x.extent(axes[k]);
    strides[k] = detail::dense_strides(x.shape())[axes[k]];
  }
  const Op<D> op("permute");
  const Tensor<T, N, D> y(shape);
  op.moves(x, y);
  detail::copy_strided(y, x, strides);
  return y;
}

namespace detail {

template <int N>
Axes<N> swapped_axes(int i, int j, const std::string& input) {
  Axes<N> axes;
  for (int k = 0; k < N; ++k) axes[k] = k;
  check_axis("transpose", i, N, input), check_axis("transpose", j, N, input);
  std::swap(axes[i], axes[j]);
  return axes;
}

}  // namespace detail

// x with axes i and j exchanged.
template <Element T, int N, Device D>
Tensor<T, N, D> transpose(const Tensor<T, N, D>& x, int i, int j, Location at = Location::current()) {
  const Caller caller(at);
  return permute(x, detail::swapped_axes<N>(i, j, x.str()));
}

// Overwrites y with x, repeated along the axes where x has one element and y another number. Throws where x does not fit so, and
// where the two overlap.
template <Element T, int N, Device D>
void expand_into(const Tensor<T, N, D>& y, const Tensor<T, N, D>& x) {
  written(y);
  detail::Strides<N> strides = detail::dense_strides(x.shape());
  for (int k = 0; k < N; ++k) {
    if (x.extent(k) == y.extent(k)) continue;
    if (x.extent(k) != 1)
      throw Error(text("expand: axis ", k, " has ", x.extent(k), " elements, and only one can become ", y.extent(k)),
                  {{"input", x.str()}, {"to", y.shape().str()}});
    strides[k] = 0;
  }
  if (y.overlaps(x)) throw Error("expand: the destination overlaps the input", {{"input", x.str()}, {"to", y.str()}});
  const Op<D> op("expand");
  op.moves(x, y);
  detail::copy_strided(y, x, strides);
}
// x repeated to a shape of the same rank: [N, 1, 1, C] to [N, H, W, C]. x itself where it has the shape.
template <Element T, int N, Device D>
Tensor<T, N, D> expand(const Tensor<T, N, D>& x, const std::type_identity_t<Shape<N>>& shape, Location at = Location::current()) {
  const Caller caller(at);
  if (x.shape() == shape) return x;
  const Tensor<T, N, D> y(shape);
  expand_into(y, x);
  return y;
}

}  // namespace mindgap
