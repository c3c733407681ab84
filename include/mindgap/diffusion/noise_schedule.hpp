// Noise schedules: how much signal and how much noise an image holds at each training timestep.
//
//   x_t = alpha_t x0 + sigma_t e,   alpha_t^2 = abar_t = prod_{s <= t} (1 - beta_s),   sigma_t^2 = 1 - abar_t,   e ~ N(0, 1)
//
// beta schedules, under diffusers' names (T = num_train_timesteps):
//   linear             beta_start to beta_end in equal steps                           (Ho et al. 2020, arXiv 2006.11239)
//   scaled_linear      the same of square roots                                        (Rombach et al. 2022, arXiv 2112.10752)
//   squaredcos_cap_v2  1 - f((t+1)/T) / f(t/T), at most 0.999, f(u) = cos^2((u + 0.008) / 1.008 pi/2)
//                      (Nichol and Dhariwal 2021, arXiv 2102.09672)
// The rounding is part of the definition: diffusers holds beta, 1 - beta and abar in f32 (the running product in f64), and
// near t = T the cosine schedule's abar moves by 1e-5 if they are not rounded alike. So abar here is bit-equal to diffusers'.
//
// A model predicts e ("epsilon"), x0 ("sample") or v = alpha e - sigma x0 ("v_prediction", Salimans and Ho 2022, arXiv
// 2202.00512); given x_t each is a linear function of any other: see `convert`.
// Any other schedule is a table of abar.
// Left out: trained betas, zero-terminal-SNR rescaling, learned variances.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mindgap {

enum class BetaSchedule { linear, scaled_linear, squaredcos_cap_v2 };
enum class Prediction { epsilon, sample, v_prediction };
enum class TimestepSpacing { linspace, leading, trailing };

constexpr const char* name(BetaSchedule schedule) {
  constexpr const char* names[] = {"linear", "scaled_linear", "squaredcos_cap_v2"};
  return names[int(schedule)];
}
constexpr const char* name(Prediction prediction) {
  constexpr const char* names[] = {"epsilon", "sample", "v_prediction"};
  return names[int(prediction)];
}
constexpr const char* name(TimestepSpacing spacing) {
  constexpr const char* names[] = {"linspace", "leading", "trailing"};
  return names[int(spacing)];
}

// How much of an image is signal and how much is noise: x = alpha x0 + sigma e.
struct NoiseLevel {
  double alpha;
  double sigma;
};

// c_x * x + c_m * m, where x is the noisy image and m is what the model says about it.
struct LinearCoefficients {
  double x;
  double m;
};

// The coefficients that turn a prediction of kind `from` into one of kind `to` at a noise level.
inline LinearCoefficients convert(Prediction from, Prediction to, NoiseLevel level) {
  const auto [alpha, sigma] = level;
  if (from == to) return {0, 1};
  switch (to) {
    case Prediction::sample:
      return from == Prediction::epsilon ? LinearCoefficients{1 / alpha, -sigma / alpha} : LinearCoefficients{alpha, -sigma};
    case Prediction::epsilon:
      return from == Prediction::sample ? LinearCoefficients{1 / sigma, -alpha / sigma} : LinearCoefficients{sigma, alpha};
    default:  // v
      return from == Prediction::epsilon ? LinearCoefficients{-sigma / alpha, 1 / alpha}
                                         : LinearCoefficients{alpha / sigma, -1 / sigma};
  }
}

