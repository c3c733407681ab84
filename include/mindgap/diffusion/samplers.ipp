// Bodies of diffusion/samplers.hpp.
#pragma once

#include <mindgap/diffusion/sampler_grid.hpp>
#include <mindgap/diffusion/samplers.hpp>
#include <mindgap/io/numbers.hpp>

#include <array>

namespace mindgap {

namespace detail {

// The steps that diffusers makes of a schedule. A question is what the model is asked once; most methods ask once at each point
// of the grid.
struct SchedulerSteps {
  using Kind = SamplerKind;

  SchedulerConfig config;
  NoiseSchedule schedule;
  i64 requested_steps;
  double eta, strength;
  SamplerGrid grid;
  i64 begin;  // the first question
  std::vector<double> timesteps;
  std::vector<StepCoefficients> coefficients;

  SchedulerSteps(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps, double eta, double strength)
      : config(config), schedule(schedule), requested_steps(steps), eta(eta), strength(strength) {
    const i64 train_steps = schedule.train_steps();
    if (steps < 1 || steps > train_steps)
      throw Error(text(name(config.sampler), ": ", steps, " steps"),
                  {{"remedy", text("use 1 to ", train_steps, ", the training timesteps")}});
    if (!(eta >= 0 && eta <= 1) || (eta != 0 && config.sampler != Kind::ddim))
      throw Error(text(name(config.sampler), ": eta ", eta), {{"remedy", "eta is 0 to 1 for ddim and 0 for the other samplers"}});
    if (!(config.clip_sample_range > 0))
      throw Error(text(name(config.sampler), ": clip_sample_range ", config.clip_sample_range),
                  {{"remedy", "use a positive range"}});
    check_exists();
    grid = sampler_grid(config, schedule, steps);
    begin = first_question();
    for (i64 q = begin; q < questions(); ++q) {
      timesteps.push_back(timestep(point(q)));
      coefficients.push_back(rounded(step(q)));
    }
  }

  double initial_scale() const {
    const bool noisiest = config.steps_in_sigma() && !config.is_solver() && config.spacing() != TimestepSpacing::leading;
    return noisiest ? level(0).sigma : 1;
  }
  NoiseLevel image_level() const { return level(point(begin)); }
  double error_gain() const {
    return config.clips() ? 0 : std::abs(convert(config.prediction_type, Prediction::sample, image_level()).m);
  }
  std::string describe() const {
    std::string out = text(name(config.sampler), ", ", name(config.spacing()), " spacing");
    if (config.sigmas != SigmaGrid::none) out += text(", ", name(config.sigmas), " sigmas");
    if (config.sampler == Kind::ddim) out += ", eta " + exact(eta);
    if (config.clips()) out += ", clipped to " + exact(config.clip_sample_range);
    if (strength < 1) out += ", strength " + exact(strength);
    return out;
  }

  // The coefficients of one question in double.
  struct Step {
    LinearCoefficients kept;  // y
    double x = 0, m = 0, y = 0;
    std::array<double, StepCoefficients::most_kept> past{};
    double noise = 0;
  };

  // Combinations that diffusers does not have, or that mean nothing.
  void check_exists() const {
    const std::string sampler = name(config.sampler);
    if (config.sigmas != SigmaGrid::none && !config.has_sigma_grids())
      throw Error(text(sampler, ": it has no ", name(config.sigmas), " grid of sigmas"),
                  {{"remedy", "use none, or lms, euler, heun, dpmpp_2m, dpmpp_2m_sde or unipc"}});
    if (config.prediction_type == Prediction::sample && config.is_of({Kind::pndm, Kind::euler_a}))
      throw Error(sampler + ": it is not defined for a model that predicts images (prediction_type sample)",
                  {{"remedy", "use another sampler"}});
    if (schedule.alphas_cumprod().back() > 0) return;
    if (!config.has_zero_snr())
      throw Error(sampler + ": it has no zero terminal SNR (rescale_betas_zero_snr)", {{"remedy", "use another sampler"}});
    if (config.prediction_type == Prediction::epsilon)
      throw Error(sampler + ": a model that predicts noise says nothing at zero terminal SNR (rescale_betas_zero_snr)",
                  {{"remedy", "use a model that predicts v, or betas without zero terminal SNR"}});
  }

  i64 points() const { return i64(grid.timesteps.size()); }
  double timestep(i64 point) const { return grid.timesteps[size_t(point)]; }
  double sigma(i64 point) const { return point < points() ? grid.sigmas[size_t(point)] : 0; }  // sigma / alpha
  double lambda(i64 point) const { return -std::log(sigma(point)); }
  NoiseLevel level(i64 point) const {
    if (!config.steps_in_sigma()) return schedule.level(i64(timestep(point)));
    if (point == points()) return {1, 0};
    const double alpha = 1 / std::sqrt(sigma(point) * sigma(point) + 1);
    return {alpha, sigma(point) * alpha};
  }

