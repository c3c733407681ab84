// conv2d: cross-correlation with zero padding, as torch.nn.functional.conv2d (no groups, no dilation).
//
//   y[n, i, j, o] = bias[o] + sum over u, v, c of x[n, i*stride + u - padding, j*stride + v - padding, c] * w[o, u, v, c]
//
// x [N, H, W, C], w [O, kh, kw, C], bias [O] f32 or undefined, y [N, OH, OW, O] with OH = (H + 2 padding - kh) / stride + 1.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/library.hpp>
#include <mindgap/kernels/conv_window.hpp>
#include <mindgap/ops/pointwise.hpp>

namespace mindgap {

struct ConvOptions {
  i64 stride = 1, padding = 0;
};

namespace detail {

template <class D, class T>
constexpr void assert_computes() {
  static_assert(Library<D>::template computes<T>,
                "mindgap: this device does not compute in this element type; the CPU computes in f32 and bf16");
}

inline ConvGeometry conv_geometry(const Shape<4>& x, const Shape<4>& w, ConvOptions o) {
  return {x[0], x[1], x[2], x[3], w[0], w[1], w[2], o.stride, o.stride, o.padding, o.padding};
}

// Throws unless x, w and bias fit each other.
template <class T, class TB, Device D>
ConvGeometry checked_conv(const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& w, const Tensor<TB, 1, D>& bias, ConvOptions o) {
  const auto lines = [&] { return std::vector<ErrorLine>{{"input", x.str()}, {"weight", w.str()}}; };
  if (x.extent(3) != w.extent(3)) {
    auto all = lines();
    if (x.extent(1) == w.extent(3))
      all.push_back({"remedy", "the input looks like [n, c, h, w], ours are [n, h, w, c]: from_nchw(input), nn/parameter.hpp"});
    throw Error(text("conv2d: input has ", x.extent(3), " channels, weight wants ", w.extent(3)), all);
  }
  constexpr i64 largest_padding = i64(1) << 30;  // sums with extents fit
  if (o.stride < 1 || o.padding < 0 || o.padding > largest_padding) {
    auto all = lines();
    all.push_back({"remedy", text("a stride of 1 or more and a padding of 0 to ", largest_padding)});
    throw Error(text("conv2d: stride ", o.stride, " and padding ", o.padding, " make no sense"), all);
  }
  const ConvGeometry g = conv_geometry(x.shape(), w.shape(), o);
  if (g.h + 2 * o.padding < g.kh || g.w + 2 * o.padding < g.kw)
    throw Error("conv2d: the kernel is larger than the padded input", lines());
  if (bias.defined() && bias.size() != g.c_out)
    throw Error(text("conv2d: bias has ", bias.size(), " elements, weight has ", g.c_out, " outputs"), lines());
  if (!w.size()) throw Error("conv2d: the weight has no elements", lines());
  return g;
}

}  // namespace detail

template <Real T, Device D>
Tensor<T, 4, D> conv2d(const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& w, const Tensor<float, 1, D>& bias = {},
                       ConvOptions options = {}, Location at = Location::current()) {
  const Caller caller(at);
  detail::assert_computes<D, T>();
  const Op<D> op("conv2d");
  const ConvGeometry g = detail::checked_conv(x, w, bias, options);
  Tensor<T, 4, D> y({g.n, g.out_h(), g.out_w(), g.c_out});
  op.moves(x, w, bias, y);
  op.computes(g.flops());
  if (y.size()) Library<D>::conv2d(g, y.data(), x.data(), w.data(), bias.data());
  return y;
}

// Of operands that do not fit.
template <class X, class W, class B = Tensor<float, 1>>
requires detail::misfits<4, 4, X, W>
auto conv2d(const X& x, const W&, const B& = {}, ConvOptions = {}) {
  static_assert(!detail::alike<X, W>, "mindgap: conv2d wants images [N, H, W, C] and weights [O, kh, kw, C]");
  detail::explain<X, W>();
  return x;
}

// relu(conv2d(x, w) + bias (+ residual)), for inference: a convolution whose batch norm was folded into w and bias, and the end
// of a residual block. residual [N, OH, OW, O] or undefined. Where the device's library can, y is written once and not read.
template <Real T, Device D>
Tensor<T, 4, D> conv2d_bias_relu(const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& w, const Tensor<T, 1, D>& bias,
                                 ConvOptions options = {}, const Tensor<T, 4, D>& residual = {},
                                 Location at = Location::current()) {
  const Caller caller(at);
  detail::assert_computes<D, T>();
  const Op<D> op("conv2d bias relu");
  const ConvGeometry g = detail::checked_conv(x, w, bias, options);
  const Tensor<T, 4, D> y({g.n, g.out_h(), g.out_w(), g.c_out});
  op.moves(x, w, bias, residual, y);
  op.computes(g.flops());
  if (residual.defined() && residual.shape() != y.shape())
    throw Error("conv2d: the residual is not shaped like the result", {{"residual", residual.str()}, {"result", y.str()}});
  if (!y.size() || Library<D>::conv2d_bias_relu(g, y.data(), x.data(), w.data(), bias.data(), residual.data())) return y;
  Library<D>::conv2d(g, y.data(), x.data(), w.data(), nullptr);
  if (residual.defined())
    pointwise_into(
        y, [](auto sum, auto b, auto r) { return relu(sum + b + r); }, y, row(bias), residual);
  else
    pointwise_into(
        y, [](auto sum, auto b) { return relu(sum + b); }, y, row(bias));
  return y;
}

namespace detail {

// The gradient of x, plus `before` if that is defined, by the kernel that keeps a window, with so many images a block (0: what
// suits it). False where the card has not the shared memory for it; fits_window(g) says whether there is one.
template <class T, Device D>
bool backward_data_by_window(const ConvGeometry& g, const Tensor<T, 4, D>& grad_x, const Tensor<T, 4, D>& grad_y,
                             const Tensor<T, 4, D>& w, const Tensor<T, 4, D>& before, i64 images = 0) {
  const auto with = [&]<int C>(std::integral_constant<int, C>) {
    using Kernel = kernel::ConvWindow<T, C, kernel::ConvEnd::sum>;
    const Tensor<T, 1, D> flipped{Shape<1>(w.size())};
    const Kernel kernel{grad_x.data(), nullptr,        nullptr, before.data(),
                        grad_y.data(), flipped.data(), g,       Kernel::grid_of(g, images ? images : Kernel::images_of(g))};
    if (kernel.shared_bytes() > Runtime<D>::most_shared_bytes()) return false;
    const kernel::FlipWeights<T> flip{flipped.data(), w.data(), g.c_out, g.kh * g.kw, g.c_in};
    Runtime<D>::launch(Grid{flip.blocks()}, flip);
    Runtime<D>::launch(Grid{kernel.grid.blocks(), Kernel::threads}, kernel);
    return true;
  };
  return g.c_in == 32 ? with(std::integral_constant<int, 32>()) : with(std::integral_constant<int, 64>());
}

}  // namespace detail

// grad_x has the shape of x and is overwritten: with the gradient, or with its sum with `before`, another tensor of that shape,
// if that is defined. Where the device's library can, the sum costs a read of `before` and no pass of its own. On a GPU a kernel
// of ours stands beside the library for 3x3 of 32 or 64 channels in 16 bits (kernels/conv_window.hpp); they are timed once, as
// plans are.
template <Real T, Device D>
void conv2d_backward_data(const Tensor<T, 4, D>& grad_x, const Tensor<T, 4, D>& grad_y, const Tensor<T, 4, D>& w,
                          ConvOptions options = {}, const Tensor<T, 4, D>& before = {}) {
  written(grad_x);
  const Op<D> op("conv2d backward data");
  const ConvGeometry g = detail::conv_geometry(grad_x.shape(), w.shape(), options);
  op.moves(grad_x, grad_y, w, before);
  op.computes(g.flops());
  if (!grad_x.size()) return;
  const auto by_library = [&] {
    if (before.defined() && Library<D>::conv2d_backward_data_sum(g, grad_x.data(), grad_y.data(), w.data(), before.data()))
      return true;
    Library<D>::conv2d_backward_data(g, grad_x.data(), grad_y.data(), w.data());
    constexpr auto sum = [](auto a, auto b) { return a + b; };
    if (before.defined()) pointwise_into(grad_x, sum, before, grad_x);
    return true;
  };
  if constexpr (has_teams<D> && sizeof(T) == 2) {
    const auto by_window = [&] { return detail::backward_data_by_window(g, grad_x, grad_y, w, before); };
    bool aligned = true;
    for (const auto* t : {&grad_x, &grad_y, &before}) aligned &= is_vector_aligned(t->data());
    if (kernel::fits_window(g) && aligned &&
        Library<D>::autotune(text(before.defined() ? "gradient_sum " : "gradient ", name(dtype_of<T>), " ", g.str()),
                             {by_window, by_library}) == 0 &&
        by_window())
      return;
  }
  by_library();
}

namespace detail {

// conv2d_backward_weights, but where the device has grad_w sooner in T, that is returned instead, still to be converted.
template <Real T, Device D>
Tensor<T, 4, D> narrow_backward_weights(const Tensor<float, 4, D>& grad_w, const Tensor<float, 1, D>& grad_bias,
                                        const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& grad_y, ConvOptions options) {
  const Op<D> op("conv2d backward weights");
  const ConvGeometry g = detail::conv_geometry(x.shape(), grad_w.shape(), options);
  op.moves(grad_w, grad_bias, x, grad_y);
  op.computes(g.flops());
  Tensor<T, 4, D> narrow;
  if constexpr (Library<D>::template narrows_gradients<T>) narrow = Tensor<T, 4, D>(grad_w.shape());
  if (Library<D>::conv2d_backward_weights(g, grad_w.data(), narrow.data(), grad_bias.data(), x.data(), grad_y.data())) return {};
  return narrow;
}

}  // namespace detail

// grad_w [O, kh, kw, C] and grad_bias [O] (undefined: not wanted), both f32, are overwritten.
template <Real T, Device D>
void conv2d_backward_weights(const Tensor<float, 4, D>& grad_w, const Tensor<float, 1, D>& grad_bias, const Tensor<T, 4, D>& x,
                             const Tensor<T, 4, D>& grad_y, ConvOptions options = {}) {
  written(grad_w, grad_bias);
  const Tensor<T, 4, D> narrow = detail::narrow_backward_weights(grad_w, grad_bias, x, grad_y, options);
  if (narrow.defined()) cast_into(grad_w, narrow);
}

}  // namespace mindgap
