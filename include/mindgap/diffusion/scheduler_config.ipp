// Bodies of scheduler_config.hpp.
#pragma once

#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/json.hpp>

namespace mindgap {

namespace detail {

// The file, and who reads it: `sampler`, or where that is empty the class that the file names.
struct SchedulerFile {
  SchedulerConfig config;
  std::optional<SamplerKind> sampler;
};

// Classes whose betas are not DDPM's where a file has none: theirs must say them.
inline constexpr std::string_view own_betas[] = {"HeunDiscreteScheduler", "KDPM2DiscreteScheduler",
                                                 "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"};

// Python's json module writes -Infinity bare, which JSON does not know. diffusers does so for one key, where it stands for no
// bound.
inline std::string without_infinity(std::string json) {
  const std::string key = "\"lambda_min_clipped\"", infinity = "-Infinity";
  for (size_t at = json.find(key); at != json.npos; at = json.find(key, at + 1)) {
    const size_t value = json.find_first_not_of(" \t\r\n:", at + key.size());
    if (value != json.npos && json.compare(value, infinity.size(), infinity) == 0) json.replace(value, infinity.size(), "null");
  }
  return json;
}

}  // namespace detail

// null is refused but where it means to diffusers what it means here: false, or no bound.
template <class V>
void visit_fields(V& visit, detail::SchedulerFile& file) {
  SchedulerConfig& c = file.config;
  using enum SamplerKind;
  // In the order of SamplerKind, whose last one is DPMSolverMultistepScheduler's too.
  JsonRule classes{.one_of = {"DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler",
                              "PNDMScheduler", "LMSDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
                              "UniPCMultistepScheduler"}};
  std::string written_by;
  if (file.sampler) {
    classes.one_of.insert(classes.one_of.end(), {"DDPMParallelScheduler", "DDIMParallelScheduler", "DPMSolverSinglestepScheduler",
                                                 "DEISMultistepScheduler", "KDPM2DiscreteScheduler",
                                                 "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler"});
    visit.need("_class_name", written_by, classes);
    c.sampler = *file.sampler;
  } else {
    SamplerKind kind = c.sampler == dpmpp_2m_sde ? dpmpp_2m : c.sampler;
    visit.need("_class_name", kind, classes);
    if (c.sampler != dpmpp_2m_sde) c.sampler = kind;
    written_by = classes.one_of[size_t(kind)];
  }
  const auto off = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys) visit.only(key, {false, nullptr});
  };
  const auto written_where_on = [&](const char* key, bool& value) {
    auto on = value ? std::optional(true) : std::nullopt;
    visit(key, on, {.null = true});
    value = on.value_or(false);
  };
  const auto beta = [&](const char* key, double& value) {
    const JsonRule rule{1e-12, 1};  // less is no noise in f32, nor in the steps' coefficients
    if (c.sampler == heun || std::ranges::count(detail::own_betas, written_by)) visit.need(key, value, rule);
    else visit(key, value, rule);
  };
  const bool clips = c.is_of({ddpm, ddim, heun}), dpmpp = c.is_dpmpp(), solver = c.is_solver();
  if (dpmpp) {
    // DEIS names an algorithm of its own; DPM-Solver++ of diffusers takes its own instead.
    enum class Algorithm { ode, sde, deis };
    auto algorithm = c.sampler == dpmpp_2m_sde ? std::optional(Algorithm::sde) : std::nullopt;
    visit("algorithm_type", algorithm, {.one_of = {"dpmsolver++", "sde-dpmsolver++", "deis"}});
    if (!file.sampler && algorithm == Algorithm::sde) c.sampler = dpmpp_2m_sde;
  }
  beta("beta_end", c.beta_end);
  visit("beta_schedule", c.beta_schedule, {.one_of = {"linear", "scaled_linear", "squaredcos_cap_v2"}});
  beta("beta_start", c.beta_start);
  if (clips) {
    visit("clip_sample", c.clip_sample);
    visit("clip_sample_range", c.clip_sample_range, {1e-6, 1e6});
  }
  if (dpmpp) {
    auto bound = std::isfinite(c.lambda_min_clipped) ? std::optional(c.lambda_min_clipped) : std::nullopt;
    visit("lambda_min_clipped", bound, {.null = true});
    c.lambda_min_clipped = bound.value_or(-std::numeric_limits<double>::infinity());
  }
  visit("num_train_timesteps", c.num_train_timesteps, {1, 1e6});
  visit("prediction_type", c.prediction_type, {.one_of = {"epsilon", "sample", "v_prediction"}});
  if (c.has_zero_snr()) written_where_on("rescale_betas_zero_snr", c.rescale_betas_zero_snr);
  else off({"rescale_betas_zero_snr"});
  if (c.is_of({ddim, pndm})) visit("set_alpha_to_one", c.set_alpha_to_one);
  if (c.sampler == pndm) {
    bool skip = true;  // PNDM's own default is false; the other classes do not have it
    if (written_by == "PNDMScheduler") visit.need("skip_prk_steps", skip);
    else visit("skip_prk_steps", skip);
    if (!skip) visit.fail("skip_prk_steps", "is false: the Runge-Kutta steps that would come first are not implemented");
  }
  visit("steps_offset", c.steps_offset);
  visit("timestep_spacing", c.timestep_spacing, {.one_of = {"linspace", "leading", "trailing"}});
  if (c.has_sigma_grids()) {
    bool exponential = c.sigmas == SigmaGrid::exponential, karras = c.sigmas == SigmaGrid::karras;
    written_where_on("use_exponential_sigmas", exponential);
    written_where_on("use_karras_sigmas", karras);
    if (karras && exponential) visit.fail("use_karras_sigmas", "is true, and use_exponential_sigmas too");
    c.sigmas = karras ? SigmaGrid::karras : exponential ? SigmaGrid::exponential : SigmaGrid::none;
    off({"use_beta_sigmas"});
  }
  if (c.sampler == ddpm) visit("variance_type", c.fixed_large, {.one_of = {"fixed_small", "fixed_large"}, .null = true});

  visit.only("trained_betas", {nullptr});
  visit.only("predict_epsilon", {true});  // this and the next of old versions
  visit.only("timestep_values", {nullptr});
  off({"use_flow_sigmas"});
  visit.only("timestep_type", {"discrete", nullptr});  // else the model is told the noise in other units
  if (solver || c.is_of({ddpm, ddim})) off({"thresholding"});
  if (solver) visit.only("solver_order", {2});
  // UniPC and DPM-Solver++ of diffusers take their own solver for one of another class.
  if (dpmpp) {
    visit.only("solver_type", {"midpoint", "logrho", "bh1", "bh2"});
    off({"use_lu_lambdas"});
  }
  if (c.sampler == unipc) {
    visit.only("solver_type", {"bh2", "midpoint", "heun", "logrho"});
    visit.only("predict_x0", {true});
    visit.only("lower_order_final", {true});
    visit.only("disable_corrector", {nlohmann::json::array()});
    visit.only("solver_p", {nullptr});
  }
  if (solver || c.sampler == euler) visit.only("final_sigmas_type", {"zero"});
  if (c.sampler == euler) visit.only("interpolation_type", {"linear"});
  if (c.sigmas != SigmaGrid::none && c.is_of({euler, unipc}))
    for (const char* key : {"sigma_min", "sigma_max"}) visit.only(key, {nullptr});
  // What concerns other schedulers of diffusers, or settings that are off.
  visit.ignore({"_*", "tensor_format", "clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio"});
  visit.ignore({"set_alpha_to_one", "variance_type", "skip_prk_steps", "original_inference_steps", "timestep_scaling"});
  visit.ignore({"algorithm_type", "solver_order", "solver_type", "solver_p", "lambda_min_clipped", "lower_order_final"});
  visit.ignore({"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"});
  visit.ignore({"final_sigmas_type", "interpolation_type", "sigma_min", "sigma_max", "noise_sampler_seed"});
  visit.ignore({"sample_max_value", "euler_at_final", "predict_x0"});
  visit.ignore({"flow_shift", "use_dynamic_shifting", "time_shift_type", "shift_terminal", "disable_corrector"});
}

