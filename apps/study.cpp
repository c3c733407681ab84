// Runs the study: why do students trained on generated images lose accuracy, in which layers, and how few real images win
// it back?
//
//   study --config data/studies/demo.json --out DIR
//
// DIR receives configuration.json (as run), inputs.txt (hashes of the images and the generator), synthetic/ (a shard folder,
// unless the configuration gives a ready one), students/, results.csv (a row a run), study.json, report.html and its figures.
// Finished runs and chunks are not made again: the same command goes on where it was stopped or killed.
#include <mindgap/io/file.hpp>
#include <mindgap/study/comparisons.hpp>
#include <mindgap/study/environment.hpp>

#include "report/sentences.hpp"
#include "study_images.hpp"

using namespace mindgap;
using namespace mindgap::report;

namespace {

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

// Throws where the folder holds a study of another configuration or of other inputs.
void check_same_study(const StudyConfig& c, const std::string& inputs, const std::filesystem::path& as_run,
                      const std::filesystem::path& inputs_file) {
  if (!std::filesystem::exists(as_run)) return;
  StudyConfig there = read_study_config(as_run);
  const bool by_contents = std::filesystem::exists(inputs_file);  // an older study has their names alone
  if (by_contents) {
    there.data = c.data;
    if (!there.generator.empty() && !c.generator.empty()) there.generator = c.generator;
    if (there.synthetic.size() == c.synthetic.size()) there.synthetic = c.synthetic;
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
  StudyData data = load_images(c, file, pool);
  const bool ready = !c.synthetic.empty();
  naming_file(file, [&] {  // throws for values that make no sense
    if (!ready && c.generator.empty()) generator_training(c).info(own_generator_images(c, data, pool));
    else if (!ready) GeneratorFiles{c.generator}.check();
    chosen_splits(c, ResNet<D, P>(ResNetConfig::make(c.model, c.width, 1, 2, Stem::small)).units());
  });
  const ResultFolder out(common.out);
  const FileLock lock(common.out / ".lock", "runs a study in this folder");
  // What two configurations made must never meet in one folder.
  const std::filesystem::path as_run = common.out / "configuration.json", inputs_file = common.out / "inputs.txt";
  const std::string inputs = inputs_of(c, data, pool);
  check_same_study(c, inputs, as_run, inputs_file);
  const auto start = std::chrono::steady_clock::now();

  // Kept as soon as something is made of it, and not before its values are known to be good.
  const auto keep_configuration = [&] {
    write_file_atomic(as_run, study_config_json(c));
    write_file_atomic(inputs_file, inputs);
  };
  ReportData report;
  if (ready) {
    keep_configuration();
    report.caveats = {ready_caveat};
    for (size_t i = 0; i < c.synthetic.size(); ++i)
      report.how.push_back({"Generated images", ready_facts(c.synthetic[i], data.synthetic[i].images, data.synthetic[i].hash)});
  } else {
    make_synthetic<D, P>(c, file, common.out, pool, keep_configuration, data, report);
  }

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
  report.dataset = c.data == "fashion-mnist" ? "Fashion-MNIST" : data.real.name;
  report.student = text("a ResNet-", c.model.substr(6), " of width ", c.width);
  report.class_names = data.real.class_names;
  report.real = sample_of(data.real);
  // Images of the study's own settings, where E10 has them.
  const auto& shown = data.synthetic.empty() ? data.settings : data.synthetic;
  const auto own = std::ranges::find(shown, draws_of(c)[0], &SyntheticSet::setting);
  report.synthetic = sample_of((own == shown.end() ? shown[0] : *own).images);
  report.rows = rows;
  report.confusion_real = as_double(study.confusion('R'));
  report.confusion_synthetic = as_double(study.confusion('S'));
  report.how.insert(report.how.end(), {{"Students", study_facts(c)},
                                       {"Environment", environment},
                                       {"This run", {{"configuration", c.name}, {"time", duration(seconds)}}}});
  write_report(common.out / "report.html", report);
  write_figures(common.out, rows);

  const size_t others = results.rows().size() - rows.size();
  std::string given;
  for (size_t i = 0; i < c.synthetic.size(); ++i)
    given += text("generated images: ", c.synthetic[i], ", ", data.synthetic[i].images.provenance, "\n");
  print(text("\n", results_text(rows, data.real.classes()), "\n", given,
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
        for (u64& seed : c.seeds) {  // the same study with other students
          if (seed > ~u64(0) - common.seed)
            throw UsageError(
                text("--seed ", common.seed, ": with the configuration's seed ", seed, " it is more than 64 bits hold"),
                {{"remedy", "give a smaller one"}});
          seed += common.seed;
        }
        with_types(common, [&]<class D, class P>(D, P) { run<D, P>(c, config.string(), common); });
      });
}
