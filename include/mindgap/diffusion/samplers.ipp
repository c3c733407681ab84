// Bodies of diffusion/samplers.hpp.
#pragma once

#include <mindgap/diffusion/samplers.hpp>
#include <mindgap/io/numbers.hpp>

namespace mindgap {

namespace detail {

// The steps that diffusers makes of a schedule.
struct SchedulerSteps {
  SchedulerConfig config;
  NoiseSchedule schedule;
  double eta;
  std::vector<double> timesteps;
  std::vector<StepCoefficients> coefficients;

  SchedulerSteps(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps, double eta)
      : config(config), schedule(schedule), eta(eta) {
    const i64 train_steps = schedule.train_steps();
    if (steps < 1 || steps > train_steps)
      throw Error(text(name(config.sampler), ": ", steps, " steps"),
                  {{"remedy", text("use 1 to ", train_steps, ", the training timesteps")}});
    if (!(eta >= 0 && eta <= 1) || (eta != 0 && config.sampler != SamplerKind::ddim))
      throw Error(text(name(config.sampler), ": eta ", eta), {{"remedy", "eta is 0 to 1 for ddim and 0 for the other samplers"}});
    if (!(config.clip_sample_range > 0))
      throw Error(text(name(config.sampler), ": clip_sample_range ", config.clip_sample_range),
                  {{"remedy", "use a positive range"}});
    timesteps = make_grid(steps);
    check_grid();
    for (i64 k = 0; k < this->steps(); ++k) coefficients.push_back(rounded(step(k, steps)));
  }

  double initial_scale() const {
    return config.sampler == SamplerKind::euler && config.spacing() != TimestepSpacing::leading ? level(0).sigma : 1;
  }
  std::string describe() const {
    std::string out = text(name(config.sampler), ", ", name(config.spacing()), " spacing");
    if (config.sampler == SamplerKind::ddim) out += ", eta " + exact(eta);
    if (clips()) out += ", clipped to " + exact(config.clip_sample_range);
    return out;
  }

  // One step's coefficients in double.
  struct Step {
    LinearCoefficients x0;
    double x, m, c_x0, previous, noise;
  };

  i64 steps() const { return i64(timesteps.size()); }
  bool clips() const {
    return config.clip_sample && (config.sampler == SamplerKind::ddpm || config.sampler == SamplerKind::ddim);
  }
  double timestep(i64 k) const { return timesteps[size_t(k)]; }
  // Signal and noise of the state before step k; Euler's and DPM-Solver's sigma is sigma / alpha.
  NoiseLevel level(i64 k) const {
    const double sigma = schedule.sigma_ratio(timestep(k)), alpha = 1 / std::sqrt(sigma * sigma + 1);
    return {alpha, sigma * alpha};
  }

  // numpy's arange(start, 0, -interval), round half to even, minus one; exactly `count` values.
  static std::vector<double> trailing(double start, double interval, i64 count) {
    std::vector<double> grid;
    const double delta = (start - interval) - start;
    for (i64 i = 0; i < count; ++i) grid.push_back(std::nearbyint(start + double(i) * delta) - 1);
    return grid;
  }

  std::vector<double> make_grid(i64 steps) const {
    const double train_steps = double(schedule.train_steps());
    const TimestepSpacing spacing = config.spacing();
    const bool solver = config.sampler == SamplerKind::dpmpp_2m, whole = config.sampler != SamplerKind::euler;
    // DPM-Solver++ makes one timestep more, leaves the last out, and may start below the noisiest timestep.
    const i64 end = solver ? first_timestep_below_clip() : schedule.train_steps(), points = steps + (solver ? 1 : 0);
    if (spacing == TimestepSpacing::trailing) {
      const double interval = train_steps / double(steps);
      return trailing(double(end), interval, end == schedule.train_steps() ? steps : i64(std::ceil(double(end) / interval)));
    }
    std::vector<double> grid;
    for (i64 i = points - 1; i >= (solver ? 1 : 0); --i) {
      if (spacing == TimestepSpacing::leading) grid.push_back(double(i * (end / points) + config.steps_offset));
      else {
        const double t = points == 1 ? 0 : i == points - 1 ? double(end - 1) : double(i) * (double(end - 1) / double(points - 1));
        grid.push_back(whole ? std::nearbyint(t) : double(float(t)));
      }
    }
    return grid;
  }

