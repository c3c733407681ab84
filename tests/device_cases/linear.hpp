// Calls of convolution, linear layers, matrix products and attention, for the comparison of devices.
#pragma once

#include <mindgap/ops/attention.hpp>
#include <mindgap/ops/conv.hpp>
#include <mindgap/ops/matmul.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

// All three directions of a convolution with a bias.
template <Device D, class T>
Outputs convolution(Shape<4> x_shape, i64 c_out, i64 kernel, i64 stride) {
  using C = Computed<D, T>;
  const i64 c_in = x_shape[3];
  const ConvOptions options{stride, kernel / 2};
  const float deviation = 1.f / std::sqrt(float(kernel * kernel * c_in));
  const auto x = rounded_on<D, T>(x_shape, 1), w = rounded_on<D, T>(Shape<4>(c_out, kernel, kernel, c_in), 2, 0.f, deviation);
  const auto bias = random_on<D>(Shape<1>(c_out), 3);
  const auto y = conv2d(x, w, bias, options);
  // Small enough that gradients of weights, sums over all pixels, are of order one.
  const auto grad_y = rounded_on<D, T>(y.shape(), 4, 0.f, 1.f / std::sqrt(float(y.rows())));
  Tensor<C, 4, D> grad_x(x.shape()), sum(x.shape());
  Tensor<float, 4, D> grad_w(w.shape());
  Tensor<float, 1, D> grad_bias(bias.shape());
  conv2d_backward_data(grad_x, grad_y, w, options);
  conv2d_backward_data(sum, grad_y, w, options, x);  // added to what was there
  conv2d_backward_weights(grad_w, grad_bias, x, grad_y, options);
  return outputs(y, grad_x, sum, grad_w, grad_bias);
}

// The gradient of a large x added to one that is there, which a GPU does inside the convolution.
template <Device D, class T>
Outputs large_sum() {
  const auto x = rounded_on<D, T>(Shape<4>(16, 128, 128, 64), 1), grad_y = rounded_on<D, T>(x.shape(), 2);
  const auto w = rounded_on<D, T>(Shape<4>(64, 3, 3, 64), 3, 0.f, 1.f / 24);
  Tensor<Computed<D, T>, 4, D> sum(x.shape());
  conv2d_backward_data(sum, grad_y, w, {1, 1}, x);
  return outputs(sum);
}

// A convolution with a folded norm, alone and at the end of a residual block.
template <Device D, class T>
Outputs folded_convolution(Shape<4> x_shape, i64 c_out, i64 kernel, i64 stride) {
  const ConvOptions options{stride, kernel / 2};
  const float deviation = 1.f / std::sqrt(float(kernel * kernel * x_shape[3]));
  const auto x = rounded_on<D, T>(x_shape, 1);
  const auto w = rounded_on<D, T>(Shape<4>(c_out, kernel, kernel, x_shape[3]), 2, 0.f, deviation);
  const auto bias = rounded_on<D, T>(Shape<1>(c_out), 3);
  const auto y = conv2d_bias_relu(x, w, bias, options);
  return outputs(y, conv2d_bias_relu(x, w, bias, options, rounded_on<D, T>(y.shape(), 4)));
}

template <Device D, class T>
Outputs linear_both_ways(i64 rows, i64 in, i64 out) {
  using C = Computed<D, T>;
  const auto x = rounded_on<D, T>(Shape(rows, in), 1), w = rounded_on<D, T>(Shape(out, in), 2, 0.f, 1.f / std::sqrt(float(in)));
  const auto bias = random_on<D>(Shape<1>(out), 3);
  const auto y = linear(x, w, bias);
  const auto grad_y = rounded_on<D, T>(y.shape(), 4, 0.f, 1.f / std::sqrt(float(rows)));
  Tensor<C, 2, D> grad_x(x.shape());
  Tensor<float, 2, D> grad_w(w.shape());
  Tensor<float, 1, D> grad_bias(bias.shape());
  linear_backward_data(grad_x, grad_y, w);
  linear_backward_weight(grad_w, x, grad_y);
  bias_backward(grad_bias, grad_y);
  return outputs(y, grad_x, grad_w, grad_bias);
}

