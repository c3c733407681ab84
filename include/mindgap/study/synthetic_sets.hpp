// The synthetic sets of a study: which there are, where they lie, and how they are made.
//
//   draws     of the study's own settings, one a seed of sampling: <out>/synthetic, or <out>/synthetic-<seed> of several
//   settings  of E10: <out>/settings/<sampler>-<steps>-<guidance>, as many images a class as the largest setting asks for;
//             smaller ones are stratified subsets of it
//   ready     ones instead of draws, where the configuration names them: shard folders from anywhere
#pragma once

#include <mindgap/data/shards.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/diffusion/jobs.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/study/config.hpp>

namespace mindgap {

struct SyntheticSetting {
  std::string sampler;
  i64 steps = 0;
  double guidance = 0;
  i64 per_class = 0;
  u64 seed = 0;  // of sampling

  bool operator==(const SyntheticSetting&) const = default;
};

struct SyntheticSet {
  SyntheticSetting setting;
  Dataset images;         // setting.per_class of each class
  std::string hash = {};  // of the images of a ready one
};

// The ready ones, all their images. What they say of themselves in dataset.json is their setting. Throws for images that are not
// like the real ones, and for sets that differ in more than their seeds.
inline std::vector<SyntheticSet> read_ready_sets(const StudyConfig& c, const Dataset& real) {
  std::vector<SyntheticSet> out;
  ShardManifest first;
  for (const std::string& folder : c.synthetic) {
    if (!std::filesystem::exists(std::filesystem::path(folder) / "dataset.json"))
      throw Error("study: a ready synthetic set is a shard folder",
                  {{"synthetic", folder}, {"remedy", "make it with sample; of Stable Diffusion with --format shards"}});
    ShardManifest m = read_shard_manifest(folder);
    const Dataset images = read_shard_folder(folder);
    const auto shown = [](const Shape<3>& s) { return text(s[1], " x ", s[0], " pixels, channels: ", s[2]); };
    if (images.shape() != real.shape())
      throw Error("study: the synthetic images are not shaped like the real ones",
                  {{"synthetic " + folder, shown(images.shape())},
                   {"real " + real.name, shown(real.shape())},
                   {"remedy", "make a set of that size (--store-size of sample); grey and colour do not mix"}});
    check_same_classes("study: the synthetic set has other classes than the real images, or the same in another order",
                       "synthetic " + folder, images.class_names, "real " + real.name, real.class_names);
    const SyntheticSetting setting{m.sampler, m.steps, m.guidance, m.images_per_class, m.seed};
    if (out.empty()) first = m;
    m.images_per_class = first.images_per_class, m.chunk_size = first.chunk_size, m.seed = first.seed;
    const bool seed_again =
        std::ranges::any_of(out, [&](const SyntheticSet& other) { return other.setting.seed == setting.seed; });
    if (m != first || seed_again)
      throw Error(
          seed_again ? "study: two synthetic sets are of one seed" : "study: the synthetic sets differ in more than their seeds",
          {{"first", text(c.synthetic[0], ": ", out[0].images.provenance)},
           {"here", text(folder, ": ", images.provenance)},
           {"remedy", "give draws of one setting, which sample makes with other --seed; or make a study of each"}});
    out.push_back({setting, images});
  }
  return out;
}

// The study's own, one a draw. per_class is known by now.
inline std::vector<SyntheticSetting> draws_of(const StudyConfig& c) {
  std::vector<SyntheticSetting> out;
  for (i64 i = 0; i < c.synthetic_sets; ++i)
    out.push_back({c.sampler, c.sampling_steps, c.guidance, c.per_class, c.sampling_seed + u64(i)});
  return out;
}

// Those of E10, each once.
inline std::vector<SyntheticSetting> settings_of(const StudyConfig& c) {
  std::vector<SyntheticSetting> out;
  const auto or_own = [](auto list, const auto& own) {
    if (list.empty()) list.push_back(own);
    return list;
  };
  for (const SettingsConfig& s : c.settings)
    for (const std::string& sampler : or_own(s.sampler, c.sampler))
      for (i64 steps : or_own(s.sampling_steps, c.sampling_steps))
        for (double guidance : or_own(s.guidance, c.guidance))
          for (i64 per_class : or_own(s.per_class, c.per_class)) {
            const SyntheticSetting one{sampler, steps, guidance, per_class, c.sampling_seed};
            if (std::find(out.begin(), out.end(), one) == out.end()) out.push_back(one);
          }
  return out;
}

// Makes what each setting's folder lacks and reads it. False where `hooks` asked to stop; whole chunks are kept then.
template <Device D, class P>
class SyntheticSets {
 public:
  // `hooks`: the hooks of each job, which begins with its name.
  using Hooks = std::function<JobHooks(const std::string& name)>;

  SyntheticSets(const Generator<D, P>& generator, std::filesystem::path generator_folder, std::filesystem::path out, Hooks hooks)
      : generator_(generator), files_{std::move(generator_folder)}, out_(std::move(out)), hooks_(std::move(hooks)) {}

  // Throws for settings that make no sense, before anything is made.
  void check(const std::vector<SyntheticSetting>& settings) const {
    for (const SyntheticSetting& setting : settings) {
      sampler(setting), generator_.info.guidance(setting.guidance);
      if (const i64 most = ShardManifest::most_images / generator_.classes(); setting.per_class > most)
        throw Error(text("study configuration: per_class is ", setting.per_class, ", more than a set holds"),
                    {{"remedy", text("at most ", most, " with ", generator_.classes(), " classes")}});
    }
  }

  bool draws(const std::vector<SyntheticSetting>& draws, std::vector<SyntheticSet>& sets) const {
    for (const SyntheticSetting& draw : draws) {
      const std::string folder = draws.size() == 1 ? "synthetic" : text("synthetic-", draw.seed);
      if (!make(draw, folder)) return false;
      sets.push_back({draw, equal_counts(read_shard_folder(out_ / folder), draw.per_class, 0)});
    }
    return true;
  }

  bool settings(const std::vector<SyntheticSetting>& settings, std::vector<SyntheticSet>& sets) const {
    for (const SyntheticSetting& setting : settings) {
      SyntheticSetting largest = setting;
      for (const SyntheticSetting& other : settings)
        if (folder_of(other) == folder_of(setting)) largest.per_class = std::max(largest.per_class, other.per_class);
      if (!make(largest, folder_of(setting))) return false;
      sets.push_back({setting, equal_counts(read_shard_folder(out_ / folder_of(setting)), setting.per_class, 0)});
    }
    return true;
  }

 private:
  static std::string folder_of(const SyntheticSetting& s) {
    return text("settings/", s.sampler, "-", s.steps, "-", exact(s.guidance));
  }

  Sampler sampler(const SyntheticSetting& s) const {
    return Sampler(read_scheduler_config(files_.scheduler(), sampler_by_name(s.sampler)), s.steps);
  }
  bool make(const SyntheticSetting& setting, const std::string& folder) const {
    GeneratedImages<D, P> images(generator_, sampler(setting), setting.guidance, 64);
    const ShardWriter writer(out_ / folder, synthetic_manifest(images, setting.per_class, setting.seed));
    return writer.pending().empty() || write_synthetic_set(images, writer, hooks_("study: " + folder));
  }

  const Generator<D, P>& generator_;
  GeneratorFiles files_;
  std::filesystem::path out_;
  Hooks hooks_;
};

}  // namespace mindgap