class NoiseSchedule {
 public:
  // train_steps >= 1; 0 < beta_start <= beta_end < 1 (unused by the cosine schedule).
  explicit NoiseSchedule(BetaSchedule schedule = BetaSchedule::squaredcos_cap_v2, i64 train_steps = 1000,
                         double beta_start = 1e-4, double beta_end = 0.02) {
    if (train_steps < 1 || train_steps > 1'000'000)
      throw Error(text("noise schedule: ", train_steps, " training timesteps"),
                  {{"remedy", "use 1 to 1,000,000; 1,000 is usual"}});
    if (schedule != BetaSchedule::squaredcos_cap_v2 && !(beta_start > 0 && beta_start <= beta_end && beta_end < 1))
      throw Error(text("noise schedule: betas from ", beta_start, " to ", beta_end),
                  {{"remedy", "0 < beta_start <= beta_end < 1, for example 0.0001 and 0.02"}});
    double product = 1;
    for (i64 t = 0; t < train_steps; ++t) {
      product *= double(1.f - beta(schedule, t, train_steps, beta_start, beta_end));
      alphas_cumprod_.push_back(float(product));
      if (!(alphas_cumprod_.back() > 1e-12f))
        throw Error(text("noise schedule: no signal is left at timestep ", t, " of ", train_steps),
                    {{"remedy", "use smaller betas"}});
    }
  }
  // A schedule of one's own: abar at the timesteps 0, 1, ..., which falls from at most 1.
  explicit NoiseSchedule(std::vector<float> alphas_cumprod) : alphas_cumprod_(std::move(alphas_cumprod)) {
    if (alphas_cumprod_.empty()) throw Error("noise schedule: the table of cumulative alphas is empty");
    for (i64 t = 0; t < train_steps(); ++t)
      if (const double now = alpha_bar(t); !(now > 1e-12 && (t ? now < alpha_bar(t - 1) : now <= 1)))
        throw Error(text("noise schedule: the cumulative alpha of timestep ", t, " is ", now),
                    {{"before", t ? text(alpha_bar(t - 1)) : "none"},
                     {"remedy", "each is below the one before, the first at most 1, the last above 1e-12: some signal is left"}});
  }

  i64 train_steps() const { return i64(alphas_cumprod_.size()); }
  const std::vector<float>& alphas_cumprod() const { return alphas_cumprod_; }

  // abar at timestep t, 0 <= t < train_steps().
  double alpha_bar(i64 t) const {
    if (t < 0 || t >= train_steps())
      throw Error(text("noise schedule: timestep ", t, " is outside 0 to ", train_steps() - 1),
                  {{"remedy", "check steps_offset and the step count"}});
    return alphas_cumprod_[size_t(t)];
  }
  NoiseLevel level(i64 t) const { return level_of(alpha_bar(t)); }
  static NoiseLevel level_of(double alpha_bar) { return {std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar)}; }

  // sigma_t / alpha_t, linear between timesteps and rounded to f32: the noise level in the units of Euler and DPM-Solver.
  double sigma_ratio(double t) const {
    const i64 below = std::min(i64(t), train_steps() - 1), above = std::min(below + 1, train_steps() - 1);
    const double low = ratio(below), high = ratio(above);
    return float(low + (high - low) * (t - double(below)));
  }

 private:
  // torch.linspace in f32: from the start in the first half, from the end in the second.
  static float linspace(double start, double end, i64 i, i64 count) {
    if (count == 1) return float(start);
    const float first = float(start), last = float(end), step = (last - first) / float(count - 1);
    return i < count / 2 ? std::fma(step, float(i), first) : std::fma(-step, float(count - 1 - i), last);
  }

  static float beta(BetaSchedule schedule, i64 t, i64 train_steps, double start, double end) {
    if (schedule == BetaSchedule::linear) return linspace(start, end, t, train_steps);
    if (schedule == BetaSchedule::scaled_linear) {
      const float root = linspace(std::sqrt(start), std::sqrt(end), t, train_steps);
      return root * root;
    }
    const auto signal = [](double u) {
      const double c = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
      return c * c;
    };
    return float(std::min(1 - signal(double(t + 1) / double(train_steps)) / signal(double(t) / double(train_steps)), 0.999));
  }

  double ratio(i64 t) const {
    const float abar = alphas_cumprod_[size_t(t)];
    return std::sqrt((1.f - abar) / abar);
  }

  std::vector<float> alphas_cumprod_;
};

}  // namespace mindgap