  // Of all steps: PNDM asks at the second point twice, Heun at each but the first.
  i64 questions() const {
    if (config.sampler == Kind::pndm && points() > 1) return points() + 1;
    return config.sampler == Kind::heun ? 2 * points() - 1 : points();
  }
  i64 point(i64 question) const {
    if (config.sampler == Kind::pndm) return question < 2 ? question : question - 1;
    return config.sampler == Kind::heun ? (question + 1) / 2 : question;
  }
  i64 first_question() const {
    const i64 left = strength > 0 && strength <= 1 ? i64(double(requested_steps) * strength) : 0;
    const i64 first = (requested_steps - left) * (config.sampler == Kind::heun ? 2 : 1);
    if (left < 1 || first >= questions())
      throw Error(text(name(config.sampler), ": strength ", strength, " leaves none of ", requested_steps, " steps"),
                  {{"remedy", "strength is over 0 to 1; use a larger one, or more steps"}});
    return first;
  }

  Step step(i64 question) const {
    switch (config.sampler) {
      case Kind::ddpm:
        return ddpm(question);
      case Kind::ddim:
        return ddim(question);
      case Kind::pndm:
        return pndm(question);
      case Kind::lms:
        return lms(question);
      case Kind::euler:
        return euler(question, level(question + 1).sigma);
      case Kind::euler_a:
        return euler_ancestral(question);
      case Kind::heun:
        return heun(question);
      case Kind::dpmpp_2m:
        return dpmpp(question, false);
      case Kind::dpmpp_2m_sde:
        return dpmpp(question, true);
      default:
        return unipc(question);
    }
  }

  LinearCoefficients to(Prediction wanted, NoiseLevel level) const { return convert(config.prediction_type, wanted, level); }

  Step ddpm(i64 k) const {
    const i64 t = i64(timestep(k));
    const double abar = schedule.alpha_bar(t), next = k + 1 < points() ? schedule.alpha_bar(i64(timestep(k + 1))) : 1;
    const double alpha = abar / next, beta = 1 - alpha;
    const double variance = config.fixed_large ? beta : (1 - next) / (1 - abar) * beta;
    return {.kept = to(Prediction::sample, schedule.level(t)),
            .x = std::sqrt(alpha) * (1 - next) / (1 - abar),
            .y = std::sqrt(next) * beta / (1 - abar),
            .noise = t > 0 ? std::sqrt(variance) : 0};
  }

  // abar after a step down from timestep t by train_steps / steps, wherever the next point is.
  i64 stride() const { return schedule.train_steps() / requested_steps; }
  double alpha_bar_at(i64 t) const { return t >= 0 ? schedule.alpha_bar(t) : config.ends_at_one() ? 1 : schedule.alpha_bar(0); }

  Step ddim(i64 k) const {
    const i64 t = i64(timestep(k));
    const double abar = schedule.alpha_bar(t), next = alpha_bar_at(t - stride());
    const double noise = eta * std::sqrt((1 - next) / (1 - abar) * (1 - abar / next));
    const double direction = std::sqrt(std::max(0., 1 - next - noise * noise));
    const LinearCoefficients epsilon = to(Prediction::epsilon, schedule.level(t));
    return {.kept = to(Prediction::sample, schedule.level(t)),
            .x = direction * epsilon.x,
            .m = direction * epsilon.m,
            .y = std::sqrt(next),
            .noise = noise};
  }

  // x' = .x x + .m M from timestep t to `next`, where M is a mean of answers: formula (9).
  LinearCoefficients pndm_move(i64 t, i64 next) const {
    const double a = schedule.alpha_bar(t), b = alpha_bar_at(next);
    const double move = -(b - a) / (a * std::sqrt(1 - b) + std::sqrt(a * (1 - a) * b));
    const LinearCoefficients epsilon = to(Prediction::epsilon, schedule.level(t));
    return {std::sqrt(b / a) + move * epsilon.x, move * epsilon.m};
  }
  // The second question is asked where the first step ended, and the step is made again with the mean of both answers; what it
  // began from is (x - first.m y1) / first.x. Its answer is no answer of the history.
  Step pndm(i64 question) const {
    const i64 t = i64(timestep(point(question))), asked = question - begin;
    const LinearCoefficients move = asked == 1 ? pndm_move(t + stride(), t) : pndm_move(t, t - stride());
    Step out{.kept = {0, 1}, .x = move.x, .m = move.m};
    const auto mean = [&](double m, std::array<double, StepCoefficients::most_kept> past) {
      out.m *= m;
      for (size_t i = 0; i < past.size(); ++i) out.past[i] = move.m * past[i];
    };
    if (asked == 1) {
      const i64 before = i64(timestep(point(begin)));
      const LinearCoefficients first = pndm_move(before, before - stride());
      mean(0.5, {0.5});
      out.x = move.x / first.x;
      out.past[0] -= move.x / first.x * first.m;
    } else if (asked == 2) {
      mean(3 / 2., {0, -1 / 2.});
    } else if (asked == 3) {
      mean(23 / 12., {-16 / 12., 0, 5 / 12.});
    } else if (asked == 4) {
      mean(55 / 24., {-59 / 24., 37 / 24., 0, -9 / 24.});
    } else if (asked > 4) {
      mean(55 / 24., {-59 / 24., 37 / 24., -9 / 24.});
    }
    return out;
  }

