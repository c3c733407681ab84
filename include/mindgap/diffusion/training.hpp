// What a diffusion model is trained on: noisy images, what to predict from them, and labels that are sometimes left out.
//
//   x_t = alpha_t x0 + sigma_t z,   target = z, x0 or alpha_t z - sigma_t x0,   t uniform over the training timesteps
//
// Every draw is keyed by the number of the training sample (step * batch + position), so a run that resumes sees the same
// numbers as one that never stopped. Loss weights are 1 for every timestep (mean squared error of the prediction).
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/diffusion/guidance.hpp>

namespace mindgap {

template <Real T, Device D>
struct NoisyBatch {
  Tensor<T, 4, D> input;          // [n, h, w, c]
  Tensor<T, 4, D> target;         // [n, h, w, c]
  Tensor<float, 1, D> timesteps;  // [n]
};

// x0: [n, h, w, c] in [-1, 1]. first: the number of the batch's first sample among all that this run has drawn.
template <Real T, Device D>
NoisyBatch<T, D> noisy_batch(const Tensor<float, 4, D>& x0, const NoiseSchedule& schedule, Prediction prediction, u64 seed,
                             i64 first) {
  const i64 n = x0.extent(0);
  std::vector<float> timesteps, coefficients;
  std::vector<Stream> noise;
  for (i64 i = 0; i < n; ++i) {
    const u64 number = u64(first + i);
    const i64 t = Stream(seed, "timestep", number).below(0, u32(schedule.train_steps()));
    const NoiseLevel level = schedule.level(t);
    const LinearInModel target = prediction == Prediction::epsilon  ? LinearInModel{0, 1}
                                 : prediction == Prediction::sample ? LinearInModel{1, 0}
                                                                    : LinearInModel{-level.sigma, level.alpha};
    timesteps.push_back(float(t));
    for (double c : {level.alpha, level.sigma, target.x, target.m}) coefficients.push_back(float(c));
    noise.emplace_back(seed, "training noise", number);
  }
  NoisyBatch<T, D> out{Tensor<T, 4, D>(x0.shape()), Tensor<T, 4, D>(x0.shape()),
                       Tensor<float, 1, D>::from(timesteps, Shape<1>(n))};
  if (n == 0) return out;
  const auto levels = Tensor<float, 2, D>::from(coefficients, Shape<2>(n, 4));
  const auto streams = detail::upload<D>(noise);
  Runtime<D>::launch(Grid{n}, NoisyImages<T>{out.input.data(), out.target.data(), x0.data(), levels.data(),
                                             reinterpret_cast<const Stream*>(streams.data()), x0.size() / n});
  return out;
}

// The labels with each replaced by null_class with probability `rate`: what teaches the model its unconditional half.
inline std::vector<i64> drop_labels(std::vector<i64> labels, i64 null_class, double rate, u64 seed, i64 first) {
  if (!(rate >= 0 && rate <= 1)) throw Error(text("label dropout: rate ", rate), {{"remedy", "use 0 to 1; 0.1 is usual"}});
  for (size_t i = 0; i < labels.size(); ++i)
    if (Stream(seed, "label dropout", u64(first) + i).uniform(0) < rate) labels[i] = null_class;
  return labels;
}

}  // namespace mindgap
