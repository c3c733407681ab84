// Bodies of study/config.hpp.
#pragma once

#include <mindgap/io/file.hpp>
#include <mindgap/study/config.hpp>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace mindgap {
namespace detail {

// One list of the keys serves reading and writing.
template <class V>
void visit_part(V& visit, RecipeConfig& r) {
  visit("epochs", r.epochs);
  visit("batch", r.batch);
  visit("minimum_steps", r.minimum_steps);
  visit("rate", r.rate);
}

template <class V>
void visit_part(V& visit, GeneratorConfig& g) {
  visit("steps", g.steps);
  visit("batch", g.batch);
  visit("warmup", g.warmup);
  visit("rate", g.rate);
  visit("channels", g.channels);
  visit("layers", g.layers);
  visit("groups", g.groups);
  visit("head", g.head);
  visit("seed", g.seed);
  visit("images", g.images);
}

template <class V>
void visit_part(V& visit, SettingsConfig& s) {
  visit("sampler", s.sampler);
  visit("sampling_steps", s.sampling_steps);
  visit("guidance", s.guidance);
  visit("per_class", s.per_class);
}

// What is an object of its own in the file.
template <class T>
concept ConfigPart = std::is_same_v<T, RecipeConfig> || std::is_same_v<T, GeneratorConfig> || std::is_same_v<T, SettingsConfig>;

template <class V>
void visit_study(V& visit, StudyConfig& c) {
  visit("name", c.name);
  visit("data", c.data);
  visit("held_out", c.held_out);
  visit("per_class", c.per_class);
  visit("test_images", c.test_images);
  visit("generator", c.generator);
  visit("train_generator", c.train_generator);
  visit("sampler", c.sampler);
  visit("sampling_steps", c.sampling_steps);
  visit("guidance", c.guidance);
  visit("sampling_seed", c.sampling_seed);
  visit("synthetic_sets", c.synthetic_sets);
  visit("settings", c.settings);
  visit("model", c.model);
  visit("width", c.width);
  visit("flip", c.flip);
  visit("shift", c.shift);
  visit("weight_decay", c.weight_decay);
  visit("label_smoothing", c.label_smoothing);
  visit("warmup", c.warmup);
  visit("schedule", c.schedule);
  visit("seeds", c.seeds);
  visit("experiments", c.experiments);
  visit("seeds_of", c.seeds_of);
  visit("by_unit", c.by_unit);
  visit("splits", c.splits);
  visit("suffix_start", c.suffix_start);
  visit("statistics", c.statistics);
  visit("counts", c.counts);
  visit("recipes", c.recipes);
  visit("mixed_real", c.mixed_real);
  visit("student", c.student);
  visit("finetune", c.finetune);
  visit("scratch", c.scratch);
}

struct ConfigWriter {
  nlohmann::ordered_json json;
  template <class T>
  void operator()(const char* key, T& value) {
    if (auto written = write(value); !written.is_null()) json[key] = std::move(written);
  }
  template <class T>
  static nlohmann::ordered_json write(T& value) {
    if constexpr (ConfigPart<T>) {
      ConfigWriter inner;
      visit_part(inner, value);
      return inner.json;
    } else if constexpr (std::is_same_v<T, std::optional<RecipeConfig>>) {
      return value ? write(*value) : nlohmann::ordered_json();  // absent
    } else if constexpr (std::is_same_v<T, std::vector<SettingsConfig>>) {
      auto list = nlohmann::ordered_json::array();
      for (SettingsConfig& one : value) list.push_back(write(one));
      return list;
    } else {
      return value;
    }
  }
};

struct ConfigReader {
  const nlohmann::json& json;
  std::string file, prefix;
  std::vector<std::string> known{};

  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    throw Error("study configuration: " + prefix + key + " " + what, {{"file", file}});
  }
  template <class T>
  void operator()(const char* key, T& value) {
    known.push_back(key);
    const auto at = json.find(key);
    if (at == json.end()) return;
    if constexpr (ConfigPart<T>) {
      read_part(prefix + key, *at, value);
    } else if constexpr (std::is_same_v<T, std::optional<RecipeConfig>>) {
      read_part(prefix + key, *at, value.emplace());
    } else if constexpr (std::is_same_v<T, std::vector<SettingsConfig>>) {
      if (!at->is_array()) fail(key, "is " + at->dump() + ", wanted a list of objects");
      for (const auto& element : *at) {
        const std::string path = text(prefix, key, "[", value.size(), "]");
        read_part(path, element, value.emplace_back());
      }
    } else if constexpr (std::is_same_v<T, std::map<std::string, i64>>) {
      if (!at->is_object()) fail(key, "must be an object");
      for (const auto& [name, element] : at->items()) {
        check_number<i64>(text(key, ".", name), element);
        value[name] = element.template get<i64>();
      }
    } else {
      check_number<T>(key, *at);
      if constexpr (requires { typename T::value_type; })
        if (at->is_array())
          for (const auto& element : *at) check_number<typename T::value_type>(key, element);
      try {
        value = at->template get<T>();
      } catch (const nlohmann::json::exception&) {
        fail(key, "is " + at->dump() + ", which has the wrong type");
      }
    }
  }
  template <class T>
  void read_part(const std::string& path, const nlohmann::json& object, T& value) const {
    if (!object.is_object()) throw Error("study configuration: " + path + " must be an object", {{"file", file}});
    ConfigReader inner{object, file, path + "."};
    visit_part(inner, value);
    inner.refuse_unknown();
  }
  // The JSON library would cut 1.5 to 1 and turn -1 into 2^64 - 1 and true into 1.
  template <class T>
  void check_number(const std::string& key, const nlohmann::json& at) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (!at.is_number()) fail(key, "is " + at.dump() + ", wanted a number");
    } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (!at.is_number_integer()) fail(key, "is " + at.dump() + ", wanted a whole number");
      if (std::is_unsigned_v<T> ? !at.is_number_unsigned() : at.is_number_unsigned() && at.template get<u64>() >> 63)
        fail(key, "is " + at.dump() + ", which is out of range");
    }
  }
  void refuse_unknown() const {
    for (const auto& [key, value] : json.items())
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        std::string all;
        for (const std::string& name : known) (all += all.empty() ? "" : ", ") += name;
        throw Error("study configuration: there is no key '" + prefix + key + "'", {{"file", file}, {"keys", all}});
      }
  }
};

