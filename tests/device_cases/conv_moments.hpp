// Convolutions that gather their moments: y, the statistics that follow, and how far these are from a pass over y.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/ops/conv_moments.hpp>
#include <mindgap/optim/flat.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

// tall: one block has all rows of its columns; stacked: it has two images
enum class Way { fastest, kernel, tall_kernel, window, stacked_window, library };

// By one of the ways, also where it is not the fastest one; on the CPU, and where the library has none, y alone.
template <class T, Device D>
WithMoments<Tensor<T, 4, D>, D> convolved(const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& w, ConvOptions options, Way way) {
  if (way == Way::fastest) return conv2d_with_moments(x, w, options);
  if constexpr (detail::gathers_moments<T, D>) {
    const ConvGeometry g = detail::conv_geometry(x.shape(), w.shape(), options);
    if (!detail::can_gather_moments(g, x, w)) throw Error("no such kernel: " + g.str());
    const Tensor<T, 4, D> y({g.n, g.out_h(), g.out_w(), g.c_out});
    const auto moments = way == Way::library          ? detail::moments_by_library(g, y, x, w)
                         : way == Way::window         ? detail::moments_by_window(g, y, x, w)
                         : way == Way::stacked_window ? detail::moments_by_window(g, y, x, w, 2)
                         : way == Way::kernel         ? detail::gather_moments(g, y, x, w)
                                                      : detail::gather_moments(g, y, x, w, 1);
    if (moments.defined()) return {y, moments};
  }
  return {conv2d(x, w, {}, options), {}};
}

struct ConvCase {
  Shape<4> x;
  i64 c_out, kernel, stride;
  Way way;

  ConvOptions options() const { return {stride, kernel / 2}; }
  Shape<4> w() const { return {c_out, kernel, kernel, x[3]}; }
  float deviation() const { return 1.f / std::sqrt(float(kernel * kernel * x[3])); }
};

// The statistics by the moments that one of our kernels gathered must also be those by a pass over what it wrote, far more
// exactly than rounding lets them be compared with the CPU's.
template <Device D, class T>
Outputs conv_with_moments(const ConvCase& c) {
  const auto x = rounded_on<D, T>(c.x, 1, 0.5f), w = rounded_on<D, T>(c.w(), 2, 0.f, c.deviation());
  const auto [y, moments] = convolved(x, w, c.options(), c.way);
  const Shape<1> channels(c.c_out);
  const RunningAverages<D> running{random_on<D>(channels, 3), random_on<D>(channels, 4, 2.f, 0.1f)};
  const auto s = batch_statistics(y, 1e-5f, running, moments);
  if (has_teams<D> && moments.defined() && c.way != Way::fastest && c.way != Way::library) {
    const auto passed = batch_statistics(y, 1e-5f);
    if (const double off = largest_difference(outputs(s.mean, s.rstd), outputs(passed.mean, passed.rstd)); !(off <= 2e-6))
      throw Error(text("statistics by gathered moments are ", off, " from those by a pass"));
  }
  return outputs(y, s.mean, s.rstd, running.mean, running.variance);
}

// The gradient of x by the kernel that keeps a window, alone and added to another.
template <Device D, class T>
Outputs gradient_by_window(const ConvCase& c, i64 images) {
  const auto grad_y = rounded_on<D, T>(c.x, 1), w = rounded_on<D, T>(c.w(), 2, 0.f, c.deviation()),
             before = rounded_on<D, T>(c.x, 3);
  const std::remove_const_t<decltype(before)> alone(c.x), sum(c.x);
  if constexpr (has_teams<D>) {
    const ConvGeometry g = detail::conv_geometry(c.x, c.w(), c.options());
    if (!kernel::fits_window(g)) throw Error("no such kernel: " + g.str());
    if (!detail::backward_data_by_window(g, alone, grad_y, w, {}, images) ||
        !detail::backward_data_by_window(g, sum, grad_y, w, before, images))
      throw Error("too little shared memory");
  } else {
    conv2d_backward_data(alone, grad_y, w, c.options());
    conv2d_backward_data(sum, grad_y, w, c.options(), before);
  }
  return outputs(alone, sum);
}

