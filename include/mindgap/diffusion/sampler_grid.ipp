// Bodies of diffusion/sampler_grid.hpp.
#pragma once

#include <mindgap/diffusion/sampler_grid.hpp>

#include <cmath>

namespace mindgap {
namespace detail {

// numpy's arange(start, 0, -interval), round half to even, minus one; exactly `count` values.
inline std::vector<double> trailing_timesteps(double start, double interval, i64 count) {
  std::vector<double> grid;
  const double delta = (start - interval) - start;
  for (i64 i = 0; i < count; ++i) grid.push_back(std::nearbyint(start + double(i) * delta) - 1);
  return grid;
}

// Timesteps with log(alpha / sigma) below lambda_min_clipped are left out of DPM-Solver++'s grid.
inline i64 first_timestep_below(double lambda_min, const NoiseSchedule& schedule) {
  i64 end = schedule.train_steps();
  while (end > 1 && -std::log(schedule.sigma_ratio(double(end - 1))) < lambda_min) --end;
  return end;
}

inline std::vector<double> spaced_timesteps(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps) {
  const double train_steps = double(schedule.train_steps());
  const TimestepSpacing spacing = config.spacing();
  const bool solver = config.is_solver(), whole = solver || !config.steps_in_sigma();
  // DPM-Solver++ and UniPC make one timestep more and leave the last out; DPM-Solver++ may start below the noisiest timestep.
  const i64 end = config.is_dpmpp() ? first_timestep_below(config.lambda_min_clipped, schedule) : schedule.train_steps(),
            points = steps + (solver ? 1 : 0);
  if (spacing == TimestepSpacing::trailing) {
    const double interval = train_steps / double(steps);
    return trailing_timesteps(double(end), interval,
                              end == schedule.train_steps() ? steps : i64(std::ceil(double(end) / interval)));
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

// The timestep whose log(sigma / alpha) is that of sigma. The logarithms of the schedule are rounded to f32, as diffusers' are:
// where a timestep is cut off to a whole one, the last bit decides which.
inline double timestep_of(double sigma, const NoiseSchedule& schedule) {
  const auto log_of = [&](i64 t) { return double(float(std::log(schedule.sigma_ratio(double(t))))); };
  const double wanted = std::log(sigma);
  i64 low = 0, high = schedule.train_steps() - 1;
  while (high - low > 1) {
    const i64 middle = (low + high) / 2;
    (log_of(middle) <= wanted ? low : high) = middle;
  }
  if (low == high) return double(low);
  const double weight = std::clamp((log_of(low) - wanted) / (log_of(low) - log_of(high)), 0., 1.);
  return (1 - weight) * double(low) + weight * double(high);
}

// `count` sigmas from max to min.
inline std::vector<double> curve_of_sigmas(SigmaGrid kind, double max, double min, i64 count) {
  const bool karras = kind == SigmaGrid::karras;
  const auto bend = [&](double sigma) { return karras ? std::pow(sigma, 1 / 7.) : std::log(sigma); };
  std::vector<double> out;
  for (i64 i = 0; i < count; ++i) {
    const double ramp = i == 0 ? 0 : i == count - 1 ? 1 : double(i) / double(count - 1);
    const double bent = ramp == 1 ? bend(min) : bend(max) + ramp * (bend(min) - bend(max));
    out.push_back(karras ? std::pow(bent, 7.) : std::exp(bent));
  }
  return out;
}

MINDGAP_INLINE SamplerGrid sampler_grid(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps) {
  SamplerGrid out{spaced_timesteps(config, schedule, steps), {}};
  std::vector<double>& timesteps = out.timesteps;
  const i64 points = i64(timesteps.size()), last = schedule.train_steps() - 1;
  const std::string grid =
      text(name(config.sampler), ": ", points, points == 1 ? " step" : " steps", " with ", name(config.spacing()), " spacing");
  if (timesteps.front() > double(last) || timesteps.back() < 0)
    throw Error(text(grid, " leave the schedule: ", timesteps.front(), " to ", timesteps.back()),
                {{"remedy", text("use fewer steps or another steps_offset than ", config.steps_offset)}});
  const bool solver = config.is_solver();
  if (config.sigmas != SigmaGrid::none) {
    const double max = schedule.sigma_ratio(solver ? double(last) : timesteps.front()),
                 min = schedule.sigma_ratio(solver ? 0 : timesteps.back());
    const bool rounds = config.sigmas == SigmaGrid::karras &&
                        (config.sampler == SamplerKind::unipc || config.beta_schedule != BetaSchedule::squaredcos_cap_v2);
    timesteps.clear();
    for (double sigma : curve_of_sigmas(config.sigmas, max, min, steps)) {
      const double t = timestep_of(sigma, schedule);
      timesteps.push_back(!solver ? double(float(t)) : rounds ? std::nearbyint(t) : std::trunc(t));
      out.sigmas.push_back(double(float(sigma)));
    }
  } else if (config.steps_in_sigma()) {
    for (double t : timesteps) out.sigmas.push_back(schedule.sigma_ratio(t));
  }
  if (timesteps.front() <= 0)
    throw Error(grid + ": it would start where there is no noise", {{"remedy", "use trailing spacing or more steps"}});
  const auto check_falling = [&](const std::vector<double>& values, const char* what) {
    for (size_t k = 1; k < values.size(); ++k)
      if (!(values[k] < values[k - 1]))
        throw Error(text(grid, ": ", what, " ", values[k], " comes twice"), {{"remedy", "use fewer steps or trailing spacing"}});
  };
  if (config.sigmas == SigmaGrid::none) check_falling(timesteps, "timestep");
  check_falling(out.sigmas, "the noise level");
  return out;
}

}  // namespace detail
}  // namespace mindgap
