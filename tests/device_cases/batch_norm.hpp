// Batch norm: statistics with running averages, three epilogues, gradients under batch and under running statistics.
#pragma once

#include <mindgap/ops/batch_norm.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T>
Outputs batch_norm_statistics(Shape<4> shape) {
  const auto x = random_on<D, T>(shape, 1, 3.f, 2.f);
  const Shape<1> channels{shape[3]};
  const RunningAverages<D> running{random_on<D>(channels, 2), random_on<D>(channels, 3, 2.f, 0.1f)};
  const auto s = batch_statistics(x, 1e-5f, running);
  return outputs(s.mean, s.rstd, running.mean, running.variance, running_rstd(running.variance, 1e-5f));
}

template <Device D, class T, class F, int K>
Outputs batch_norm_both_ways(F epilogue, Shape<4> shape, bool from_batch, std::integral_constant<int, K>,
                             bool with_signs = true) {
  const Shape<1> channels{shape[3]};
  const auto x = random_on<D, T>(shape, 1), grad_y = random_on<D, T>(shape, 2);
  const auto gamma = random_on<D>(channels, 3, 1.f, 0.2f), beta = random_on<D>(channels, 4, 0.f, 0.2f);
  BatchNormStatistics<D> s{random_on<D>(channels, 5, 0.f, 0.1f), random_on<D>(channels, 6, 1.f, 0.1f)};
  if (from_batch) s = batch_statistics(x, 1e-5f);
  std::array<Tensor<T, 4, D>, K> extras;
  BatchNormGradients<T, 4, D, K> grads{Tensor<T, 4, D>(shape), Tensor<float, 1, D>(channels), Tensor<float, 1, D>(channels), {}};
  for (int k = 0; k < K; ++k)
    extras[size_t(k)] = random_on<D, T>(shape, u64(7 + k)), grads.extras[size_t(k)] = Tensor<T, 4, D>(shape);
  auto [y, signs] = std::apply(
      [&](const auto&... extra) { return batch_norm_with_signs(epilogue, x, s.mean, s.rstd, gamma, beta, extra...); }, extras);
  if (!with_signs) signs = {};
  batch_norm_backward(epilogue, grad_y, BatchNormInputs<T, 4, D, K>{x, y, extras, s.mean, s.rstd, gamma, beta, from_batch, signs},
                      grads);
  Outputs out = outputs(y, grads.x, grads.gamma, grads.beta);
  for (const auto& grad : grads.extras) out.push_back(doubles(grad.template to<Cpu>()));
  return out;
}

template <Device D>
std::vector<DeviceCase> batch_norm_cases() {
  constexpr std::integral_constant<int, 0> none;
  constexpr std::integral_constant<int, 1> one;
  constexpr auto gate = [](auto z, auto g) { return silu(z) * g; };
  return {
      {"statistics f32, 16 channels", 1e-6,
       [] {
         return batch_norm_statistics<D, float>({3, 9, 9, 16});
       }},
      {"statistics bf16, 5 channels", 1e-6,
       [] {
         return batch_norm_statistics<D, bf16>({3, 9, 9, 5});
       }},
      {"statistics bf16, 24 channels, several chunks", 1e-6,
       [] {
         return batch_norm_statistics<D, bf16>({9, 11, 9, 24});
       }},
      {"statistics f32, 700 channels", 1e-6,
       [] {
         return batch_norm_statistics<D, float>({2, 3, 1, 700});
       }},
      {"identity, batch", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(identity, {4, 5, 5, 16}, true, none);
       }},
      {"silu, batch", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(epilogues::silu, {2, 5, 5, 600}, true, none);
       }},
      {"relu of a sum, batch", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(relu_add, {3, 7, 5, 24}, true, one);
       }},
      {"relu of a sum, running", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(relu_add, {3, 7, 5, 24}, false, one);
       }},
      {"relu of a sum, bf16", 0.02,
       [=] {
         return batch_norm_both_ways<D, bf16>(relu_add, {3, 7, 5, 24}, true, one);
       }},
      {"relu of a sum, running, without signs", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(relu_add, {3, 7, 5, 24}, false, one, false);
       }},
      {"relu of a sum, bf16, without signs", 0.02,
       [=] {
         return batch_norm_both_ways<D, bf16>(relu_add, {3, 7, 5, 24}, true, one, false);
       }},
      {"relu of a sum, 21 channels", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(relu_add, {3, 7, 5, 21}, true, one);
       }},
      {"relu of a sum, bf16, 264 channels", 0.02,
       [=] {
         return batch_norm_both_ways<D, bf16>(relu_add, {3, 7, 5, 264}, true, one);
       }},
      {"gate, running", 2e-5,
       [=] {
         return batch_norm_both_ways<D, float>(gate, {3, 7, 5, 24}, false, one);
       }},
  };
}

}  // namespace mindgap::test
