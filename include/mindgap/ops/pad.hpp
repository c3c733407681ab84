// Zeros around images, other numbers of them on each side: what a convolution that pads one side only begins with.
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/pad.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

// Rows above and below, columns to the left and to the right.
struct Padding2d {
  i64 left = 0, right = 0, top = 0, bottom = 0;
};

// x [N, H, W, C] -> [N, top + H + bottom, left + W + right, C], as torch.nn.ZeroPad2d. Throws where a number is negative or
// larger than any memory.
template <Element T, Device D>
Tensor<T, 4, D> zero_pad2d(const Tensor<T, 4, D>& x, const Padding2d& padding, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("zero pad");
  const auto& [left, right, top, bottom] = padding;
  constexpr i64 most = i64(1) << 40;  // more than any memory has
  if (std::min({left, right, top, bottom}) < 0 || std::max({left, right, top, bottom}) > most)
    throw Error(text("zero pad: left ", left, ", right ", right, ", top ", top, ", bottom ", bottom),
                {{"input", x.str()}, {"remedy", text("use 0 to ", most, " of each")}});
  const i64 c = x.extent(3);
  const Tensor<T, 4, D> y({x.extent(0), top + x.extent(1) + bottom, left + x.extent(2) + right, c});
  op.moves(y, x);
  if (y.size())
    Runtime<D>::launch(Grid{y.extent(0) * y.extent(1)}, kernel::ZeroPad<T>{y.data(), x.data(), x.extent(1), y.extent(1), top,
                                                                           x.extent(2) * c, y.extent(2) * c, left * c});
  return y;
}

// Of other ranks.
template <class X, class... Rest>
requires(detail::rank_of<X>() != 4) auto zero_pad2d(const X& x, const Padding2d&, const Rest&...) {
  static_assert(detail::rank_of<X>() == 4, "mindgap: zero_pad2d wants images [N, H, W, C]");
  return x;
}

// Overwrites grad_x.
template <Element T, Device D>
void zero_pad2d_backward(const Tensor<T, 4, D>& grad_x, const Tensor<T, 4, D>& grad_y, const Padding2d& padding) {
  written(grad_x);
  const Op<D> op("zero pad backward");
  op.moves(grad_x, grad_y);
  const i64 c = grad_x.extent(3), h = grad_x.extent(1);
  if (grad_x.size())
    Runtime<D>::launch(Grid{grad_x.extent(0) * h},
                       kernel::ZeroPadBackward<T>{grad_x.data(), grad_y.data(), h, grad_y.extent(1), padding.top,
                                                  grad_x.extent(2) * c, grad_y.extent(2) * c, padding.left * c});
}

}  // namespace mindgap
