// Where a study's images come from: the real ones, and synthetic ones that are ready or that a generator makes.
#pragma once

#include <mindgap/study/protocol.hpp>

#include "common.hpp"
#include "report/report.hpp"
#include "report/summary.hpp"
#include "report/words.hpp"

namespace mindgap {

// The images that are there, before anything long begins: the real ones of R, those to test and to choose on, and ready synthetic
// ones. `pool` receives all real ones that may be trained on. file: of the configuration, for messages.
inline StudyData load_images(StudyConfig& c, const std::string& file, Dataset& pool) {
  StudyData out;
  naming_file(file, [&] {
    check_dataset_spec(c.data);
    for (const std::string& set : c.synthetic) check_dataset_spec(set);
  });
  pool = load_dataset(c.data, c.held_out ? "fit" : "train");
  if (c.held_out) out.held_out = load_dataset(c.data, "held-out");
  out.test = load_dataset(c.data, "test");
  out.synthetic = read_ready_sets(c, pool);
  if (!c.per_class) {
    c.per_class = std::ranges::min(class_counts(pool));
    for (const SyntheticSet& set : out.synthetic) c.per_class = std::min(c.per_class, std::ranges::min(class_counts(set.images)));
  }
  naming_file(file, [&] {
    for (SyntheticSet& set : out.synthetic) {
      set.images = equal_counts(set.images, c.per_class, 0);
      set.setting.per_class = c.per_class;
    }
    if (c.test_images) out.test = subset(out.test, c.test_images, 0);
    out.real = equal_counts(pool, c.per_class, 0);
    for (i64 count : c.counts)
      if (count > out.real.size() && std::ranges::find(c.experiments, "E5") != c.experiments.end())
        throw Error(text("study configuration: counts has ", count, ", R has ", out.real.size(), " real images to draw from"),
                    {{"remedy", "lower that count, or raise per_class"}});
  });
  for (SyntheticSet& set : out.synthetic) set.hash = content_hash(set.images);
  return out;
}

// Hooks with a progress line that begins where the job does.
inline JobHooks hooks(const std::string& name, const std::string& unit) {
  JobHooks out;
  out.stop = interrupted;
  out.progress = [=, line = std::shared_ptr<Progress>()](i64 done, i64 total, const std::string& note) mutable {
    if (!line) line = std::make_shared<Progress>(name, total, done, unit);
    line->update(done, note);
    if (done == total) line->finish();
  };
  return out;
}

inline GeneratorTraining generator_training(const StudyConfig& c) {
  const GeneratorConfig& g = c.train_generator;
  GeneratorTraining out;
  out.steps = g.steps, out.batch = g.batch, out.warmup = g.warmup, out.learning_rate = g.learning_rate, out.seed = g.seed;
  out.channels = g.channels, out.layers_per_block = g.layers, out.groups = g.groups, out.head = g.head;
  out.flip = c.flip;  // what mirrors its images makes a set of mirrored images: the students' augmentation is the generator's
  return out;
}

// The configured generator, or one that is trained first.
template <Device D, class P>
Generator<D, P> generator_of(const StudyConfig& c, const std::filesystem::path& folder, const Dataset& images) {
  const GeneratorOutput out{folder, 250, 8, "study (train_generator of its configuration)", precision_name<D, P>()};
  if (c.generator.empty() && !std::filesystem::exists(out.folder / "training.txt") &&
      !train_generator<D, P>(generator_training(c), images, out, hooks("study: generator", "steps")))
    stop_interrupted("the checkpoint has every step; the same command goes on from there");
  auto generator = load_generator<D, P>(folder, sampler_by_name(c.sampler));
  check_same_classes("the generator has other classes than the real images, or the same in another order",
                     "generator " + folder.string(), generator.info.class_names, "real images " + c.data, images.class_names);
  return generator;
}

// What a generator of the study's own is trained on.
inline const Dataset& own_generator_images(const StudyConfig& c, const StudyData& data, const Dataset& pool) {
  return c.train_generator.images == "real" ? data.real : pool;
}

// What lies where the configuration says, a hash a line: a study goes on with the same, wherever it lies by then.
inline std::string inputs_of(const StudyConfig& c, const StudyData& data, const Dataset& pool) {
  std::string out = text("real_images ", content_hash(data.real), "\ntest_images ", content_hash(data.test), "\n");
  if (c.held_out) out += text("held_out_images ", content_hash(data.held_out), "\n");
  for (const SyntheticSet& set : data.synthetic) out += text("synthetic_images ", set.hash, "\n");
  if (!c.synthetic.empty()) return out;
  if (c.generator.empty()) return out + text("generator_images ", content_hash(own_generator_images(c, data, pool)), "\n");
  return out + text("generator ", GeneratorFiles{c.generator}.hash(), "\n");
}

// Makes the synthetic sets, the generator first where it is the study's own, and has the report say so. keep_configuration: as
// soon as something is made of it. file: of the configuration, for messages.
template <Device D, class P>
void make_synthetic(const StudyConfig& c, const std::string& file, const std::filesystem::path& out, const Dataset& pool,
                    const std::function<void()>& keep_configuration, StudyData& data, report::ReportData& report) {
  if (c.generator.empty()) keep_configuration();
  const std::filesystem::path folder = c.generator.empty() ? out / "generator" : std::filesystem::path(c.generator);
  const auto generator = generator_of<D, P>(c, folder, own_generator_images(c, data, pool));
  const GeneratorOrigin origin = GeneratorFiles{folder}.read_origin();
  data.generator_images = origin.images;
  const SyntheticSets<D, P> sets(generator, folder, out, [](const std::string& name) { return hooks(name, "images"); });
  const auto draws = draws_of(c), settings = settings_of(c);
  const bool only_settings = c.experiments[0] == "E10";
  naming_file(file, [&] {
    if (!only_settings) sets.check(draws);
    sets.check(settings);
  });
  keep_configuration();
  if ((!only_settings && !sets.draws(draws, data.synthetic)) || !sets.settings(settings, data.settings))
    stop_interrupted("whole chunks are kept; the same command goes on from there");
  report.generator = "a class-conditional diffusion model with " + report::words::parameters(count_parameters(*generator.unet));
  report.caveats = report::generator_caveats(c, origin, pool.size());
  report.how = {{"Generator", report::generator_facts(c, origin, generator.hash)}};
}

}  // namespace mindgap