// All of attention; then, wanting grad_k alone.
template <Device D, class T>
Outputs attention_both_ways(AttentionGeometry g) {
  using C = Computed<D, T>;
  const i64 c = g.heads * g.d;
  const auto q = rounded_on<D, T>(Shape(g.n, g.l, c), 1), k = rounded_on<D, T>(Shape(g.n, g.m, c), 2);
  const auto v = rounded_on<D, T>(Shape(g.n, g.m, c), 3), grad_y = rounded_on<D, T>(q.shape(), 4);
  const auto attended = attention(q, k, v, g.heads);
  Tensor<C, 3, D> grad_q(q.shape()), grad_k(k.shape()), grad_v(v.shape()), alone(k.shape());
  attention_backward(grad_q, grad_k, grad_v, grad_y, q, k, v, attended.saved());
  attention_backward({}, alone, {}, grad_y, q, k, v, attended.saved());
  return outputs(attended.y, grad_q, grad_k, grad_v, alone);
}

template <Device D, class T>
Outputs products(bool transpose_a, bool transpose_b) {
  const auto a = transpose_a ? rounded_on<D, T>(Shape(3, 24, 40), 1) : rounded_on<D, T>(Shape(3, 40, 24), 1);
  const auto b = transpose_b ? rounded_on<D, T>(Shape(3, 16, 24), 2) : rounded_on<D, T>(Shape(3, 24, 16), 2);
  return outputs(matmul(a, b, transpose_a, transpose_b));
}

// What the models do: 3x3 and 1x1, strides, a stem of few channels; attention of a small U-Net's tokens, of Stable Diffusion's
// head sizes, of a text of 77 tokens, and of a head size that has no plan in one pass.
template <Device D>
std::vector<DeviceCase> linear_cases() {
  std::vector<DeviceCase> cases;
  const auto add = [&]<class T>(T, double tolerance) {
    const auto one = [&](const std::string& what, std::function<Outputs()> run) {
      cases.push_back({what + " " + name(dtype_of<T>), tolerance, std::move(run)});
    };
    one("conv 3x3", [] { return convolution<D, T>(Shape(4, 14, 14, 32), 64, 3, 1); });
    one("conv 3x3 stride 2", [] { return convolution<D, T>(Shape(3, 7, 7, 64), 128, 3, 2); });
    one("conv 1x1", [] { return convolution<D, T>(Shape(3, 14, 14, 64), 32, 1, 1); });
    one("conv 1x1 stride 2", [] { return convolution<D, T>(Shape(3, 14, 14, 16), 32, 1, 2); });
    one("conv of one channel", [] { return convolution<D, T>(Shape(2, 28, 28, 1), 16, 3, 1); });
    one("conv to one channel", [] { return convolution<D, T>(Shape(2, 28, 28, 32), 1, 3, 1); });
    one("conv 7x7 stride 2", [] { return convolution<D, T>(Shape(2, 32, 32, 3), 64, 7, 2); });
    one("large sum of conv 3x3", [] { return large_sum<D, T>(); });
    one("folded conv 3x3", [] { return folded_convolution<D, T>(Shape(4, 14, 14, 32), 64, 3, 1); });
    one("folded conv 1x1", [] { return folded_convolution<D, T>(Shape(3, 14, 14, 64), 32, 1, 1); });
    one("folded conv 3x3 stride 2", [] { return folded_convolution<D, T>(Shape(3, 7, 7, 24), 40, 3, 2); });
    one("folded conv of one channel", [] { return folded_convolution<D, T>(Shape(2, 28, 28, 1), 16, 3, 1); });
    one("linear", [] { return linear_both_ways<D, T>(37, 128, 10); });
    for (const AttentionGeometry& g :
         {AttentionGeometry{3, 8, 49, 49, 8}, AttentionGeometry{2, 2, 16, 7, 32}, AttentionGeometry{2, 8, 100, 77, 40},
          AttentionGeometry{1, 4, 200, 130, 64}, AttentionGeometry{2, 8, 64, 77, 80}, AttentionGeometry{1, 8, 64, 64, 160},
          AttentionGeometry{1, 1, 5, 300, 256}, AttentionGeometry{2, 3, 9, 11, 12}})
      one(text("attention ", g.l, " x ", g.m, ", ", g.heads, " heads of ", g.d), [=] { return attention_both_ways<D, T>(g); });
    for (bool a : {false, true})
      for (bool b : {false, true}) one(text("product ", a, b), [=] { return products<D, T>(a, b); });
  };
  add(float{}, 1e-5);
  add(bf16{}, 5e-2);
  add(f16{}, 1e-2);
  return cases;
}

}  // namespace mindgap::test
