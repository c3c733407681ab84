// Pooling, as torch.nn.functional.max_pool2d, avg_pool2d and the mean over all positions.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/pool.hpp>
#include <mindgap/kernels/reduce.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

template <class T, Device D>
struct MaxPoolResult {
  Tensor<T, 4, D> y;       // [N, OH, OW, C]
  Tensor<u8, 4, D> index;  // of the maximum in its window, y' * kernel + x', padding counted in
};

namespace detail {

// Kernels count pixels in 32 bits, of which a window at the border takes the double.
inline constexpr i64 largest_pooled_side = i64(1) << 30;

template <class T, Device D>
kernel::PoolGeometry pool_geometry(const char* op, const Tensor<T, 4, D>& x, i64 kernel, i64 stride, i64 padding) {
  if (kernel < 1 || stride < 1 || padding < 0 || padding > kernel / 2)
    throw Error(text(op, ": kernel ", kernel, ", stride ", stride, " and padding ", padding, " make no sense"),
                {{"remedy", "padding is at most half the kernel"}});
  const i64 h = x.extent(1), w = x.extent(2);
  if (kernel > largest_pooled_side || std::max(h, w) > largest_pooled_side - 2 * padding)
    throw Error(text(op, ": kernel ", kernel, " and padding ", padding, " are too large"),
                {{"input", x.str()}, {"remedy", text("a padded image has at most ", largest_pooled_side, " pixels a side")}});
  stride = std::min(stride, std::max<i64>(std::max(h, w) + 2 * padding, 1));  // a longer one leaves the one window, too
  if (h + 2 * padding < kernel || w + 2 * padding < kernel)
    throw Error(text(op, ": a window of ", kernel, " is larger than the padded image"), {{"input", x.str()}});
  return {h,      w,      (h + 2 * padding - kernel) / stride + 1, (w + 2 * padding - kernel) / stride + 1, x.extent(3), kernel,
          stride, padding};
}

}  // namespace detail

// x [N, H, W, C] -> [N, OH, OW, C], OH = (H + 2 padding - kernel) / stride + 1. With an index, and so for a gradient, the kernel
// is at most 16: a window's places are bytes.
template <Real T, Device D>
MaxPoolResult<T, D> max_pool2d_with_index(const Tensor<T, 4, D>& x, i64 kernel, i64 stride, i64 padding,
                                          Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("max pool");
  const kernel::PoolGeometry g = detail::pool_geometry("max pool", x, kernel, stride, padding);
  if (kernel > kernel::largest_indexed_window)
    throw Error(text("max pool: the index of a window of ", kernel, " x ", kernel, " does not fit into a byte"),
                {{"remedy", text("use a kernel of at most ", kernel::largest_indexed_window, ", or pool without a gradient")}});
  const Shape<4> shape(x.extent(0), g.out_h, g.out_w, g.channels);
  MaxPoolResult<T, D> out{Tensor<T, 4, D>(shape), Tensor<u8, 4, D>(shape)};
  op.moves(x, out.y, out.index);
  Runtime<D>::launch(Grid{x.extent(0) * g.out_h, team_threads}, kernel::MaxPool<T>{out.y.data(), out.index.data(), x.data(), g});
  return out;
}
template <Real T, Device D>
Tensor<T, 4, D> max_pool2d(const Tensor<T, 4, D>& x, i64 kernel, i64 stride, i64 padding, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("max pool");
  const kernel::PoolGeometry g = detail::pool_geometry("max pool", x, kernel, stride, padding);
  Tensor<T, 4, D> y({x.extent(0), g.out_h, g.out_w, g.channels});
  op.moves(x, y);
  Runtime<D>::launch(Grid{x.extent(0) * g.out_h, team_threads}, kernel::MaxPool<T>{y.data(), nullptr, x.data(), g});
  return y;
}
// Overwrites grad_x [N, H, W, C].
template <Real T, Device D>
void max_pool2d_backward(const Tensor<T, 4, D>& grad_x, const Tensor<T, 4, D>& grad_y, const Tensor<u8, 4, D>& index, i64 kernel,
                         i64 stride, i64 padding) {
  written(grad_x);
  const Op<D> op("max pool backward");
  op.moves(grad_x, grad_y, index);
  const kernel::PoolGeometry g = detail::pool_geometry("max pool", grad_x, kernel, stride, padding);
  Runtime<D>::launch(Grid{grad_x.extent(0) * g.h, team_threads},
                     kernel::MaxPoolBackward<T>{grad_x.data(), grad_y.data(), index.data(), g});
}

