// What a diffusion model is trained on: noisy images, what to predict from them, and labels that are sometimes left out.
//
//   x_t = alpha_t x0 + sigma_t z,   target = z, x0 or alpha_t z - sigma_t x0,   t uniform over the training timesteps
//
// Every draw is keyed by the number of the training sample (step * batch + position), so a run that resumes sees the same
// numbers as one that never stopped. Loss weights are 1 for every timestep (mean squared error of the prediction).
#pragma once

#include <mindgap/core/host_input.hpp>
#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/diffusion/noise_schedule.hpp>
#include <mindgap/kernels/diffusion.hpp>

namespace mindgap {

template <Real T, Device D>
struct NoisyBatch {
  Tensor<T, 4, D> input;          // [n, h, w, c]
  Tensor<T, 4, D> target;         // [n, h, w, c]
  Tensor<float, 1, D> timesteps;  // [n]
};

// The draws of a batch of n samples: prepare() by the host, read() by the device, so that a captured step reads today's.
template <Real T, Device D>
class NoisyBatches {
 public:
  NoisyBatches(NoiseSchedule schedule, Prediction prediction, u64 seed, i64 n)
      : schedule_(std::move(schedule)), prediction_(prediction), seed_(seed), n_(n), timesteps_(n), levels_(4 * n), noise_(n) {}

  // first: the number of the batch's first sample among all that this run has drawn.
  void prepare(i64 first) {
    std::vector<float> timesteps, levels;
    std::vector<Stream> noise;
    for (i64 i = 0; i < n_; ++i) {
      const u64 number = u64(first + i);
      const i64 t = Stream(seed_, "timestep", number).below(0, u32(schedule_.train_steps()));
      const NoiseLevel level = schedule_.level(t);
      const LinearCoefficients target = prediction_ == Prediction::epsilon  ? LinearCoefficients{0, 1}
                                        : prediction_ == Prediction::sample ? LinearCoefficients{1, 0}
                                                                            : LinearCoefficients{-level.sigma, level.alpha};
      timesteps.push_back(float(t));
      for (double c : {level.alpha, level.sigma, target.x, target.m}) levels.push_back(float(c));
      noise.emplace_back(seed_, "training noise", number);
    }
    timesteps_.set(timesteps);
    levels_.set(levels);
    noise_.set(noise);
  }
  // For PackedInputs.
  template <class F>
  void each_input(F&& f) {
    f(timesteps_), f(levels_), f(noise_);
  }

  // x0: [n, h, w, c] in [-1, 1].
  NoisyBatch<T, D> read(const Tensor<float, 4, D>& x0) const {
    if (x0.extent(0) != n_)
      throw Error(text("noisy batch: ", x0.extent(0), " images for ", n_, " draws"), {{"images", x0.str()}});
    NoisyBatch<T, D> out{Tensor<T, 4, D>(x0.shape()), Tensor<T, 4, D>(x0.shape()), timesteps_.tensor()};
    const Op<D> op("noisy images");
    op.moves(x0, out.input, out.target);
    if (n_)
      Runtime<D>::launch(Grid{n_}, kernel::NoisyImages<T>{out.input.data(), out.target.data(), x0.data(), levels_.data(),
                                                          noise_.data(), x0.size() / n_});
    return out;
  }

 private:
  NoiseSchedule schedule_;
  Prediction prediction_;
  u64 seed_;
  i64 n_;
  HostInput<float, D> timesteps_;
  HostInput<float, D> levels_;  // [n, 4]: alpha, sigma, what the target takes of the image and of the noise
  HostInput<Stream, D> noise_;
};

// The noisy batch of the samples first, first + 1, ...
template <Real T, Device D>
NoisyBatch<T, D> noisy_batch(const Tensor<float, 4, D>& x0, const NoiseSchedule& schedule, Prediction prediction, u64 seed,
                             i64 first) {
  NoisyBatches<T, D> batches(schedule, prediction, seed, x0.extent(0));
  batches.prepare(first);
  return batches.read(x0);
}

// The labels with each replaced by null_class with probability `rate`: what teaches the model its unconditional half.
inline std::vector<i64> drop_labels(std::vector<i64> labels, i64 null_class, double rate, u64 seed, i64 first) {
  if (!(rate >= 0 && rate <= 1)) throw Error(text("label dropout: rate ", rate), {{"remedy", "use 0 to 1; 0.1 is usual"}});
  for (size_t i = 0; i < labels.size(); ++i)
    if (Stream(seed, "label dropout", u64(first) + i).uniform(0) < rate) labels[i] = null_class;
  return labels;
}

}  // namespace mindgap
