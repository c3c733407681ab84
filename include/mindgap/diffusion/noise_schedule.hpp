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
//
// Zero terminal SNR (Lin et al. 2023, arXiv 2305.08891, algorithm 1; diffusers' rescale_betas_zero_snr): sqrt(abar) is shifted
// and scaled so that its first value stays and its last is 0, pure noise, as a sampler's first state is. Noise says nothing about
// an image there, so a model predicts v or the image.
// Left out: trained betas, learned variances.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <cmath>
#include <vector>

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

namespace detail {

// The one of `values` whose name is wanted; `what` is there where there is none: "sampler".
template <class E, size_t N>
E by_name(const E (&values)[N], std::string_view wanted, const char* what) {
  std::string names;
  for (size_t i = 0; i < N; ++i) {
    if (wanted == name(values[i])) return values[i];
    (names += i == 0 ? "" : i + 1 < N ? ", " : " or ") += name(values[i]);
  }
  throw Error(text("there is no ", what, " ", shown(wanted)), {{"remedy", "use " + names}});
}

}  // namespace detail

// "linspace", "leading" or "trailing".
inline TimestepSpacing spacing_by_name(std::string_view wanted) {
  return detail::by_name({TimestepSpacing::linspace, TimestepSpacing::leading, TimestepSpacing::trailing}, wanted, "spacing");
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
  // train_steps >= 1; 0 < beta_start <= beta_end < 1 (unused by the cosine schedule). zero_terminal_snr: of 2 steps or more.
  explicit NoiseSchedule(BetaSchedule schedule = BetaSchedule::squaredcos_cap_v2, i64 train_steps = 1000,
                         double beta_start = 1e-4, double beta_end = 0.02, bool zero_terminal_snr = false);
  // A schedule of one's own: abar at the timesteps 0, 1, ..., which falls from at most 1.
  explicit NoiseSchedule(std::vector<float> alphas_cumprod);

  i64 train_steps() const { return i64(alphas_cumprod_.size()); }
  const std::vector<float>& alphas_cumprod() const { return alphas_cumprod_; }

  // abar at timestep t, 0 <= t < train_steps().
  double alpha_bar(i64 t) const;
  NoiseLevel level(i64 t) const { return level_of(alpha_bar(t)); }
  static NoiseLevel level_of(double alpha_bar) { return {std::sqrt(alpha_bar), std::sqrt(1 - alpha_bar)}; }

  // sigma_t / alpha_t, linear between timesteps and rounded to f32: the noise level in the units of Euler and DPM-Solver. Where
  // no signal is left it is that of abar = 2^-24, 4096, as in diffusers.
  double sigma_ratio(double t) const;

 private:
  std::vector<float> alphas_cumprod_;
};

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/noise_schedule.ipp>
#endif