  // x / alpha moves by `move` times the noise e from point k to point k + 1.
  Step along_noise(i64 k, double move) const {
    const NoiseLevel now = level(k), next = level(k + 1);
    return {.kept = to(Prediction::epsilon, now), .x = next.alpha / now.alpha, .y = next.alpha * move};
  }
  Step lms(i64 k) const {
    const i64 order = std::min<i64>(k + 1, 4);
    // The integral over the step of the polynomial that is 1 at point k - j and 0 at the other k - i, i < order: two points of
    // Gauss are exact for a cubic one.
    const auto weight = [&](i64 j) {
      const double middle = (sigma(k + 1) + sigma(k)) / 2, half = (sigma(k + 1) - sigma(k)) / 2;
      double sum = 0;
      for (double at : {middle - half / std::sqrt(3.), middle + half / std::sqrt(3.)}) {
        double product = half;
        for (i64 i = 0; i < order; ++i)
          if (i != j) product *= (at - sigma(k - i)) / (sigma(k - j) - sigma(k - i));
        sum += product;
      }
      return sum;
    };
    Step out = along_noise(k, weight(0));
    for (i64 j = 1; j < order && k - j >= begin; ++j) out.past[size_t(j - 1)] = level(k + 1).alpha * weight(j);
    return out;
  }
  // To point k + 1, but with the noise `end`.
  Step euler(i64 k, double end) const {
    const NoiseLevel now = level(k), next = level(k + 1);
    const LinearCoefficients epsilon = to(Prediction::epsilon, now);
    const double move = end - next.alpha * now.sigma / now.alpha;
    return {.kept = to(Prediction::sample, now), .x = next.alpha / now.alpha + move * epsilon.x, .m = move * epsilon.m};
  }
  Step euler_ancestral(i64 k) const {
    const double end = level(k + 1).sigma, down = sigma(k + 1) / sigma(k);
    Step out = euler(k, down * end);
    out.noise = end * std::sqrt(1 - down * down);
    return out;
  }
  // The second question of a step is asked where it ended; half the step is taken back, and made again with that answer. The
  // noise of both answers is what differs, or, where it is the image that is clipped, -alpha / sigma times the images.
  Step heun(i64 question) const {
    const i64 end = point(question);
    const NoiseLevel now = level(end);
    if (question % 2 == 0) {
      if (!config.clips()) return along_noise(end, sigma(end + 1) - sigma(end));
      const NoiseLevel next = level(end + 1);
      return {
          .kept = to(Prediction::sample, now), .x = next.sigma / now.sigma, .y = next.alpha - now.alpha * next.sigma / now.sigma};
    }
    const double half = now.alpha * (sigma(end) - sigma(end - 1)) / 2;
    if (!config.clips()) return {.kept = to(Prediction::epsilon, now), .x = 1, .y = half, .past = {-half}};
    const double of_images = -half / sigma(end);
    return {.kept = to(Prediction::sample, now), .x = 1, .y = of_images, .past = {-of_images}};
  }

