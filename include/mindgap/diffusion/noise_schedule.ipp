// Bodies of diffusion/noise_schedule.hpp.
#pragma once

#include <mindgap/diffusion/noise_schedule.hpp>

#include <algorithm>
#include <numbers>

namespace mindgap {
namespace detail {

// torch.linspace in f32: from the start in the first half, from the end in the second.
inline float linspace(double start, double end, i64 i, i64 count) {
  if (count == 1) return float(start);
  const float first = float(start), last = float(end), step = (last - first) / float(count - 1);
  return i < count / 2 ? std::fma(step, float(i), first) : std::fma(-step, float(count - 1 - i), last);
}

inline float beta(BetaSchedule schedule, i64 t, i64 train_steps, double start, double end) {
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

// abar of 1 - beta at each timestep: the running product in double, each rounded to f32.
inline std::vector<float> running_product(const std::vector<float>& alphas) {
  std::vector<float> out;
  double product = 1;
  for (float alpha : alphas) out.push_back(float(product *= double(alpha)));
  return out;
}

// 1 - beta of the schedule whose sqrt(abar) is shifted and scaled to end at 0, rounded where diffusers rounds it (but for
// PyTorch's square root of many f32 at once, which is not always the nearest).
inline std::vector<float> zero_terminal_snr(const std::vector<float>& alphas_cumprod) {
  std::vector<float> signal, out;
  for (float abar : alphas_cumprod) signal.push_back(std::sqrt(abar));
  const float first = signal.front(), last = signal.back(), scale = first / (first - last);
  for (float& s : signal) s -= last, s *= scale, s *= s;
  for (size_t t = 0; t < signal.size(); ++t) {
    const float beta = 1.f - (t ? signal[t] / signal[t - 1] : signal[0]);
    out.push_back(1.f - beta);
  }
  return out;
}

}  // namespace detail

MINDGAP_INLINE NoiseSchedule::NoiseSchedule(BetaSchedule schedule, i64 train_steps, double beta_start, double beta_end,
                                            bool zero_terminal_snr) {
  if (train_steps < 1 || train_steps > 1'000'000)
    throw Error(text("noise schedule: ", train_steps, " training timesteps"), {{"remedy", "use 1 to 1,000,000; 1,000 is usual"}});
  if (schedule != BetaSchedule::squaredcos_cap_v2 && !(beta_start > 0 && beta_start <= beta_end && beta_end < 1))
    throw Error(text("noise schedule: betas from ", beta_start, " to ", beta_end),
                {{"remedy", "0 < beta_start <= beta_end < 1, for example 0.0001 and 0.02"}});
  if (zero_terminal_snr && train_steps < 2)
    throw Error("noise schedule: zero terminal SNR of one training timestep",
                {{"remedy", "use more timesteps, or rescale_betas_zero_snr false"}});
  std::vector<float> alphas;
  for (i64 t = 0; t < train_steps; ++t) alphas.push_back(1.f - detail::beta(schedule, t, train_steps, beta_start, beta_end));
  alphas_cumprod_ = detail::running_product(alphas);
  for (i64 t = 0; t < train_steps; ++t)
    if (!(alphas_cumprod_[size_t(t)] > 1e-12f))
      throw Error(text("noise schedule: no signal is left at timestep ", t, " of ", train_steps),
                  {{"remedy", "use smaller betas"}});
  if (!zero_terminal_snr) return;
  alphas_cumprod_ = detail::running_product(detail::zero_terminal_snr(alphas_cumprod_));
  for (i64 t = 1; t < train_steps; ++t)
    if (!(alphas_cumprod_[size_t(t)] < alphas_cumprod_[size_t(t) - 1]))
      throw Error(
          text("noise schedule: betas this small cannot be scaled to zero terminal SNR: the cumulative alpha of timestep ", t,
               " would be ", alphas_cumprod_[size_t(t)]),
          {{"remedy", "use larger betas, or rescale_betas_zero_snr false"}});
}

MINDGAP_INLINE NoiseSchedule::NoiseSchedule(std::vector<float> alphas_cumprod) : alphas_cumprod_(std::move(alphas_cumprod)) {
  if (alphas_cumprod_.empty()) throw Error("noise schedule: the table of cumulative alphas is empty");
  for (i64 t = 0; t < train_steps(); ++t)
    if (const double now = alpha_bar(t); !(now > 1e-12 && (t ? now < alpha_bar(t - 1) : now <= 1)))
      throw Error(text("noise schedule: the cumulative alpha of timestep ", t, " is ", now),
                  {{"before", t ? text(alpha_bar(t - 1)) : "none"},
                   {"remedy", "each is below the one before, the first at most 1, the last above 1e-12: some signal is left"}});
}

MINDGAP_INLINE double NoiseSchedule::alpha_bar(i64 t) const {
  if (t < 0 || t >= train_steps())
    throw Error(text("noise schedule: timestep ", t, " is outside 0 to ", train_steps() - 1),
                {{"remedy", "check steps_offset and the step count"}});
  return alphas_cumprod_[size_t(t)];
}

MINDGAP_INLINE double NoiseSchedule::sigma_ratio(double t) const {
  const auto ratio = [this](i64 step) -> double {
    const float table = alphas_cumprod_[size_t(step)], abar = table == 0 ? 0x1p-24f : table;
    return std::sqrt((1.f - abar) / abar);
  };
  const i64 below = std::min(i64(t), train_steps() - 1), above = std::min(below + 1, train_steps() - 1);
  const double low = ratio(below), high = ratio(above);
  return float(low + (high - low) * (t - double(below)));
}

}  // namespace mindgap