  // Timesteps with log(alpha / sigma) below lambda_min_clipped are left out of DPM-Solver++'s grid.
  i64 first_timestep_below_clip() const {
    i64 end = schedule.train_steps();
    while (end > 1 && -std::log(schedule.sigma_ratio(double(end - 1))) < config.lambda_min_clipped) --end;
    return end;
  }

  void check_grid() const {
    const std::string grid = text(name(config.sampler), ": ", steps(), steps() == 1 ? " step" : " steps", " with ",
                                  name(config.spacing()), " spacing");
    const double last = double(schedule.train_steps() - 1);
    if (timesteps.front() > last || timesteps.back() < 0)
      throw Error(text(grid, " leave the schedule: ", timesteps.front(), " to ", timesteps.back()),
                  {{"remedy", text("use fewer steps or another steps_offset than ", config.steps_offset)}});
    if (timesteps.front() <= 0)
      throw Error(grid + ": it would start where there is no noise", {{"remedy", "use trailing spacing or more steps"}});
    for (size_t k = 1; k < timesteps.size(); ++k)
      if (timesteps[k] >= timesteps[k - 1])
        throw Error(text(grid, ": timestep ", timesteps[k], " comes twice"), {{"remedy", "use fewer steps or trailing spacing"}});
  }

  Step step(i64 k, i64 requested_steps) const {
    const Prediction kind = config.prediction_type;
    switch (config.sampler) {
      case SamplerKind::ddpm: {
        const i64 t = i64(timestep(k));
        const double abar = schedule.alpha_bar(t), next = k + 1 < steps() ? schedule.alpha_bar(i64(timestep(k + 1))) : 1;
        const double alpha = abar / next, beta = 1 - alpha;
        const double variance = config.fixed_large ? beta : (1 - next) / (1 - abar) * beta;
        return {convert(kind, Prediction::sample, schedule.level(t)),
                std::sqrt(alpha) * (1 - next) / (1 - abar),
                0,
                std::sqrt(next) * beta / (1 - abar),
                0,
                t > 0 ? std::sqrt(variance) : 0};
      }
      case SamplerKind::ddim: {
        const i64 t = i64(timestep(k)), previous = t - schedule.train_steps() / requested_steps;
        const double abar = schedule.alpha_bar(t);
        const double next = previous >= 0 ? schedule.alpha_bar(previous) : config.set_alpha_to_one ? 1 : schedule.alpha_bar(0);
        const double noise = eta * std::sqrt((1 - next) / (1 - abar) * (1 - abar / next));
        const double direction = std::sqrt(std::max(0., 1 - next - noise * noise));
        const LinearCoefficients epsilon = convert(kind, Prediction::epsilon, schedule.level(t));
        return {convert(kind, Prediction::sample, schedule.level(t)),
                direction * epsilon.x,
                direction * epsilon.m,
                std::sqrt(next),
                0,
                noise};
      }
      case SamplerKind::dpmpp_2m: {
        const NoiseLevel now = level(k), next = k + 1 < steps() ? level(k + 1) : NoiseLevel{1, 0};
        const double gain = next.alpha - now.alpha * next.sigma / now.sigma;  // alpha' (1 - exp(-h))
        double half_slope = 0;
        if (k > 0 && k + 1 < steps()) {
          const auto lambda = [&](i64 step) { return -std::log(schedule.sigma_ratio(timestep(step))); };
          half_slope = 0.5 * (lambda(k + 1) - lambda(k)) / (lambda(k) - lambda(k - 1));  // 1 / (2 r)
        }
        return {
            convert(kind, Prediction::sample, now), next.sigma / now.sigma, 0, gain * (1 + half_slope), -gain * half_slope, 0};
      }
      default: {  // Euler: x / alpha moves by (sigma' / alpha' - sigma / alpha) e
        const NoiseLevel now = level(k), next = k + 1 < steps() ? level(k + 1) : NoiseLevel{1, 0};
        const LinearCoefficients epsilon = convert(kind, Prediction::epsilon, now);
        const double move = next.sigma - next.alpha * now.sigma / now.alpha;
        return {convert(kind, Prediction::sample, now), next.alpha / now.alpha + move * epsilon.x, move * epsilon.m, 0, 0, 0};
      }
    }
  }

