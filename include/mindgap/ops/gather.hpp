// Elements by index along an axis, as torch.gather, and the gradient.
#pragma once

#include <mindgap/core/axes.hpp>
#include <mindgap/kernels/gather.hpp>
#include <mindgap/ops/pointwise.hpp>

namespace mindgap {

// y[i, j, ...] = x[i, index[i, j, ...], ...] where `axis` is that of j. index has x's shape but for that axis; the result has
// index's. An index outside the axis is an error on the CPU; on a GPU, whose index the host does not read, its element is NaN.
template <Real T, int N, Device D>
Tensor<T, N, D> gather(const Tensor<T, N, D>& x, const Tensor<i32, N, D>& index, int axis, Location at = Location::current()) {
  const Caller caller(at);
  check_axis("gather", axis, N, x.str());
  Shape<N> shape = x.shape();
  shape[axis] = index.extent(axis);
  if (shape != index.shape())
    throw Error(text("gather: input and index differ in more than axis ", axis), {{"input", x.str()}, {"index", index.str()}});
  const AxisSplit split = split_at(shape, axis);
  const i64 n = x.extent(axis);
  if constexpr (std::same_as<D, Cpu>)
    for (i64 i = 0; i < index.size(); ++i)
      if (const i32 j = index.data()[i]; j < 0 || j >= n)
        throw Error(text("gather: index ", j, " is outside axis ", axis), {{"input", x.str()}});
  const Op<D> op("gather");
  const Tensor<T, N, D> y(shape);
  op.moves(index, y);
  const kernel::Gather<T> kernel{y.data(), x.data(), index.data(), y.size(), n, split.extent, split.inner};
  Runtime<D>::launch(Grid{kernel.blocks()}, kernel);
  return y;
}

namespace detail {

template <class X, class I>
constexpr bool is_index_for() {
  if constexpr (is_operand<X> && is_tensor<I>) return std::is_same_v<I, Tensor<i32, X::rank, typename X::device>>;
  else return false;
}

}  // namespace detail

// Of an index that does not fit.
template <class X, class I>
requires(detail::is_operand<X> && !detail::is_index_for<X, I>()) auto gather(const X& x, const I&, int) {
  static_assert(detail::is_index_for<X, I>(),
                "mindgap: gather wants an index of i32 with the rank and the device of what it takes from");
  return x;
}

// Overwrites grad_x: an element that was taken several times has the sum, in the order of the index; one that was not, 0.
template <Real T, int N, Device D>
void gather_backward(const Tensor<T, N, D>& grad_x, const Tensor<i32, N, D>& index, const Tensor<T, N, D>& grad_y, int axis) {
  written(grad_x);
  const Op<D> op("gather backward");
  op.moves(grad_x, index, grad_y);
  const AxisSplit split = split_at(index.shape(), axis);
  const auto add_to = [&](const Tensor<float, N, D>& sums) {
    Runtime<D>::zero(sums.data(), sums.bytes());
    const kernel::GatherBackward<T> kernel{sums.data(),       grad_y.data(), index.data(), split.outer * split.inner,
                                           sums.extent(axis), split.extent,  split.inner};
    Runtime<D>::launch(Grid{kernel.blocks()}, kernel);
  };
  if constexpr (std::is_same_v<T, float>) {
    add_to(grad_x);
  } else {
    const Tensor<float, N, D> sums(grad_x.shape());
    add_to(sums);
    cast_into(grad_x, sums);
  }
}

}  // namespace mindgap