  // Of order two but for the first and the last step. shrink is exp(-h); gain is alpha' (1 - exp(-h)), or of the stochastic form
  // alpha' (1 - exp(-2 h)).
  Step dpmpp(i64 k, bool stochastic) const {
    const NoiseLevel now = level(k), next = level(k + 1);
    const double shrink = sigma(k + 1) / sigma(k);
    const double gain = stochastic ? next.alpha * (1 - shrink * shrink) : next.alpha - now.alpha * next.sigma / now.sigma;
    double half_slope = 0;
    if (k > begin && k + 1 < points()) half_slope = 0.5 * (lambda(k + 1) - lambda(k)) / (lambda(k) - lambda(k - 1));  // 1 / (2 r)
    return {.kept = to(Prediction::sample, now),
            .x = next.sigma / now.sigma * (stochastic ? shrink : 1),
            .y = gain * (1 + half_slope),
            .past = {-gain * half_slope},
            .noise = stochastic ? next.sigma * std::sqrt(1 - shrink * shrink) : 0};
  }
  // The step that led to point k is corrected with the answer there, then the next one is DPM-Solver++'s. b and rho are those of
  // diffusers' multistep_uni_c_bh_update; where the last step was of order two, d1 is (y2 - y1) / r.
  Step unipc(i64 k) const {
    Step out = dpmpp(k, false);
    if (k == begin) return out;
    const double h = lambda(k) - lambda(k - 1), growth = level(k).alpha * (1 - sigma(k) / sigma(k - 1));
    double d1 = 0, answer = 0.5, r = 1;
    if (k - 1 > begin) {
      r = (lambda(k - 2) - lambda(k - 1)) / h;
      const double phi1 = std::expm1(-h), phi2 = phi1 / -h - 1, phi3 = phi2 / -h - 0.5, b1 = phi2 / phi1, b2 = 2 * phi3 / phi1;
      const double rho = (b1 - b2) / (1 - r);
      d1 = rho - 0.5, answer = b1 - rho;
    }
    const double scale = out.x * growth;
    out.y += scale * answer;
    out.past[0] -= scale * (answer + d1 / r);
    out.past[1] += scale * d1 / r;
    return out;
  }

  // Without clipping y is linear too: fold it, which spares the detour through a large intermediate.
  StepCoefficients rounded(Step s) const {
    if (!config.clips()) {
      s.x += s.y * s.kept.x;
      s.m += s.y * s.kept.m;
      s.y = 0;
    }
    StepCoefficients out{.y_x = float(s.kept.x),
                         .y_m = float(s.kept.m),
                         .x = float(s.x),
                         .m = float(s.m),
                         .y = float(s.y),
                         .noise = float(s.noise)};
    if (config.clips()) out.clip = float(config.clip_sample_range);
    for (size_t i = 0; i < s.past.size(); ++i) out.past[i] = float(s.past[i]);
    return out;
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
  requested_steps_ = made.requested_steps;
  image_level_ = made.image_level();
  needs_images_ = made.strength < 1;
  error_gain_ = made.error_gain();
  description_ = made.describe();
}
MINDGAP_INLINE Sampler::Sampler(const SchedulerConfig& config, i64 steps, double eta, double strength)
    : Sampler(detail::SchedulerSteps(config, config.schedule(), steps, eta, strength)) {}
MINDGAP_INLINE Sampler::Sampler(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps, double eta,
                                double strength)
    : Sampler(detail::SchedulerSteps(config, schedule, steps, eta, strength)) {
  description_ += text(", noise schedule ", detail::hash_of(schedule.alphas_cumprod()));
}
MINDGAP_INLINE Sampler::Sampler(const std::string& name, std::vector<double> timesteps,
                                std::vector<StepCoefficients> coefficients, double initial_scale)
    : name_(name),
      timesteps_(std::move(timesteps)),
      coefficients_(std::move(coefficients)),
      initial_scale_(initial_scale),
      requested_steps_(steps()),
      error_gain_(coefficients_.empty() || std::isfinite(coefficients_[0].clip) ? 0 : std::abs(double(coefficients_[0].y_m))),
      description_(
          text(name, ", own steps ", detail::hash_of(timesteps_), " ", detail::hash_of(coefficients_), " from ", initial_scale)) {
  check();
}

MINDGAP_INLINE void Sampler::check() const {
  if (timesteps_.empty() || timesteps_.size() != coefficients_.size())
    throw Error(text(name_, ": ", timesteps_.size(), " timesteps and the coefficients of ", coefficients_.size(), " steps"),
                {{"remedy", "give one of each for every step"}});
  if (!(initial_scale_ > 0 && std::isfinite(initial_scale_)))
    throw Error(text(name_, ": the first state has standard deviation ", initial_scale_));
  for (i64 k = 0; k < steps(); ++k) {
    const StepCoefficients& c = coefficients(k);
    bool good = true;
    for (double number : {timestep(k), double(c.y_x), double(c.y_m), double(c.x), double(c.m), double(c.y), double(c.noise)})
      good = good && std::isfinite(number);
    for (float number : c.past) good = good && std::isfinite(number);
    if (!good || !(c.clip > 0))
      throw Error(text(name_, ": the timestep or a coefficient of step ", k, " is not finite, or its clip is not positive"),
                  {{"timestep", text(timestep(k))}, {"clip", text(c.clip, " (infinite: no clipping)")}});
  }
}

}  // namespace mindgap
