// The grid of a sampler: the timesteps that it asks the model about and the noise levels that it steps through, value for value
// as in diffusers 0.42.
//
//   linspace, leading, trailing   table 2 of Lin et al. 2023 (arXiv 2305.08891): how the timesteps are spaced. DPM-Solver++ and
//                                 UniPC space one more and leave the last out, Euler, LMS and Heun do not round linspace
//   karras                        sigma_i = (max^(1/7) + i / (n - 1) (min^(1/7) - max^(1/7)))^7
//                                 (Karras et al. 2022, arXiv 2206.00364, formula 5)
//   exponential                   sigma_i = exp of equal steps from log max to log min
//
// sigma is sigma / alpha; max and min are those of the first and the last timestep, of DPM-Solver++ and UniPC those of all
// training timesteps. The model is told the timestep that has such a sigma, linear between the logarithms of the schedule's;
// DPM-Solver++ and UniPC round it or cut it off, as diffusers does, so that the same one may come twice.
#pragma once

#include <mindgap/diffusion/scheduler_config.hpp>

namespace mindgap {
namespace detail {

// A point is where a step begins.
struct SamplerGrid {
  std::vector<double> timesteps;  // of each point, falling
  std::vector<double> sigmas;     // of each point, falling; none where the sampler does not step in sigma
};

// 1 <= steps <= train_steps(). Throws for a grid that leaves the schedule, repeats a noise level or has nothing to denoise.
SamplerGrid sampler_grid(const SchedulerConfig& config, const NoiseSchedule& schedule, i64 steps);

}  // namespace detail
}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/sampler_grid.ipp>
#endif