// Padding counts as zeros.
template <Real T, Device D>
Tensor<T, 4, D> avg_pool2d(const Tensor<T, 4, D>& x, i64 kernel, i64 stride, i64 padding, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("average pool");
  const kernel::PoolGeometry g = detail::pool_geometry("average pool", x, kernel, stride, padding);
  Tensor<T, 4, D> y({x.extent(0), g.out_h, g.out_w, g.channels});
  op.moves(x, y);
  Runtime<D>::launch(Grid{x.extent(0) * g.out_h, team_threads},
                     kernel::BoxSum<T, kernel::Windows>{y.data(), x.data(), {g}, g.channels, 1.f / float(kernel * kernel)});
  return y;
}
template <Real T, Device D>
void avg_pool2d_backward(const Tensor<T, 4, D>& grad_x, const Tensor<T, 4, D>& grad_y, i64 kernel, i64 stride, i64 padding) {
  written(grad_x);
  const Op<D> op("average pool backward");
  op.moves(grad_x, grad_y);
  const kernel::PoolGeometry g = detail::pool_geometry("average pool", grad_x, kernel, stride, padding);
  Runtime<D>::launch(
      Grid{grad_x.extent(0) * g.h, team_threads},
      kernel::BoxSum<T, kernel::WindowsOfPixel>{grad_x.data(), grad_y.data(), {g}, g.channels, 1.f / float(kernel * kernel)});
}

// The mean over all positions: x [N, H, W, C] -> [N, C]
template <Real T, Device D>
Tensor<T, 2, D> global_avg_pool(const Tensor<T, 4, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  const i64 positions = x.extent(1) * x.extent(2);
  if (positions < 1) throw Error("global average pool: there are no positions", {{"input", x.str()}});
  const Op<D> op("global average pool");
  Tensor<T, 2, D> y({x.extent(0), x.extent(3)});
  op.moves(x, y);
  kernel::reduce_rows<D>(y.data(), static_cast<const T*>(x.data()), x.extent(0), positions, x.extent(3), 1.f / float(positions));
  return y;
}
template <Real T, Device D>
void global_avg_pool_backward(const Tensor<T, 4, D>& grad_x, const Tensor<T, 2, D>& grad_y) {
  written(grad_x);
  const Op<D> op("global average pool backward");
  op.moves(grad_x, grad_y);
  const i64 positions = grad_x.extent(1) * grad_x.extent(2);
  Runtime<D>::launch(Grid{grad_x.extent(0), team_threads},
                     kernel::SpreadRows<T>{grad_x.data(), grad_y.data(), positions, grad_x.extent(3), 1.f / float(positions)});
}

// Of fewer numbers than it takes: torch's stride is the kernel unless it is given.
template <class X, std::integral... I>
requires(detail::is_operand<X> && !detail::NoImages<X> && sizeof...(I) < 3) auto max_pool2d(const X& x, I...) {
  static_assert(!detail::is_operand<X>, "mindgap: max_pool2d wants kernel, stride and padding: max_pool2d(x, 2, 2, 0)");
  return x;
}
template <class X, std::integral... I>
requires(detail::is_operand<X> && !detail::NoImages<X> && sizeof...(I) < 3) auto avg_pool2d(const X& x, I...) {
  static_assert(!detail::is_operand<X>, "mindgap: avg_pool2d wants kernel, stride and padding: avg_pool2d(x, 2, 2, 0)");
  return x;
}

// Of what is no batch of images.
template <detail::NoImages X, class... Rest>
auto max_pool2d(const X& x, const Rest&...) {
  detail::explain_images<X>();
  return x;
}
template <detail::NoImages X, class... Rest>
auto avg_pool2d(const X& x, const Rest&...) {
  detail::explain_images<X>();
  return x;
}
template <detail::NoImages X, class... Rest>
auto global_avg_pool(const X& x, const Rest&...) {
  detail::explain_images<X>();
  return x;
}

}  // namespace mindgap
