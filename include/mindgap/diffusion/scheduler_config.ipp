// Bodies of scheduler_config.hpp: the only part of diffusion/ that includes the JSON library.
#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/io/file.hpp>

#include <nlohmann/json.hpp>

namespace mindgap {

namespace detail {

inline constexpr const char* scheduler_classes[] = {"DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler",
                                                    "EulerDiscreteScheduler"};

// Python's json module writes infinities and NaN bare, which JSON does not know: outside of strings they become null.
inline std::string without_infinities(std::string_view json) {
  std::string out;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"' && (i == 0 || json[i - 1] != '\\')) in_string = !in_string;
    bool replaced = false;
    if (!in_string)
      for (std::string_view word : {"-Infinity", "Infinity", "NaN"})
        if (json.substr(i, word.size()) == word) {
          out += "null";
          i += word.size() - 1;
          replaced = true;
          break;
        }
    if (!replaced) out += json[i];
  }
  return out;
}

// Looks keys up and collects what is wrong, so that one message says it all.
class SchedulerKeys {
 public:
  SchedulerKeys(nlohmann::json json, std::string source) : json_(std::move(json)), source_(std::move(source)) {}

  template <class T>
  void read(const char* key, T& value) {
    const auto at = json_.find(key);
    if (at == json_.end() || at->is_null()) return;
    const bool fits = std::is_same_v<T, bool>     ? at->is_boolean()
                      : std::is_same_v<T, i64>    ? at->is_number_integer()
                      : std::is_same_v<T, double> ? at->is_number()
                                                  : at->is_string();
    if (fits) value = at->template get<T>();
    else problems_.push_back({key, "has the wrong type: " + at->dump()});
  }

  // One of an enumeration's names; `last` is its last value.
  template <class E>
  void read_name(const char* key, E& value, E last) {
    std::string found = name(value), known;
    read(key, found);
    for (int i = 0; i <= int(last); ++i) {
      known += (i ? ", " : "") + std::string(name(E(i)));
      if (found == name(E(i))) return void(value = E(i));
    }
    problems_.push_back({key, "\"" + found + "\" is not implemented; known: " + known});
  }

  // Refuses every value of the key but null and `implemented`.
  template <class T>
  void only(const char* key, const T& implemented) {
    const auto at = json_.find(key);
    if (at != json_.end() && !at->is_null() && *at != nlohmann::json(implemented))
      problems_.push_back({key, at->dump() + " is not implemented; known: " + nlohmann::json(implemented).dump()});
  }
  void null(const char* key) { only(key, nullptr); }

  void throw_problems() const {
    if (problems_.empty()) return;
    std::vector<ErrorLine> lines = problems_;
    lines.push_back({"file", source_});
    throw Error("this scheduler configuration cannot be used", lines);
  }

 private:
  nlohmann::json json_;
  std::string source_;
  std::vector<ErrorLine> problems_;
};

}  // namespace detail

