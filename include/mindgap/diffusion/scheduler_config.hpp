// scheduler_config.json: the file beside a generator's weights that says how its noise schedule was made, what the network
// predicts and how to step through it. Keys, class names and defaults are diffusers', so that each side loads the other's.
//
// Every sampler here reads the files of all classes whose noise schedule is DDPM's, a list of betas, as in diffusers. Any other
// class (EDM, flow matching, consistency models, CogVideoX) has another schedule, so its file is refused. So is a file without
// a class: diffusers always writes one, and nothing else in the file says whose schedule it is.
// A key that is missing takes the default of the class that *samples*: `timestep_spacing` is "leading" for DDPM and DDIM
// and "linspace" for DPM-Solver++ and Euler.
// A value that this project does not implement (Karras grids, thresholding, trained betas, learned variances, order 3) is
// refused by name rather than ignored; keys that no sampler here reads are ignored.
#pragma once

#include <mindgap/diffusion/noise_schedule.hpp>

#include <filesystem>
#include <optional>

namespace mindgap {

enum class SamplerKind { ddpm, ddim, dpmpp_2m, euler };

// "ddpm", "ddim", "dpmpp_2m", "euler": the names of the command line.
constexpr const char* name(SamplerKind kind) {
  constexpr const char* names[] = {"ddpm", "ddim", "dpmpp_2m", "euler"};
  return names[int(kind)];
}
inline SamplerKind sampler_by_name(std::string_view wanted) {
  for (SamplerKind kind : {SamplerKind::ddpm, SamplerKind::ddim, SamplerKind::dpmpp_2m, SamplerKind::euler})
    if (wanted == name(kind)) return kind;
  throw Error(text("there is no sampler \"", wanted, "\""), {{"remedy", "use ddpm, ddim, dpmpp_2m or euler"}});
}

struct SchedulerConfig {
  SamplerKind sampler = SamplerKind::ddim;  // _class_name
  BetaSchedule beta_schedule = BetaSchedule::linear;
  i64 num_train_timesteps = 1000;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  Prediction prediction_type = Prediction::epsilon;
  std::optional<TimestepSpacing> timestep_spacing;  // empty: the sampling class's default
  i64 steps_offset = 0;
  bool clip_sample = true;  // DDPM, DDIM: clamp the predicted image to +- clip_sample_range
  double clip_sample_range = 1;
  bool set_alpha_to_one = true;  // DDIM: the last step ends at abar = 1, else at abar_0
  bool fixed_large = false;      // DDPM: variance_type "fixed_large", else "fixed_small"
  double lambda_min_clipped =
      -std::numeric_limits<double>::infinity();  // DPM-Solver++: the grid starts where log(alpha/sigma) reaches it

  bool operator==(const SchedulerConfig&) const = default;

  NoiseSchedule schedule() const { return NoiseSchedule(beta_schedule, num_train_timesteps, beta_start, beta_end); }
  TimestepSpacing spacing() const {
    const bool grid_of_sigmas = sampler == SamplerKind::dpmpp_2m || sampler == SamplerKind::euler;
    return timestep_spacing.value_or(grid_of_sigmas ? TimestepSpacing::linspace : TimestepSpacing::leading);
  }
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
