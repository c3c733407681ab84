// Runs the study: why do students trained on generated images lose accuracy, in which layers, and how few real images win
// it back?
//
//   study --config data/studies/demo.json --out DIR
//
// DIR receives configuration.json (as run), inputs.txt (hashes of the images and the generator), synthetic/ (a shard folder),
// students/, results.csv (a row a run), study.json, report.html and its figures. Finished runs and chunks are not made again: the
// same command goes on where it was stopped or killed.
#include <mindgap/io/file.hpp>
#include <mindgap/study/comparisons.hpp>
#include <mindgap/study/environment.hpp>
#include <mindgap/study/protocol.hpp>

#include "common.hpp"
#include "report/report.hpp"
#include "report/sentences.hpp"
#include "report/summary.hpp"
#include "report/words.hpp"
#include <iostream>

using namespace mindgap;
using namespace mindgap::report;

namespace {

// The real images as configured, before anything long begins: those of R, those to test and to choose on. `pool` receives all
// that may be trained on. file: of the configuration, for messages.
StudyData load_real(StudyConfig& c, const std::string& file, Dataset& pool) {
  StudyData out;
  naming_file(file, [&] { check_dataset_spec(c.data); });
  pool = load_dataset(c.data, c.held_out ? "fit" : "train");
  if (c.held_out) out.held_out = load_dataset(c.data, "held-out");
  out.test = load_dataset(c.data, "test");
  if (!c.per_class) c.per_class = std::ranges::min(class_counts(pool));
  naming_file(file, [&] {
    if (c.test_images) out.test = subset(out.test, c.test_images, 0);
    out.real = equal_counts(pool, c.per_class, 0);
    for (i64 count : c.counts)
      if (count > out.real.size() && std::ranges::find(c.experiments, "E5") != c.experiments.end())
        throw Error(text("study configuration: counts has ", count, ", R has ", out.real.size(), " real images to draw from"),
                    {{"remedy", "lower that count, or raise per_class"}});
  });
  return out;
}

template <class T>
std::vector<std::vector<double>> as_double(const std::vector<std::vector<T>>& rows) {
  std::vector<std::vector<double>> out;
  for (const auto& row : rows) out.emplace_back(row.begin(), row.end());
  return out;
}

ImageSet sample_of(const Dataset& set) {
  std::vector<i64> members, left(size_t(set.classes()), ImageSet::shown);
  for (i64 i = 0; i < set.size(); ++i)
    if (left[size_t(set.label(i))]-- > 0) members.push_back(i);
  const Dataset first = select(set, members);
  return {all_images(first), all_labels(first)};
}

// Hooks with a progress line that begins where the job does.
JobHooks hooks(const std::string& name, const std::string& unit) {
  JobHooks out;
  out.stop = interrupted;
  out.progress = [=, line = std::shared_ptr<Progress>()](i64 done, i64 total, const std::string& note) mutable {
    if (!line) line = std::make_shared<Progress>(name, total, done, unit);
    line->update(done, note);
    if (done == total) line->finish();
  };
  return out;
}

GeneratorTraining generator_training(const StudyConfig& c) {
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

// What lies where the configuration says, a hash a line: a study goes on with the same, wherever it lies by then.
std::string inputs_of(const StudyConfig& c, const StudyData& data, const Dataset& generator_images) {
  std::string out = text("real_images ", content_hash(data.real), "\ntest_images ", content_hash(data.test), "\n");
  if (c.held_out) out += text("held_out_images ", content_hash(data.held_out), "\n");
  if (c.generator.empty()) return out + text("generator_images ", content_hash(generator_images), "\n");
  return out + text("generator ", GeneratorFiles{c.generator}.hash(), "\n");
}

// Throws where the folder holds a study of another configuration or of other inputs.
void check_same_study(const StudyConfig& c, const std::string& inputs, const std::filesystem::path& as_run,
                      const std::filesystem::path& inputs_file) {
  if (!std::filesystem::exists(as_run)) return;
  StudyConfig there = read_study_config(as_run);
  const bool by_contents = std::filesystem::exists(inputs_file);  // an older study has their names alone
  if (by_contents) {
    there.data = c.data;
    if (!there.generator.empty() && !c.generator.empty()) there.generator = c.generator;
  }
  check_same_settings(study_settings(there), study_settings(c), as_run, "this folder holds a study of another configuration");
  if (by_contents)
    check_same_settings(read_file(inputs_file), inputs, inputs_file, "this folder holds a study of other images or generators");
}

// file: of the configuration, for messages.
template <Device D, class P>
void run(StudyConfig c, const std::string& file, const CommonOptions& common) {
  const std::string precision = precision_name<D, P>();
  Dataset pool;
  StudyData data = load_real(c, file, pool);
  const bool same_data = c.generator.empty() && c.train_generator.images == "real";
  naming_file(file, [&] {  // throws for values that make no sense
    if (c.generator.empty()) generator_training(c).info(same_data ? data.real : pool);
    else GeneratorFiles{c.generator}.check();
    chosen_splits(c, ResNet<D, P>(ResNetConfig::make(c.model, c.width, 1, 2, Stem::small)).units());
  });
  const ResultFolder out(common.out);
  const FileLock lock(common.out / ".lock", "runs a study in this folder");
  // What two configurations made must never meet in one folder.
  const std::filesystem::path as_run = common.out / "configuration.json", inputs_file = common.out / "inputs.txt";
  const Dataset& generator_images = same_data ? data.real : pool;
  const std::string inputs = inputs_of(c, data, generator_images);
  check_same_study(c, inputs, as_run, inputs_file);
  const auto start = std::chrono::steady_clock::now();

  // Kept as soon as something is made of it, and not before its values are known to be good.
  const auto keep_configuration = [&] {
    write_file_atomic(as_run, study_config_json(c));
    write_file_atomic(inputs_file, inputs);
  };
  if (c.generator.empty()) keep_configuration();
  const std::filesystem::path folder = c.generator.empty() ? common.out / "generator" : std::filesystem::path(c.generator);
  const auto generator = generator_of<D, P>(c, folder, generator_images);
  const GeneratorOrigin origin = GeneratorFiles{folder}.read_origin();
  data.generator_images = origin.images;
  const SyntheticSets<D, P> sets(generator, folder, common.out, [](const std::string& name) { return hooks(name, "images"); });
  const auto draws = draws_of(c), settings = settings_of(c);
  const bool only_settings = c.experiments[0] == "E10";
  naming_file(file, [&] {
    if (!only_settings) sets.check(draws);
    sets.check(settings);
  });
  keep_configuration();
  if ((!only_settings && !sets.draws(draws, data.synthetic)) || !sets.settings(settings, data.settings))
    stop_interrupted("whole chunks are kept; the same command goes on from there");

  ResultsTable results(common.out / "results.csv");
  std::unique_ptr<Progress> progress;
  const auto stop = [&] {
    if (interrupted())
      stop_interrupted(text(results.rows().size(), " finished runs are kept; the same command goes on from there"));
  };
  const StopHook hook(stop);
  Study<D, P> study(c, data, common.out, results, [&](const std::string& what, double work) {
    progress->update(i64(work), what);
    stop();
  });
  progress = std::make_unique<Progress>("study: training", i64(study.remaining_work()), 0, "student steps");
  study.run();
  progress->finish();

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Facts environment = describe_environment(D::name, precision, Runtime<Cpu>::threads());
  const std::vector<Row> rows = rows_of(results.rows(), D::name, precision);
  const Findings findings = find_findings(rows, data.real.classes());
  write_file_atomic(common.out / "study.json",
                    study_json(study_config_json(c), environment, rows, comparisons_json(findings, headline(findings))));
  ReportData report;
  report.dataset = c.data == "fashion-mnist" ? "Fashion-MNIST" : data.real.name;
  report.student = text("a ResNet-", c.model.substr(6), " of width ", c.width);
  report.generator = "a class-conditional diffusion model with " + words::parameters(count_parameters(*generator.unet));
  report.class_names = data.real.class_names;
  report.real = sample_of(data.real);
  // Images of the study's own settings, where E10 has them.
  const auto& shown = only_settings ? data.settings : data.synthetic;
  const auto own = std::ranges::find(shown, draws[0], &SyntheticSet::setting);
  report.synthetic = sample_of((own == shown.end() ? shown[0] : *own).images);
  report.rows = rows;
  report.confusion_real = as_double(study.confusion('R'));
  report.confusion_synthetic = as_double(study.confusion('S'));
  report.caveats = generator_caveats(c, origin, pool.size());
  report.how = {{"Generator", generator_facts(c, origin, generator.hash)},
                {"Students", study_facts(c)},
                {"Environment", environment},
                {"This run", {{"configuration", c.name}, {"time", duration(seconds)}}}};
  write_report(common.out / "report.html", report);
  write_figures(common.out, rows);

  const size_t others = results.rows().size() - rows.size();
  print(text("\n", results_text(rows, data.real.classes()), "\n",
             others ? text("left out: ", others, " rows of results.csv that another device, precision or version made\n") : "",
             "report: ", (common.out / "report.html").string(), "\n"));
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path config;
  return run_app(
      argc, argv, "study", "Runs a study and writes its results and report; run it again to go on after an interruption.",
      [&](Flags& flags) {
        flags.add("config", &config, "a study's JSON file, for example data/studies/demo.json");
        for (const char* needed : {"config", "out"}) flags.require(needed);
      },
      [&](const CommonOptions& common) {
        StudyConfig c = read_study_config(config);
        for (u64& seed : c.seeds) seed += common.seed;  // the same study with other students; modulo 2^64
        with_types(common, [&]<class D, class P>(D, P) { run<D, P>(c, config.string(), common); });
      });
}