  // Without clipping x0 is linear too: fold it, which spares the detour through a large intermediate.
  StepCoefficients rounded(Step s) const {
    if (!clips()) {
      s.x += s.c_x0 * s.x0.x;
      s.m += s.c_x0 * s.x0.m;
      s.c_x0 = 0;
    }
    const float clip = clips() ? float(config.clip_sample_range) : std::numeric_limits<float>::infinity();
    return {float(s.x0.x), float(s.x0.m), clip, float(s.x), float(s.m), float(s.c_x0), float(s.previous), float(s.noise)};
  }
};

// A hash of numbers, for descriptions.
template <class T>
u64 hash_of(const std::vector<T>& values) {
  return hash64({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

}  // namespace detail

MINDGAP_INLINE Sampler::Sampler(const detail::SchedulerSteps& made)
    : Sampler(mindgap::name(made.config.sampler), made.timesteps, made.coefficients, made.initial_scale()) {
  description_ = made.describe();
}
MINDGAP_INLINE Sampler::Sampler(const SchedulerConfig& config, i64 steps, double eta)
    : Sampler(detail::SchedulerSteps(config, config.schedule(), steps, eta)) {}
MINDGAP_INLINE Sampler::Sampler(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps, double eta)
    : Sampler(detail::SchedulerSteps(config, schedule, steps, eta)) {
  description_ += text(", noise schedule ", detail::hash_of(schedule.alphas_cumprod()));
}
MINDGAP_INLINE Sampler::Sampler(const std::string& name, std::vector<double> timesteps,
                                std::vector<StepCoefficients> coefficients, double initial_scale)
    : name_(name),
      timesteps_(std::move(timesteps)),
      coefficients_(std::move(coefficients)),
      initial_scale_(initial_scale),
      description_(
          text(name, ", own steps ", detail::hash_of(timesteps_), " ", detail::hash_of(coefficients_), " from ", initial_scale)) {
  check();
}

MINDGAP_INLINE void Sampler::check() const {
  if (timesteps_.empty() || timesteps_.size() != coefficients_.size())
    throw Error(text(name_, ": ", timesteps_.size(), " timesteps and the coefficients of ", coefficients_.size(), " steps"),
                {{"remedy", "give one of each for every step"}});
  bool good = initial_scale_ > 0 && std::isfinite(initial_scale_);
  if (!good) throw Error(text(name_, ": the first state has standard deviation ", initial_scale_));
  for (i64 k = 0; k < steps(); ++k) {
    const StepCoefficients& c = coefficients(k);
    for (double number : {timestep(k), double(c.x0_x), double(c.x0_m), double(c.x), double(c.m), double(c.x0), double(c.previous),
                          double(c.noise)})
      good = good && std::isfinite(number);
    if (!good || !(c.clip > 0))
      throw Error(text(name_, ": the timestep or a coefficient of step ", k, " is not finite, or its clip is not positive"),
                  {{"timestep", text(timestep(k))}, {"clip", text(c.clip, " (infinite: no clipping)")}});
  }
}

}  // namespace mindgap