inline void check_study_config(const StudyConfig& c, const std::string& file) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw Error("study configuration: " + what, {{"file", file}});
  };
  const auto known = [&](const std::string& key, const std::vector<std::string>& values, std::initializer_list<const char*> all) {
    for (const std::string& value : values) {
      std::string list;
      for (const char* one : all) (list += list.empty() ? "" : ", ") += one;
      require(std::find(all.begin(), all.end(), value) != all.end(), key + " '" + value + "' is not one of " + list);
    }
  };
  require(!c.seeds.empty(), "seeds is empty");
  known("experiment", c.experiments, {"E0", "E1", "E2", "E3", "E3 twice", "E5", "E6", "E10"});
  known("train_generator.images", {c.train_generator.images}, {"pool", "real"});
  known("suffix_start", {c.suffix_start}, {"reinitialise", "continue"});
  known("statistics", {c.statistics}, {"frozen", "live", "reestimated"});
  known("recipe", c.recipes, {"fc", "last group", "last two", "all", "scratch", "mixed"});
  known("model", {c.model}, {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"});
  known("schedule", {c.schedule}, {"cosine", "constant", "step", "one_cycle"});
  for (const auto& [experiment, count] : c.seeds_of) {
    require(std::find(c.experiments.begin(), c.experiments.end(), experiment) != c.experiments.end(),
            "seeds_of has '" + experiment + "', which is not among the experiments");
    require(count >= 1 && count <= i64(c.seeds.size()),
            text("seeds_of.", experiment, " is ", count, ", wanted 1 to ", c.seeds.size(), ", the number of seeds"));
    require(experiment != "E0" || count == i64(c.seeds.size()),
            "seeds_of.E0 must be all seeds: the others start from its students");
  }
  const auto within = [&](const std::string& key, double value, double least, double most) {
    require(value >= least && value <= most, text(key, " is ", value, ", wanted ", least, " to ", most));
  };
  constexpr double million = 1e6, billion = 1e9;
  within("width", double(c.width), 1, 4096);
  within("shift", double(c.shift), 0, 64);
  within("synthetic_sets", double(c.synthetic_sets), 1, double(c.seeds.size()));
  within("per_class", double(c.per_class), 0, billion);
  const auto settings = [&](const std::string& of, const SettingsConfig& s, double least_images) {
    known(of + "sampler", s.sampler, {"ddpm", "ddim", "dpmpp_2m", "euler"});
    for (i64 steps : s.sampling_steps) within(of + "sampling_steps", double(steps), 1, million);
    for (double guidance : s.guidance) within(of + "guidance", guidance, 0, million);
    for (i64 per_class : s.per_class) within(of + "per_class", double(per_class), least_images, billion);
  };
  settings("", {{c.sampler}, {c.sampling_steps}, {c.guidance}, {c.per_class}}, 0);
  for (size_t i = 0; i < c.settings.size(); ++i) settings(text("settings[", i, "]."), c.settings[i], 1);
  const auto has = [&](const char* experiment) {
    return std::find(c.experiments.begin(), c.experiments.end(), experiment) != c.experiments.end();
  };
  require(has("E10") == !c.settings.empty(),
          "E10 among the experiments and settings belong together: one is there without the other");
  require(!has("E10") || c.held_out, "E10 chooses settings on held-out images, which needs \"held_out\": true");
  within("test_images", double(c.test_images), 0, billion);
  within("mixed_real", double(c.mixed_real), 0, billion);
  require(c.weight_decay >= 0 && c.label_smoothing >= 0 && c.label_smoothing <= 1 && c.warmup >= 0 && c.warmup <= 1,
          "weight_decay must not be negative, label_smoothing and warmup are 0 to 1");
  require(!c.experiments.empty() && (c.experiments[0] == "E0" || (c.experiments.size() == 1 && has("E10"))),
          "experiments must begin with E0, whose students the others and the report use; E10 may stand alone");
  for (i64 count : c.counts) require(count > 1, text("counts has ", count, ", wanted 2 or more"));
  const auto distinct = [&](const std::string& key, const auto& values) {
    for (size_t i = 0; i < values.size(); ++i)
      for (size_t j = 0; j < i; ++j) require(values[i] != values[j], text(key, " has ", values[i], " twice"));
  };
  distinct("experiments", c.experiments);
  distinct("counts", c.counts);
  distinct("recipes", c.recipes);
  for (size_t i = 0; i < c.seeds.size(); ++i)
    for (size_t j = 0; j < i; ++j) require(c.seeds[i] != c.seeds[j], text("the seed ", c.seeds[i], " is there twice"));
  distinct("splits", c.splits);
  for (const auto& [key, r] :
       {std::pair("student", &c.student), {"finetune", &c.finetune}, {"scratch", c.scratch ? &*c.scratch : &c.finetune}}) {
    const std::string of = key + std::string(".");
    within(of + "epochs", double(r->epochs), 1, million);
    within(of + "batch", double(r->batch), 2, 1 << 16);
    within(of + "minimum_steps", double(r->minimum_steps), 0, billion);
    within(of + "rate", r->rate, 1e-9, 100);
  }
}

}  // namespace detail

MINDGAP_INLINE StudyConfig parse_study_config(const std::string& json, const std::string& file) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object()) throw Error("study configuration: this is no JSON object", {{"file", file}});
  StudyConfig config;
  detail::ConfigReader reader{parsed, file, ""};
  detail::visit_study(reader, config);
  reader.refuse_unknown();
  detail::check_study_config(config, file);
  if (parsed.contains("train_generator") && !config.generator.empty())
    throw Error("study configuration: train_generator says how to train a generator, but the generator is given",
                {{"file", file},
                 {"generator", "\"" + config.generator + "\"" + (parsed.contains("generator") ? "" : ", the default")},
                 {"remedy", "\"generator\": \"\" to train one, or leave train_generator out"}});
  return config;
}

MINDGAP_INLINE StudyConfig read_study_config(const std::filesystem::path& path) {
  return parse_study_config(read_file(path), path.string());
}

MINDGAP_INLINE std::string study_config_json(const StudyConfig& config) {
  detail::ConfigWriter writer;
  StudyConfig copy = config;
  detail::visit_study(writer, copy);
  if (!config.generator.empty()) writer.json.erase("train_generator");  // none is trained
  return writer.json.dump(2) + "\n";
}

}  // namespace mindgap