MINDGAP_INLINE SchedulerConfig parse_scheduler_config(std::string_view json, const std::string& source,
                                                      std::optional<SamplerKind> sampler) {
  const std::string remedy =
      sampler ? "other classes and values are not implemented: use a model that was trained on the betas of one of these classes"
              : "other values are not implemented; where the class is another one on DDPM's betas, choose a sampler by name";
  const SchedulerConfig config = from_json<detail::SchedulerFile>(detail::without_infinity(std::string(json)),
                                                                  {"scheduler configuration", source, remedy}, {{}, sampler})
                                     .config;
  naming_file(source, [&] { return config.schedule(); });  // refuses betas and timesteps that make no schedule
  if (config.steps_offset < 0 || config.steps_offset >= config.num_train_timesteps)
    throw Error(text("scheduler configuration: steps_offset is ", config.steps_offset, ", of ", config.num_train_timesteps,
                     " training timesteps"),
                {{"file", source}, {"remedy", "0 or 1 is usual"}});
  return config;
}

MINDGAP_INLINE std::string scheduler_config_json(const SchedulerConfig& config) {
  detail::SchedulerFile file{config, {}};
  file.config.timestep_spacing = config.spacing();
  file.config.set_alpha_to_one = config.ends_at_one();
  file.config.clip_sample = config.clips();
  return to_json(file);
}

MINDGAP_INLINE SchedulerConfig read_scheduler_config(const std::filesystem::path& file, std::optional<SamplerKind> sampler) {
  return parse_scheduler_config(read_file(file, json_bytes), file.string(), sampler);
}

MINDGAP_INLINE void write_scheduler_config(const std::filesystem::path& file, const SchedulerConfig& config) {
  write_file_atomic(file, scheduler_config_json(config));
}

}  // namespace mindgap