MINDGAP_INLINE SchedulerConfig parse_scheduler_config(std::string_view json, const std::string& source,
                                                      std::optional<SamplerKind> sampler) {
  const nlohmann::json root = nlohmann::json::parse(detail::without_infinities(json), nullptr, false);
  if (!root.is_object()) throw Error("the scheduler configuration is not a JSON object", {{"file", source}});

  SchedulerConfig config;
  detail::SchedulerKeys keys(root, source);
  std::string class_name = detail::scheduler_classes[int(config.sampler)];
  keys.read("_class_name", class_name);
  if (sampler) config.sampler = *sampler;
  else {
    const auto* at = std::find(std::begin(detail::scheduler_classes), std::end(detail::scheduler_classes), class_name);
    if (at == std::end(detail::scheduler_classes))
      throw Error("there is no sampler for \"" + class_name + "\"",
                  {{"file", source},
                   {"remedy", "choose one of ddpm, ddim, dpmpp_2m and euler; the schedule of the file serves each of them"}});
    config.sampler = SamplerKind(at - std::begin(detail::scheduler_classes));
  }

  keys.read("num_train_timesteps", config.num_train_timesteps);
  keys.read("beta_start", config.beta_start);
  keys.read("beta_end", config.beta_end);
  keys.read_name("beta_schedule", config.beta_schedule, BetaSchedule::squaredcos_cap_v2);
  keys.read_name("prediction_type", config.prediction_type, Prediction::v_prediction);
  if (const auto at = root.find("timestep_spacing"); at != root.end() && !at->is_null()) {
    TimestepSpacing spacing = config.spacing();
    keys.read_name("timestep_spacing", spacing, TimestepSpacing::trailing);
    config.timestep_spacing = spacing;
  }
  keys.read("steps_offset", config.steps_offset);
  keys.null("trained_betas");
  keys.only("rescale_betas_zero_snr", false);

  switch (config.sampler) {
    case SamplerKind::ddpm: {
      std::string variance = "fixed_small";
      keys.read("variance_type", variance);
      config.fixed_large = variance == "fixed_large";
      if (!config.fixed_large) keys.only("variance_type", "fixed_small");
      [[fallthrough]];
    }
    case SamplerKind::ddim:
      keys.read("clip_sample", config.clip_sample);
      keys.read("clip_sample_range", config.clip_sample_range);
      if (config.sampler == SamplerKind::ddim) keys.read("set_alpha_to_one", config.set_alpha_to_one);
      keys.only("thresholding", false);
      break;
    case SamplerKind::dpmpp_2m:
      keys.read("lambda_min_clipped", config.lambda_min_clipped);
      keys.only("solver_order", 2);
      keys.only("algorithm_type", "dpmsolver++");
      keys.only("solver_type", "midpoint");
      keys.only("use_lu_lambdas", false);
      keys.only("use_flow_sigmas", false);
      keys.only("thresholding", false);
      [[fallthrough]];
    case SamplerKind::euler:
      keys.only("final_sigmas_type", "zero");
      keys.only("use_karras_sigmas", false);
      keys.only("use_exponential_sigmas", false);
      keys.only("use_beta_sigmas", false);
      keys.only("interpolation_type", "linear");
      keys.only("timestep_type", "discrete");
      break;
  }
  keys.throw_problems();
  naming_file(source, [&] { return config.schedule(); });  // refuses betas and timesteps that make no schedule
  if (!(config.clip_sample_range > 0))
    throw Error(text("scheduler configuration: clip_sample_range is ", config.clip_sample_range),
                {{"file", source}, {"remedy", "1 is usual"}});
  return config;
}

MINDGAP_INLINE std::string scheduler_config_json(const SchedulerConfig& config) {
  nlohmann::json root = {{"_class_name", detail::scheduler_classes[int(config.sampler)]},
                         {"num_train_timesteps", config.num_train_timesteps},
                         {"beta_start", config.beta_start},
                         {"beta_end", config.beta_end},
                         {"beta_schedule", name(config.beta_schedule)},
                         {"prediction_type", name(config.prediction_type)},
                         {"timestep_spacing", name(config.spacing())},
                         {"steps_offset", config.steps_offset}};
  if (config.sampler == SamplerKind::ddpm || config.sampler == SamplerKind::ddim) {
    root["clip_sample"] = config.clip_sample;
    root["clip_sample_range"] = config.clip_sample_range;
  }
  if (config.sampler == SamplerKind::ddpm) root["variance_type"] = config.fixed_large ? "fixed_large" : "fixed_small";
  if (config.sampler == SamplerKind::ddim) root["set_alpha_to_one"] = config.set_alpha_to_one;
  if (config.sampler == SamplerKind::dpmpp_2m && std::isfinite(config.lambda_min_clipped))
    root["lambda_min_clipped"] = config.lambda_min_clipped;
  return root.dump(2) + "\n";
}

MINDGAP_INLINE SchedulerConfig read_scheduler_config(const std::filesystem::path& file, std::optional<SamplerKind> sampler) {
  return parse_scheduler_config(read_file(file), file.string(), sampler);
}

MINDGAP_INLINE void write_scheduler_config(const std::filesystem::path& file, const SchedulerConfig& config) {
  write_file_atomic(file, scheduler_config_json(config));
}

}  // namespace mindgap
