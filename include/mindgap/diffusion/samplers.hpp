// Samplers: DDPM, DDIM (eta), DPM-Solver++(2M) and Euler, step for step as in diffusers 0.42, and steps of one's own.
//
// A sampler is a list of timesteps with the coefficients of one linear update each, computed once in double:
//   x0 = clamp(x0_x x + x0_m m, -clip, clip)
//   x' = x x + m m + x0 x0 + previous p + noise z
// m is what the model says (noise, image or v), p the x0 of the step before, z fresh standard normals. The state of every
// method is held at unit variance, x = alpha x0 + sigma e; Euler's own variable is x / alpha, and dividing by it is diffusers'
// scale_model_input, so here x is the model's input for every method. kernels/diffusion.hpp runs a step as one kernel,
// guidance included.
//
//   ddpm      Ho et al. 2020 (arXiv 2006.11239), formula (7), variance fixed_small or fixed_large
//   ddim      Song et al. 2020 (arXiv 2010.02502), formulas (12) and (16); 0 <= eta <= 1, the noise of DDPM at 1
//   dpmpp_2m  Lu et al. 2022 (arXiv 2211.01095), algorithm 2; first and last step of order one, ends at sigma 0
//   euler     Karras et al. 2022 (arXiv 2206.00364), algorithm 1 without churn; ends at sigma 0
// Left out: Karras and other sigma grids, thresholding, churn, order 3.
#pragma once

#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/kernels/diffusion.hpp>

#include <algorithm>
#include <cmath>

namespace mindgap {

namespace detail {

struct SchedulerSteps;  // those that diffusers makes of a schedule

}  // namespace detail

class Sampler {
 public:
  // 1 <= steps <= config.num_train_timesteps. Throws for a grid that leaves the schedule, repeats a timestep or has nothing to
  // denoise, and for eta where it means nothing.
  Sampler(const SchedulerConfig& config, i64 steps, double eta = 0);
  // On another schedule than the one of config's betas; its training timesteps count.
  Sampler(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps, double eta = 0);
  // Steps of one's own: what the model is told at each, and what each does with its answer. A method that asks the model twice a
  // step is twice as many steps. initial_scale: the standard deviation of the first state.
  Sampler(const std::string& name, std::vector<double> timesteps, std::vector<StepCoefficients> coefficients,
          double initial_scale = 1);

  const std::string& name() const { return name_; }
  i64 steps() const { return i64(timesteps_.size()); }

  // What the model is told at step k; Euler with linspace uses fractions.
  double timestep(i64 k) const { return timesteps_[size_t(k)]; }
  const StepCoefficients& coefficients(i64 k) const { return coefficients_[size_t(k)]; }
  // The standard deviation of the first state.
  double initial_scale() const { return initial_scale_; }

  // Whether any step draws noise, and whether any reads the x0 of the step before.
  bool draws() const {
    return std::ranges::any_of(coefficients_, [](const auto& c) { return c.noise != 0; });
  }
  bool keeps_history() const {
    return std::ranges::any_of(coefficients_, [](const auto& c) { return c.previous != 0; });
  }

  // What the first x0 does with an error of the model. One that predicts noise says nothing about the image where almost no
  // signal is left: its error is multiplied by sigma / alpha (20,291 at the end of the cosine schedule), and only clipping stops
  // it.
  double error_gain() const { return std::isinf(coefficients_[0].clip) ? std::abs(double(coefficients_[0].x0_m)) : 0; }
  bool amplifies_errors() const { return error_gain() > 1e3; }

  // Everything but the number of steps, for manifests: "ddim, trailing spacing, eta 0.5, clipped to 1".
  const std::string& describe() const { return description_; }

 private:
  explicit Sampler(const detail::SchedulerSteps& made);

  void check() const;

  std::string name_;
  std::vector<double> timesteps_;
  std::vector<StepCoefficients> coefficients_;
  double initial_scale_;
  std::string description_;
};

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/samplers.ipp>
#endif
