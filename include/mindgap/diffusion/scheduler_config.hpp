// scheduler_config.json: the file beside a generator's weights that says how its noise schedule was made, what the network
// predicts and how to step through it. Keys, class names and defaults are diffusers', so that each side loads the other's.
//
// Every sampler here reads the files of all classes whose noise schedule is DDPM's, a list of betas, as in diffusers. Any other
// class (EDM, flow matching, consistency models, CogVideoX) has another schedule, so its file is refused. So is a file without
// a class: diffusers always writes one, and nothing else in the file says whose schedule it is.
// A key that is missing takes the default of the class that *samples*: `timestep_spacing` is "leading" for DDPM, DDIM and PNDM
// and "linspace" for the others. Betas that the Heun class would find missing are asked for: its defaults are not DDPM's.
// A value that this project does not implement (beta grids, Runge-Kutta steps of PNDM, thresholding, trained betas, learned
// variances, order 3) is refused by name rather than ignored; keys that the sampler's class does not have are ignored, as in
// diffusers, but for what changes the schedule.
#pragma once

#include <mindgap/diffusion/noise_schedule.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>

namespace mindgap {

enum class SamplerKind { ddpm, ddim, dpmpp_2m, euler, pndm, lms, euler_a, heun, unipc, dpmpp_2m_sde };
inline constexpr SamplerKind sampler_kinds[] = {
    SamplerKind::ddpm, SamplerKind::ddim,    SamplerKind::dpmpp_2m, SamplerKind::euler, SamplerKind::pndm,
    SamplerKind::lms,  SamplerKind::euler_a, SamplerKind::heun,     SamplerKind::unipc, SamplerKind::dpmpp_2m_sde};

// The names of the command line.
inline constexpr const char* sampler_names[] = {"ddpm", "ddim",    "dpmpp_2m", "euler", "pndm",
                                                "lms",  "euler_a", "heun",     "unipc", "dpmpp_2m_sde"};
constexpr const char* name(SamplerKind kind) { return sampler_names[int(kind)]; }
inline SamplerKind sampler_by_name(std::string_view wanted) { return detail::by_name(sampler_kinds, wanted, "sampler"); }

// Which noise levels the steps go through: those of the timesteps (none), or a curve between the first and the last of them, of
// which the model is told the timesteps that have them: Karras et al. 2022 (arXiv 2206.00364), formula (5) with rho = 7, or equal
// steps of log(sigma / alpha).
enum class SigmaGrid { none, karras, exponential };

constexpr const char* name(SigmaGrid grid) {
  constexpr const char* names[] = {"none", "karras", "exponential"};
  return names[int(grid)];
}
// "none", "karras" or "exponential".
inline SigmaGrid sigmas_by_name(std::string_view wanted) {
  return detail::by_name({SigmaGrid::none, SigmaGrid::karras, SigmaGrid::exponential}, wanted, "grid of sigmas");
}

struct SchedulerConfig {
  SamplerKind sampler = SamplerKind::ddim;  // _class_name
  BetaSchedule beta_schedule = BetaSchedule::linear;
  i64 num_train_timesteps = 1000;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  Prediction prediction_type = Prediction::epsilon;
  bool rescale_betas_zero_snr = false;
  std::optional<TimestepSpacing> timestep_spacing;  // empty: the sampling class's default
  i64 steps_offset = 0;
  SigmaGrid sigmas = SigmaGrid::none;  // use_karras_sigmas, use_exponential_sigmas; of samplers where has_sigma_grids()
  std::optional<bool> clip_sample;     // DDPM, DDIM, Heun: clamp the predicted image to +- clip_sample_range; empty: not for Heun
  double clip_sample_range = 1;
  std::optional<bool> set_alpha_to_one;  // DDIM, PNDM: the last step ends at abar = 1, else at abar_0; empty: true for DDIM
  bool fixed_large = false;              // DDPM: variance_type "fixed_large", else "fixed_small"
  // DPM-Solver++: the grid starts where log(alpha / sigma) reaches it.
  double lambda_min_clipped = -std::numeric_limits<double>::infinity();

  bool operator==(const SchedulerConfig&) const = default;

  // Whether the sampler is one of `kinds`.
  bool is_of(std::initializer_list<SamplerKind> kinds) const {
    return std::find(kinds.begin(), kinds.end(), sampler) != kinds.end();
  }
  bool is_dpmpp() const { return is_of({SamplerKind::dpmpp_2m, SamplerKind::dpmpp_2m_sde}); }
  // DPM-Solver++ and UniPC, which share diffusers' grids.
  bool is_solver() const { return is_dpmpp() || sampler == SamplerKind::unipc; }
  // Those that step from noise level to noise level, sigma / alpha, and end where there is none; the others from abar to abar.
  bool steps_in_sigma() const { return !is_of({SamplerKind::ddpm, SamplerKind::ddim, SamplerKind::pndm}); }
  bool has_sigma_grids() const { return steps_in_sigma() && sampler != SamplerKind::euler_a; }
  bool has_zero_snr() const { return !is_of({SamplerKind::pndm, SamplerKind::lms, SamplerKind::heun}); }

  NoiseSchedule schedule() const {
    return NoiseSchedule(beta_schedule, num_train_timesteps, beta_start, beta_end, rescale_betas_zero_snr);
  }
  TimestepSpacing spacing() const {
    return timestep_spacing.value_or(steps_in_sigma() ? TimestepSpacing::linspace : TimestepSpacing::leading);
  }
  bool clips() const {
    return is_of({SamplerKind::ddpm, SamplerKind::ddim, SamplerKind::heun}) && clip_sample.value_or(sampler != SamplerKind::heun);
  }
  bool ends_at_one() const { return set_alpha_to_one.value_or(sampler == SamplerKind::ddim); }
};

// Throws for text that is not JSON, a value of the wrong type, and everything that is not implemented (all of it at once).
// `source` names the text in messages. sampler: the class that will sample; empty takes the file's own.
SchedulerConfig parse_scheduler_config(std::string_view json, const std::string& source, std::optional<SamplerKind> sampler = {});
std::string scheduler_config_json(const SchedulerConfig& config);

// Reads or writes the file itself (".../scheduler/scheduler_config.json").
SchedulerConfig read_scheduler_config(const std::filesystem::path& file, std::optional<SamplerKind> sampler = {});
void write_scheduler_config(const std::filesystem::path& file, const SchedulerConfig& config);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/scheduler_config.ipp>
#endif
