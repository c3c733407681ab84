// Pointwise calls: every kind of operand, every node of the expression language, rows that are short, long and odd.
#pragma once

#include <mindgap/ops/pointwise.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T>
Outputs film_both_ways(Shape<4> shape) {
  constexpr auto film = [](auto x, auto scale, auto shift) { return silu(x * (1.f + scale) + shift); };
  const Shape<2> images{shape[0], shape[3]};
  const auto x = random_on<D, T>(shape, 1), grad_y = random_on<D, T>(shape, 2);
  const auto scale = random_on<D, T>(images, 3), shift = random_on<D, T>(images, 4);
  Tensor<T, 4, D> grad_x(shape);
  Tensor<T, 2, D> grad_scale(images), grad_shift(images);
  pointwise_backward(film, grad_y, shape[0],
                     std::tuple(detail::lower(shape, x), detail::lower(shape, row(scale)), detail::lower(shape, row(shift))),
                     std::tuple(GradientTarget<T>{grad_x}, GradientTarget<T>{grad_scale}, GradientTarget<T>{grad_shift}));
  return outputs(pointwise(film, x, row(scale), row(shift)), grad_x, grad_scale, grad_shift);
}

// A row for all images, a scalar on the device, a number of the host; only the scalar's and the row's gradients wanted.
template <Device D>
Outputs row_scalar_value(Shape<2> shape) {
  constexpr auto f = [](auto x, auto bias, auto gain, auto floor) { return max(gain * (x + bias), floor); };
  const auto x = random_on<D>(shape, 1), grad_y = random_on<D>(shape, 2);
  const auto bias = random_on<D>(Shape<1>{shape[1]}, 3), gain = random_on<D>(Shape<1>{1}, 4);
  Tensor<float, 1, D> grad_bias(bias.shape()), grad_gain(gain.shape());
  pointwise_backward(f, grad_y, 1,
                     std::tuple(detail::lower(shape, x), detail::lower(shape, row(bias)), detail::lower(shape, scalar(gain)),
                                detail::lower(shape, value(-0.25f))),
                     std::tuple(GradientTarget<float>{}, GradientTarget<float>{grad_bias}, GradientTarget<float>{grad_gain},
                                GradientTarget<float>{}));
  return outputs(pointwise(f, x, row(bias), scalar(gain), value(-0.25f)), grad_bias, grad_gain);
}

// f(a, b) and both gradients.
template <Device D, class F>
Outputs of_two(F f, i64 size) {
  const Shape<1> shape{size};
  const auto a = random_on<D>(shape, 1), b = random_on<D>(shape, 2), grad_y = random_on<D>(shape, 3);
  Tensor<float, 1, D> grad_a(shape), grad_b(shape);
  pointwise_backward(f, grad_y, 0, std::tuple(detail::lower(shape, a), detail::lower(shape, b)),
                     std::tuple(GradientTarget<float>{grad_a}, GradientTarget<float>{grad_b}));
  return outputs(pointwise(f, a, b), grad_a, grad_b);
}

template <Device D>
Outputs every_node(i64 size) {
  constexpr auto f = [](auto a, auto b) {
    return sigmoid(a) * tanh(b) - exp(-a) / sqrt(1.f + square(b)) + log(abs(a) + 0.5f) * relu(b) + min(a, b) + silu(a - b);
  };
  return of_two<D>(f, size);
}

template <Device D>
Outputs every_other_node(i64 size) {
  constexpr auto f = [](auto a, auto b) {
    return sin(a) * cos(b) + gelu(a) - gelu_tanh(b) + clamp(a, -0.5f, 0.5f) * pow(abs(b) + 0.5f, a) +
           where(a < b, a * b, erf(a)) - where(b >= 0.25f, 2.f, a);
  };
  return of_two<D>(f, size);
}

// Of elements from `first` on: tensors that begin at no multiple of 16 bytes.
template <Device D>
Outputs casts(i64 first, i64 size) {
  const auto x = random_on<D>(Shape<1>{first + size}, 1).slice(first, first + size);
  return outputs(cast<bf16>(x), cast<f16>(x), cast<float>(cast<f16>(x)));
}

template <Device D>
std::vector<DeviceCase> pointwise_cases() {
  return {
      {"film f32, rows of 16", 2e-6,
       [] {
         return film_both_ways<D, float>({2, 9, 5, 16});
       }},
      {"film f32, rows of 300", 1e-5,  // sums of 40 rows of SiLU's gradient, whose exponential a GPU rounds to 1e-6
       [] {
         return film_both_ways<D, float>({3, 2, 20, 300});
       }},
      {"film bf16, rows of 33", 0.02,
       [] {
         return film_both_ways<D, bf16>({2, 3, 3, 33});
       }},
      {"film f16, rows of 8", 0.002,
       [] {
         return film_both_ways<D, f16>({2, 3, 3, 8});
       }},
      {"row, scalar, value", 2e-5,
       [] {
         return row_scalar_value<D>({70, 130});
       }},
      {"every node, 1 element", 2e-6, [] { return every_node<D>(1); }},
      {"every node, 9001 elements", 2e-6, [] { return every_node<D>(9001); }},
      {"every other node, 9001 elements", 1e-5, [] { return every_other_node<D>(9001); }},
      {"film bf16, rows of 2104", 0.02,
       [] {
         return film_both_ways<D, bf16>({2, 2, 3, 2104});
       }},
      {"casts", 0, [] { return casts<D>(0, 9001); }},
      {"casts, unaligned", 0, [] { return casts<D>(3, 1500); }},
  };
}

}  // namespace mindgap::test
