// Samplers, step for step as in diffusers 0.42, and steps of one's own.
//
// A sampler is a list of timesteps with the coefficients of one linear update each, computed once in double:
//   y = clamp(y_x x + y_m m, -clip, clip)
//   x' = x x + m m + y y + past[0] y1 + past[1] y2 + past[2] y3 + past[3] y4 + noise z
// m is what the model says (noise, image or v); y is what the method looks back on, the image, the noise or m itself, and y1, y2,
// ... are those of the steps before, 0 before the first; z are fresh standard normals. A step is one question to the model: the
// methods that correct a step by a second question need no more than this, since what they corrected is linear in x and y1.
//
// The state of every method is held at unit variance, x = alpha x0 + sigma e; Euler's own variable is x / alpha, and dividing by
// it is diffusers' scale_model_input, so here x is the model's input for every method. kernels/diffusion.hpp runs a step as one
// kernel, guidance included. Nothing but x and the y of a batch changes from step to step: a sampler holds no state.
//
//   ddpm          Ho et al. 2020 (arXiv 2006.11239), formula (7), variance fixed_small or fixed_large
//   ddim          Song et al. 2020 (arXiv 2010.02502), formulas (12) and (16); 0 <= eta <= 1, the noise of DDPM at 1
//   pndm          Liu et al. 2022 (arXiv 2202.09778), formula (12): Adams-Bashforth of order 4, begun with one of order 2
//                 instead of Runge-Kutta's (skip_prk_steps): n steps of two or more ask the model n + 1 times
//   lms           Adams-Bashforth of order 4 in sigma / alpha, orders 1 to 3 first
//   euler         Karras et al. 2022 (arXiv 2206.00364), algorithm 1 without churn
//   euler_a       the same to a lower noise level, and noise back up to the next one (k-diffusion's ancestral sampling)
//   heun          algorithm 1 with its correction: n steps ask the model 2 n - 1 times
//   dpmpp_2m      Lu et al. 2022 (arXiv 2211.01095), algorithm 2; first and last step of order one
//   dpmpp_2m_sde  its stochastic form (diffusers' algorithm_type "sde-dpmsolver++")
//   unipc         Zhao et al. 2023 (arXiv 2302.04867), order 2, B2(h), predicts images; first and last step of order one
// All but the first three end at sigma 0.
//
// strength (image to image): the steps from the first max(n - int(n strength), 0) on, as diffusers' img2img pipeline has it, from
// images with that step's noise. Methods that look back begin anew there. Two of them do it as diffusers does, not as one would:
// lms takes the weights of its place in the whole, so that its first three steps lack terms, and pndm does not repeat its second
// timestep, so that from there on the model is told of one step less noise than there is.
// Left out: other grids (sampler_grid.hpp), thresholding, churn, order 3.
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
  // 1 <= steps <= config.num_train_timesteps. Throws for a grid that leaves the schedule, repeats a noise level or has nothing to
  // denoise, for eta where it means nothing, for what diffusers' class does not have (a grid of sigmas, zero terminal SNR,
  // predicting images), and for noise prediction with zero terminal SNR. strength: over 0 to 1; below 1 the sampler needs images.
  Sampler(const SchedulerConfig& config, i64 steps, double eta = 0, double strength = 1);
  // On another schedule than the one of config's betas; its training timesteps count.
  Sampler(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps, double eta = 0, double strength = 1);
  // Steps of one's own: what the model is told at each, and what each does with its answer. A method that asks the model twice a
  // step is twice as many steps. initial_scale: the standard deviation of the first state.
  Sampler(const std::string& name, std::vector<double> timesteps, std::vector<StepCoefficients> coefficients,
          double initial_scale = 1);

  const std::string& name() const { return name_; }
  // Questions to the model; those that were asked for are fewer where the method corrects, more where strength leaves some out.
  i64 steps() const { return i64(timesteps_.size()); }
  i64 requested_steps() const { return requested_steps_; }

  // What the model is told at step k; Euler with linspace uses fractions.
  double timestep(i64 k) const { return timesteps_[size_t(k)]; }
  const StepCoefficients& coefficients(i64 k) const { return coefficients_[size_t(k)]; }
  // The standard deviation of the first state, where it is made of noise alone.
  double initial_scale() const { return initial_scale_; }
  // Signal and noise of the first state, where it is made of images; steps of one's own have none.
  const std::optional<NoiseLevel>& image_level() const { return image_level_; }
  // Whether it begins in the middle, where images alone make the first state: strength is below 1.
  bool needs_images() const { return needs_images_; }

  // Whether any step draws noise, and how many steps they look back at most.
  bool draws() const {
    return std::ranges::any_of(coefficients_, [](const auto& c) { return c.noise != 0; });
  }
  i64 looks_back() const {
    i64 out = 0;
    for (const StepCoefficients& c : coefficients_)
      for (i64 i = 0; i < StepCoefficients::most_kept; ++i)
        if (c.past[i] != 0) out = std::max(out, i + 1);
    return out;
  }

  // What the first predicted image does with an error of the model. One that predicts noise says nothing about the image where
  // almost no signal is left: its error is multiplied by sigma / alpha (20,291 at the end of the cosine schedule), and only
  // clipping stops it.
  double error_gain() const { return error_gain_; }
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
  i64 requested_steps_;
  std::optional<NoiseLevel> image_level_;
  bool needs_images_ = false;
  double error_gain_;
  std::string description_;
};

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/samplers.ipp>
#endif
