// Bodies of study/config.hpp.
#pragma once

#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/optim/schedule.hpp>
#include <mindgap/study/config.hpp>

#include <algorithm>

namespace mindgap {

template <class V>
void visit_fields(V& visit, RecipeConfig& r) {
  visit("epochs", r.epochs, {1, 1e6});
  visit("batch", r.batch, {2, 1 << 16});
  visit("minimum_steps", r.minimum_steps, {0, 1e9});
  visit("learning_rate", r.learning_rate, {.least = 1e-9, .most = 100, .alias = "rate"});
}

template <class V>
void visit_fields(V& visit, GeneratorConfig& g) {
  visit("steps", g.steps, {1, 1e9});
  visit("batch", g.batch, {1, 1 << 16});
  visit("warmup", g.warmup, {0, 1e9});
  visit("learning_rate", g.learning_rate, {.least = 1e-9, .most = 1, .alias = "rate"});
  visit("channels", g.channels, {1, 1 << 16});
  visit("layers", g.layers, {1, 16});
  visit("groups", g.groups, {1, 1024});
  visit("head", g.head, {1, 1024});
  visit("seed", g.seed);
  visit("images", g.images, {.one_of = {"pool", "real"}});
}

namespace detail {
inline const JsonRule sampler_rule{.one_of = {std::begin(sampler_names), std::end(sampler_names)}}, sampling_steps_rule{1, 1e6},
    guidance_rule{0, 1e6};
}

template <class V>
void visit_fields(V& visit, SettingsConfig& s) {
  visit("sampler", s.sampler, detail::sampler_rule);
  visit("sampling_steps", s.sampling_steps, detail::sampling_steps_rule);
  visit("guidance", s.guidance, detail::guidance_rule);
  visit("per_class", s.per_class, {1, 1e9});
}

template <class V>
void visit_fields(V& visit, StudyConfig& c) {
  visit("name", c.name);
  visit("data", c.data);
  visit("held_out", c.held_out);
  visit("per_class", c.per_class, {0, 1e9});
  visit("test_images", c.test_images, {0, 1e9});
  visit("synthetic", c.synthetic, {.single = true});
  // Keys that say how images are generated are neither read nor written where they are given.
  const bool generated = c.synthetic.empty();
  const auto visit_generated = [&](const char* key, auto& value, const JsonRule& rule = {}) {
    auto there = generated ? std::optional(value) : std::nullopt;
    visit(key, there, rule);
    if (there && generated) value = *there;
    else if (there)
      visit.fail(key, "says how synthetic images are generated, but 'synthetic' gives ready ones: leave one of them out");
  };
  visit_generated("generator", c.generator);
  if (generated && !c.generator.empty()) {
    std::optional<GeneratorConfig> none;
    visit("train_generator", none);
    if (none)
      visit.fail("train_generator", "says how to train a generator, but the generator is given: '" + c.generator +
                                        "', unless the file has \"generator\": \"\"");
  } else {
    visit_generated("train_generator", c.train_generator);
  }
  visit_generated("sampler", c.sampler, detail::sampler_rule);
  visit_generated("sampling_steps", c.sampling_steps, detail::sampling_steps_rule);
  visit_generated("guidance", c.guidance, detail::guidance_rule);
  visit_generated("sampling_seed", c.sampling_seed);
  visit_generated("synthetic_sets", c.synthetic_sets, {.least = 1});
  visit_generated("settings", c.settings);
  visit("model", c.model, {.one_of = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}});
  visit("width", c.width, {1, 4096});
  visit("flip", c.flip);
  visit("shift", c.shift, {0, 64});
  visit("weight_decay", c.weight_decay, {0, 10});
  visit("label_smoothing", c.label_smoothing, {0, 1});
  visit("warmup", c.warmup, {0, 1e9});
  visit("schedule", c.schedule, {.one_of = {"cosine", "constant", "step", "one_cycle"}});
  visit("seeds", c.seeds);
  visit("experiments", c.experiments, {.one_of = {"E0", "E1", "E2", "E3", "E3 twice", "E5", "E6", "E10"}});
  visit("seeds_of", c.seeds_of, {.least = 1});
  visit("by_unit", c.by_unit);
  visit("splits", c.splits);
  visit("suffix_start", c.suffix_start, {.one_of = {"reinitialise", "continue"}});
  visit("statistics", c.statistics, {.one_of = {"frozen", "live", "reestimated"}});
  visit("counts", c.counts, {.least = 2});
  visit("recipes", c.recipes, {.one_of = {"fc", "last group", "last two", "all", "scratch", "mixed"}});
  visit("mixed_real", c.mixed_real, {0, 1 << 24});
  visit("student", c.student);
  visit("finetune", c.finetune);
  visit("scratch", c.scratch);
}