template <Device D, class P>
struct NormAfterConv {
  Conv2d<D, P> conv{32, 64, 3, {1, 1}, false};
  BatchNorm2d<D, P> norm{64};
  MINDGAP_MODULE(conv, norm)
};

// A layer's norm after a layer's convolution: the loss, all gradients, the running averages.
template <Device D, class T>
Outputs norm_after_conv() {
  NormAfterConv<D, Precision<Computed<D, T>>> net;
  initialise(net, 1);
  FlatParameters<D> parameters(net, 0.f);
  const auto x = rounded_on<D, T>(Shape<4>(2, 6, 6, 32), 2), goal = rounded_on<D, T>(Shape<4>(2, 6, 6, 64), 3);
  Tape tape;
  const auto loss = mse_loss(net.norm.after(net.conv, constant(tape, x), epilogues::relu), goal);
  backward(loss);
  parameters.complete_gradients();
  const auto& s = net.norm.sets[0];
  return outputs(loss.value(), parameters.gradients(), s.running_mean.value, s.running_var.value);
}

// What models do: 3x3 of strides 1 and 2, 1x1 of both; both widths of a tile, a part of one; one chunk and many; a stem of few
// channels, which passes over y.
template <Device D>
std::vector<DeviceCase> conv_moments_cases() {
  std::vector<DeviceCase> cases;
  const auto add = [&]<class T>(T, double tolerance) {
    const auto one = [&](const std::string& what, const ConvCase& c) {
      cases.push_back(
          {text("conv with moments ", what, " ", name(dtype_of<T>)), tolerance, [=] { return conv_with_moments<D, T>(c); }});
    };
    const auto gradient = [&](Shape<4> x, i64 images) {
      cases.push_back({text("gradient by a window of ", x[3], ", ", x[0], " images ", name(dtype_of<T>)), tolerance, [=] {
                         return gradient_by_window<D, T>({x, x[3], 3, 1, Way::window}, images);
                       }});
    };
    gradient({3, 7, 9, 32}, 1);
    one("1x1", {Shape(1, 14, 13, 64), 256, 1, 1, Way::kernel});
    one("window of 32", {Shape(3, 7, 9, 32), 32, 3, 1, Way::window});
    one("3x3 by the library", {Shape(2, 9, 9, 32), 64, 3, 1, Way::library});
    one("3x3 by the fastest way", {Shape(1, 8, 8, 32), 32, 3, 1, Way::fastest});
    one("3x3 of three channels", {Shape(2, 8, 8, 3), 32, 3, 1, Way::fastest});
    cases.push_back({text("norm after conv ", name(dtype_of<T>)), tolerance, [] { return norm_after_conv<D, T>(); }});
    if (std::is_same_v<T, f16>) return;  // the rest differs from what was done in no more than the type
    gradient({2, 17, 5, 64}, 2);
    one("3x3", {Shape(2, 9, 9, 32), 64, 3, 1, Way::kernel});
    one("3x3 stride 2", {Shape(3, 7, 7, 64), 96, 3, 2, Way::kernel});
    one("3x3 in one chunk", {Shape(3, 10, 9, 32), 64, 3, 1, Way::tall_kernel});
    one("1x1 in one chunk", {Shape(2, 14, 13, 64), 160, 1, 1, Way::tall_kernel});
    one("1x1 to 32", {Shape(2, 8, 8, 96), 32, 1, 1, Way::kernel});
    one("1x1 stride 2", {Shape(3, 14, 14, 32), 160, 1, 2, Way::kernel});
    one("window of 32, stacked", {Shape(3, 7, 9, 32), 32, 3, 1, Way::stacked_window});
    one("window of 64, six tiles", {Shape(1, 35, 17, 64), 64, 3, 1, Way::window});
    one("window of 64, stacked", {Shape(2, 19, 5, 64), 64, 3, 1, Way::stacked_window});
    one("window of 64, stacked, six tiles", {Shape(3, 33, 9, 64), 64, 3, 1, Way::stacked_window});
    one("window of 64, stacked, images of whole tiles", {Shape(2, 32, 8, 64), 64, 3, 1, Way::stacked_window});
  };
  add(bf16{}, 2e-2);
  add(f16{}, 3e-3);
  return cases;
}

}  // namespace mindgap::test
