// Group norm in one and two parts, with and without an added row, and layer norm; both directions.
#pragma once

#include <mindgap/ops/group_norm.hpp>
#include <mindgap/ops/layer_norm.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T, class F>
Outputs group_norm_both_ways(F epilogue, Shape<4> shape, i64 second, i64 groups, bool with_row, float mean = 1.f,
                             bool want_x = true) {
  const Shape<1> channels{shape[3] + second};
  GroupNormInput<T, 4, D> in{random_on<D, T>(shape, 1, mean)};
  GroupNormGradients<T, 4, D> grads{Tensor<T, 4, D>(shape), {}, {}, Tensor<float, 1, D>(channels), Tensor<float, 1, D>(channels)};
  if (second) {
    shape[3] = second;
    in.skip = random_on<D, T>(shape, 2, -1.f), grads.skip = Tensor<T, 4, D>(shape);
  }
  if (with_row) {
    const Shape<2> row(shape[0], channels[0]);
    in.row = random_on<D, T>(row, 3), grads.row = Tensor<T, 2, D>(row);
  }
  const auto gamma = random_on<D>(channels, 4, 1.f, 0.2f), beta = random_on<D>(channels, 5, 0.f, 0.2f);
  const auto forward = group_norm(epilogue, in, groups, 1e-5f, gamma, beta);
  // Small enough that gradients of gamma, beta and the row, sums over all pixels, are of order one.
  const auto grad_y = random_on<D, T>(forward.y.shape(), 6, 0.f, 1.f / std::sqrt(float(forward.y.rows())));
  if (!want_x) grads.x = {};
  group_norm_backward(epilogue, grad_y, in, forward.mean, forward.rstd, gamma, beta, grads);
  Outputs out = outputs(forward.y, forward.mean, forward.rstd, grads.gamma, grads.beta);
  if (want_x) out.push_back(outputs(grads.x)[0]);
  if (second) out.push_back(outputs(grads.skip)[0]);
  if (with_row) out.push_back(outputs(grads.row)[0]);
  return out;
}

template <Device D, class T>
Outputs layer_norm_both_ways(Shape<2> shape, bool want_x) {
  const Shape<1> channels{shape[1]};
  const auto x = random_on<D, T>(shape, 1, 2.f), grad_y = random_on<D, T>(shape, 2);
  const auto gamma = random_on<D>(channels, 3, 1.f, 0.2f), beta = random_on<D>(channels, 4);
  const auto forward = layer_norm(x, gamma, beta, 1e-5f);
  LayerNormGradients<T, 2, D> grads{Tensor<T, 2, D>::zeros(shape), Tensor<float, 1, D>(channels), Tensor<float, 1, D>(channels)};
  const auto grad_x = grads.x;
  if (!want_x) grads.x = {};
  layer_norm_backward(grad_y, x, forward.mean, forward.rstd, gamma, grads);
  return outputs(forward.y, forward.mean, forward.rstd, grad_x, grads.gamma, grads.beta);
}

template <Device D>
std::vector<DeviceCase> group_norm_cases() {
  return {
      {"group norm, silu", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(epilogues::silu, {3, 5, 7, 16}, 0, 4, false);
       }},
      {"group norm, 17 channels, a row", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(identity, {2, 3, 3, 17}, 0, 1, true);
       }},
      {"group norm, a group across two parts, a row", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(epilogues::silu, {2, 4, 4, 10}, 6, 2, true);
       }},
      {"group norm, 300 channels", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(epilogues::silu, {1, 2, 3, 300}, 0, 30, false);
       }},
      {"group norm, several chunks of rows", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(epilogues::silu, {2, 43, 41, 20}, 0, 4, true);
       }},
      {"group norm, several chunks and tiles of two parts", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(epilogues::silu, {1, 10, 11, 600}, 36, 6, true);
       }},
      {"group norm, values far from zero", 1e-3,  // the difference of mean square and squared mean would be wrong by 0.01
       [] {
         return group_norm_both_ways<D, float>(identity, {1, 9, 9, 8}, 0, 2, false, 300.f);
       }},
      {"group norm, gradients of the second part and the row", 2e-5,
       [] {
         return group_norm_both_ways<D, float>(epilogues::silu, {2, 3, 5, 8}, 4, 3, true, 1.f, false);
       }},
      {"group norm, bf16 vectorised", 0.05,
       [] {
         return group_norm_both_ways<D, bf16>(epilogues::silu, {2, 5, 4, 16}, 8, 2, true);
       }},
      {"group norm, bf16", 0.05,
       [] {
         return group_norm_both_ways<D, bf16>(epilogues::silu, {2, 4, 4, 10}, 6, 2, true);
       }},
      {"layer norm", 2e-5,
       [] {
         return layer_norm_both_ways<D, float>({21, 17}, true);
       }},
      {"layer norm, parameters only", 2e-5,
       [] {
         return layer_norm_both_ways<D, float>({9, 320}, false);
       }},
      {"layer norm, 301 channels", 2e-5,
       [] {
         return layer_norm_both_ways<D, float>({70, 301}, true);
       }},
      {"layer norm, 1,280 channels", 2e-5,
       [] {
         return layer_norm_both_ways<D, float>({3, 1280}, true);
       }},
      {"layer norm, 520 channels, bf16", 0.05,
       [] {
         return layer_norm_both_ways<D, bf16>({5, 520}, true);
       }},
      {"layer norm, bf16", 0.05,
       [] {
         return layer_norm_both_ways<D, bf16>({10, 64}, true);
       }},
  };
}

}  // namespace mindgap::test