namespace detail {

inline constexpr const char* study_remedy = "correct the file; study/config.hpp says what there is, data/studies has examples";

// What concerns several keys.
inline void check_study_config(const StudyConfig& c, const std::string& file) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw Error("study configuration: " + what, {{"file", file}, {"remedy", study_remedy}});
  };
  const auto has = [&](const std::string& experiment) {
    return std::find(c.experiments.begin(), c.experiments.end(), experiment) != c.experiments.end();
  };
  require(!c.seeds.empty(), "seeds is empty");
  require(c.warmup != 1, "warmup is 1, which once was all steps: give a share below 1, or 2 steps or more");
  require(c.schedule != "one_cycle" || c.warmup.value_or(0) == 0,
          text("warmup is ", c.warmup.value_or(0), ", and the schedule one_cycle has a warm-up of its own: leave warmup out"));
  for (const auto& [experiment, count] : c.seeds_of) {
    require(has(experiment), "seeds_of has '" + experiment + "', which is not among the experiments");
    require(count <= i64(c.seeds.size()),
            text("seeds_of.", experiment, " is ", count, ", wanted 1 to ", c.seeds.size(), ", the number of seeds"));
    require(experiment != "E0" || count == i64(c.seeds.size()),
            "seeds_of.E0 must be all seeds: the others start from its students");
  }
  require(c.synthetic_sets <= i64(c.seeds.size()),
          text("synthetic_sets is ", c.synthetic_sets, ", wanted 1 to ", c.seeds.size(), ", the number of seeds"));
  require(c.sampling_seed <= ~u64(0) - u64(c.synthetic_sets - 1),
          text("sampling_seed is ", c.sampling_seed, ": ", c.synthetic_sets, " sets from it on need more than 64 bits"));
  require(c.synthetic.size() <= c.seeds.size(),
          text("synthetic has ", c.synthetic.size(), " sets, wanted at most ", c.seeds.size(), ", the number of seeds"));
  require(c.synthetic.empty() || !has("E10"),
          "E10 compares settings of a generator, but 'synthetic' gives ready sets: leave one of them out");
  require(has("E10") == !c.settings.empty(),
          "E10 among the experiments and settings belong together: one is there without the other");
  require(!has("E10") || c.held_out, "E10 chooses settings on held-out images, which needs \"held_out\": true");
  require(!c.experiments.empty() && (c.experiments[0] == "E0" || (c.experiments.size() == 1 && has("E10"))),
          "experiments must begin with E0, whose students the others and the report use; E10 may stand alone");
  const auto distinct = [&](const std::string& key, auto values) {
    std::sort(values.begin(), values.end());
    const auto twice = std::adjacent_find(values.begin(), values.end());
    if (twice != values.end()) require(false, text(key, " has ", *twice, " twice"));
  };
  distinct("experiments", c.experiments);
  distinct("counts", c.counts);
  distinct("recipes", c.recipes);
  distinct("seeds", c.seeds);
  distinct("splits", c.splits);
}

}  // namespace detail

MINDGAP_INLINE StudyConfig parse_study_config(const std::string& json, const std::string& file) {
  auto config = from_json<StudyConfig>(json, {"study configuration", file, detail::study_remedy});
  detail::check_study_config(config, file);
  if (!config.warmup) config.warmup = Schedule::usual_warmup(Schedule::kind_of(config.schedule));
  return config;
}

MINDGAP_INLINE StudyConfig read_study_config(const std::filesystem::path& path) {
  return parse_study_config(read_file(path, json_bytes), path.string());
}

MINDGAP_INLINE std::string study_config_json(const StudyConfig& config) { return to_json(config); }

MINDGAP_INLINE std::string study_settings(const StudyConfig& config) {
  std::string out;
  const auto add = [&](auto&& self, const std::string& path, const nlohmann::ordered_json& json) -> void {
    if (json.is_object() && !json.empty())
      for (const auto& [key, value] : json.items()) self(self, path + (path.empty() ? "" : ".") + key, value);
    else out += path + " " + json_text(json, -1) + "\n";
  };
  StudyConfig c = config;
  add(add, "", JsonWriter::write(c, {}));
  return out;
}

}  // namespace mindgap
