// The experiments: which students are trained on what, and what is shared between them.
//
//   E0   baselines R and S, each trained once a seed and kept in <out>/students
//   E1   S[0:k) -> R[k:n)   the prefix of S frozen, the rest trained on real images       E2  the reverse
//   E3   controls: S -> S and R -> R, the same freezing without a change of source; "E3 twice": R with twice the steps
//   E5   few real images, drawn from R's: fine-tuning S from unit k on, from scratch, and mixed with the synthetic set
//   E6   normalisation of the input, and batch norm statistics re-estimated on real images
//   E10  the generator's settings: S on images of each, measured on held-out training images, beside R measured there
//
// Every run is a row; a row that is already in the table is not run again. All runs of E0 to E3 and E10 have the same number of
// steps and the same schedule; the seed of a run varies the student's initial weights and order, and, where several synthetic
// sets are drawn, the set.
#pragma once

#include <mindgap/data/statistics.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/study/results.hpp>
#include <mindgap/study/synthetic_sets.hpp>
#include <mindgap/study/training.hpp>

#include <chrono>
#include <functional>

namespace mindgap {

// What a study works on.
struct StudyData {
  Dataset real;                         // R's training images, equal counts a class; E5 draws from them
  Dataset test;                         // real test images
  Dataset held_out;                     // real training images for E10, which nothing else uses
  std::vector<SyntheticSet> synthetic;  // draws, equal counts a class: seed number i uses number i modulo their number
  std::vector<SyntheticSet> settings;   // of E10
  i64 generator_images = 0;             // labelled real images that the generator was trained on; 0: not recorded
};

inline std::string split_name(const StudyConfig& c, const std::vector<std::string>& units, i64 k) {
  const std::string& last = units[size_t(k - 1)];
  return c.by_unit ? last : unit_group(last);
}
// Of E1 to E3. Throws for one that a network of these units does not have.
inline std::vector<i64> chosen_splits(const StudyConfig& c, const std::vector<std::string>& units) {
  std::vector<i64> out;
  std::string known;
  for (i64 k : splits(units, c.by_unit)) {
    const std::string name = split_name(c, units, k);
    if (c.splits.empty() || std::ranges::find(c.splits, name) != c.splits.end()) out.push_back(k);
    known += (known.empty() ? "" : ", ") + name;
  }
  for (const std::string& name : c.splits)
    if (std::ranges::none_of(out, [&](i64 k) { return split_name(c, units, k) == name; }))
      throw Error("study configuration: there is no split '" + name + "'", {{"remedy", "use some of " + known}});
  return out;
}

template <Device D, class P>
class Study {
 public:
  // Called after every step of a run: what is running, and the work done by this run() so far. The unit is one step of a
  // whole student; a step that trains half of the units counts as half.
  using Progress = std::function<void(const std::string& what, double work)>;

  Study(StudyConfig config, StudyData data, std::filesystem::path out, ResultsTable& results, Progress progress)
      : config_(std::move(config)),
        data_(std::move(data)),
        out_(std::move(out)),
        results_(results),
        progress_(std::move(progress)) {
    make_folder(out_ / "students");
    units_ = make_student(0)->units();
    splits_ = chosen_splits(config_, units_);
  }

  // All runs of the configuration, seed by seed, so that a study that is stopped early has whole seeds.
  void run() {
    for (u64 seed : config_.seeds) {
      if (wanted("E0", seed)) baselines(seed);
      swaps(seed);
      if (wanted("E3 twice", seed)) twice_as_long(seed);
      if (wanted("E5", seed)) few_real_images(seed);
      if (wanted("E6", seed)) normalisations(seed);
      if (wanted("E10", seed)) settings(seed);
    }
  }

  // Confusion of a baseline on the test images, of the first seed; empty where there are no baselines.
  std::vector<std::vector<i64>> confusion(char source) {
    const u64 seed = config_.seeds[0];
    if (!wanted("E0", seed)) return {};
    const auto net = baseline(source, seed);
    return evaluate(*net, measured(data_.test)).confusion;
  }

  // The work of all runs that are not in the table yet. Throws where the table has a run of this version that the study does not
  // make: it would count in the means.
  double remaining_work() {
    counting_ = true;
    work_ = 0;
    runs_.clear();
    run();
    counting_ = false;
    const auto anywhere = [](Row row) {  // on any device, by any version
      row.device = row.precision = row.version = "";
      return row;
    };
    for (const Row& there : results_.rows())
      if (there.version == version && std::ranges::none_of(runs_, [row = anywhere(there), &anywhere](const Row& run) {
            return anywhere(run).same_run(row);
          })) {
        const std::string line = to_csv({there}).substr(to_csv({}).size());
        throw Error("results: a row is of no run of this study", {{"file", results_.path().string()},
                                                                  {"run", detail::escaped(label(there), 200)},
                                                                  {"row", detail::escaped(line.substr(0, line.size() - 1), 300)},
                                                                  {"remedy", "mend that line, or delete it"}});
      }
    return std::exchange(work_, 0);
  }

 private:
  using Net = ResNet<D, P>;
  using NetPointer = std::unique_ptr<Net>;
  using Data = StudentData<D, P>;

  ResNetConfig student_config() const {
    return ResNetConfig::make(config_.model, config_.width, data_.test.shape()[2], data_.test.classes(), Stem::small);
  }
  NetPointer make_student(u64 seed) const { return std::make_unique<Net>(student_config(), seed); }
  StatisticsPolicy policy() const { return statistics_policy(config_.statistics); }

  // Whether the experiment is run with this seed.
  bool wanted(const std::string& experiment, u64 seed) const {
    if (std::ranges::find(config_.experiments, experiment) == config_.experiments.end()) return false;
    const auto limit = config_.seeds_of.find(experiment);
    return limit == config_.seeds_of.end() || number_of(seed) < limit->second;
  }
  i64 number_of(u64 seed) const { return std::ranges::find(config_.seeds, seed) - config_.seeds.begin(); }
  const SyntheticSet& synthetic(u64 seed) const { return data_.synthetic[size_t(number_of(seed)) % data_.synthetic.size()]; }
  const Dataset& set_of(char source, u64 seed) const { return source == 'R' ? data_.real : synthetic(seed).images; }

  // The training of so many steps.
  TrainingOptions options(const RecipeConfig& recipe, i64 steps, u64 seed) const {
    TrainingOptions o;
    o.epochs = 0;
    o.minimum_steps = steps;
    o.batch = recipe.batch;
    o.learning_rate = recipe.learning_rate;
    o.weight_decay = config_.weight_decay;
    o.label_smoothing = config_.label_smoothing;
    o.warmup = config_.warmup;
    o.schedule = Schedule::kind_of(config_.schedule);
    o.seed = seed;
    o.augmentation.flip = config_.flip;
    o.augmentation.shift = config_.shift;
    return o;
  }
  // Of a student in E0 to E3: one number of steps, whatever the source.
  i64 student_steps() const { return config_.student.steps(config_.per_class * data_.test.classes()); }
  TrainingOptions student_options(u64 seed) const { return options(config_.student, student_steps(), seed); }

  Data measured(const Dataset& set, const Normalisation& normalisation = {}) const {
    return Data(set, evaluation_options(250, {}, normalisation));
  }

  // Trains the units from data.first() on; what comes before is frozen by now.
  void train(const std::string& what, Net& net, i64 frozen, const Data& data, const TrainingOptions& o) {
    naming({"run", what}, [&] {
      auto trainer = student_trainer(net, data, o);
      const double before = work_, whole = double(net.unit_count() - frozen) / double(net.unit_count());
      while (!trainer.finished()) {
        trainer.step();
        work_ = before + whole * double(trainer.done());
        progress_(what, work_);
      }
      check_finite(net, text("lower the learning rate (", o.learning_rate, ") in the study's configuration"));
    });
  }
  Evaluation train_and_test(const std::string& what, Net& net, const Dataset& set, const TrainingOptions& o) {
    train(what, net, 0, Data(set, o.loader()), o);
    return evaluate(net, measured(data_.test, o.normalisation));
  }

  // Runs `compute` unless the table has the row.
  template <class Compute>
  void once(Row row, Compute&& compute) {
    row.device = D::name;
    row.precision = precision_name<D, P>();
    if (counting_) runs_.push_back(row);
    if (results_.find(row)) return;
    if (counting_) {
      work_ += double(row.steps) * double(i64(units_.size()) - row.frozen_units) / double(units_.size());
      return;
    }
    const auto start = std::chrono::steady_clock::now();
    Library<D>::begin_plan_use();
    const Evaluation e = compute(label(row));
    row.plans = Library<D>::plan_hash();
    row.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    row.top1 = e.top1, row.top5 = e.top5, row.loss = e.loss;
    results_.append(row);
  }
  static std::string label(const Row& row) {
    return row.experiment + " " + row.direction + (row.split.empty() ? "" : " " + row.split) +
           (row.experiment == "E5" ? " " + std::to_string(row.real_count) : "") +
           (row.experiment == "E10" && row.direction == "S" ? text(" ", row.sampler, " ", row.sampling_steps, " steps, guidance ",
                                                                   row.guidance, ", ", row.synthetic_count, " images")
                                                            : "") +
           " seed " + std::to_string(row.seed);
  }
  // images: the synthetic ones that it sees; null: those of the seed.
  Row row(const std::string& experiment, const std::string& direction, const std::string& split, i64 frozen, u64 seed,
          const SyntheticSet* images = nullptr) const {
    Row r;
    r.experiment = experiment, r.direction = direction, r.split = split;
    r.frozen_units = frozen;
    r.seed = seed;
    r.steps = student_steps();
    if (frozen) r.policy = config_.statistics;
    if (direction.size() > 1) r.suffix_start = config_.suffix_start, r.steps_before = student_steps();
    r.measured_count = data_.test.size();
    if (direction.find('R') != direction.npos) r.real_count = data_.real.size();
    if (direction.find('S') != direction.npos) {
      const SyntheticSet& set = images ? *images : synthetic(seed);
      r.synthetic_count = set.images.size();
      r.sampler = set.setting.sampler, r.sampling_steps = set.setting.steps;
      r.guidance = set.setting.guidance, r.sampling_seed = set.setting.seed;
      r.generator_images = data_.generator_images;
    }
    return r;
  }

  // ---- E0 ---------------------------------------------------------------------------------------------------------

  std::filesystem::path student_file(char source, u64 seed) const {
    return out_ / "students" / (std::string(1, source) + "-" + std::to_string(seed) + ".safetensors");
  }
  void baselines(u64 seed) {
    for (char source : {'R', 'S'})
      once(row("E0", std::string(1, source), "", 0, seed), [&](const std::string& what) {
        const auto net = make_student(seed);
        const Evaluation e = train_and_test(what, *net, set_of(source, seed), student_options(seed));
        save(*net, student_file(source, seed));
        return e;
      });
  }
  NetPointer baseline(char source, u64 seed) const {
    const auto file = student_file(source, seed);
    if (!std::filesystem::exists(file))
      throw Error(text("study: the student ", source, " of seed ", seed, " is missing"),
                  {{"file", file.string()}, {"remedy", "put E0 first in experiments, or remove results.csv to run it again"}});
    auto net = std::make_unique<Net>(student_config());
    make_masters(*net);  // it will be trained
    load(*net, file);
    return net;
  }

  // ---- E1 to E3 ---------------------------------------------------------------------------------------------------

  std::string split_name(i64 k) const { return mindgap::split_name(config_, units_, k); }

  // Both ways and the controls, split after split: what a frozen prefix makes of a set is what its next split begins with.
  void swaps(u64 seed) {
    for (char from : {'S', 'R'}) {
      for (i64 k : splits_)
        for (char to : {'R', 'S'}) {
          const char* experiment = from == to ? "E3" : from == 'S' ? "E1" : "E2";
          if (!wanted(experiment, seed)) continue;
          once(row(experiment, std::string(1, from) + "->" + to, split_name(k), k, seed), [&](const std::string& what) {
            const auto net = baseline(from, seed);
            // Fresh weights of the suffix come from another seed than those that the source started with.
            if (config_.suffix_start == "reinitialise") reinitialise(*net, mix64(seed), patterns_of(*net, k, i64(units_.size())));
            return swap(what, *net, k, to, seed);
          });
        }
      outputs_.clear();
    }
  }
  Evaluation swap(const std::string& what, Net& net, i64 k, char to, u64 seed) {
    const TrainingOptions o = student_options(seed);
    const Dataset& set = set_of(to, seed);
    freeze_units(net, patterns_of(net, 0, k), policy(), set, o.loader());
    if (policy() != StatisticsPolicy::frozen) {
      train(what, net, k, student_data(net, k, set, o.loader(), policy()), o);
      return evaluate(net, measured(data_.test));
    }
    // A prefix with frozen statistics does the same to an image in every run that it is part of.
    const bool random = o.augmentation.random(set.shape()[0], set.shape()[1]);
    if (random) train(what, net, k, Data(set, o.loader()), o);
    else train(what, net, k, prefix_output(net, k, to, set, o.loader()), o);
    return evaluate(net, prefix_output(net, k, 'T', data_.test, evaluation_options(250)));
  }
  // The output of the first k units of one baseline for the images of R, S or the test set (T).
  const Data& prefix_output(Net& net, i64 k, char name, const Dataset& set, const LoaderOptions& o) {
    auto& output = outputs_[name];
    if (output && output->first() == k) return *output;
    const bool deepen = output && output->first() < k;
    set_training(net, false);
    return *(output = std::make_unique<Data>(net, k, set, o, deepen ? output.get() : nullptr));
  }

  // A network with a frozen prefix has had two trainings; what R gains from as many steps.
  void twice_as_long(u64 seed) {
    Row r = row("E3", "R", twice_the_steps, 0, seed);
    r.steps = 2 * student_steps();
    once(r, [&](const std::string& what) {
      const auto net = make_student(seed);
      return train_and_test(what, *net, data_.real, options(config_.student, r.steps, seed));
    });
  }

  // ---- E5 ---------------------------------------------------------------------------------------------------------

  // The first trained unit of a fine-tuning recipe.
  i64 first_trained(const std::string& recipe) const {
    const i64 n = i64(units_.size());
    const auto begins = [&](const std::string& group) {
      return i64(std::find_if(units_.begin(), units_.end(), [&](const std::string& unit) { return unit_group(unit) == group; }) -
                 units_.begin());
    };
    return recipe == "fc" ? n - 1 : recipe == "last group" ? begins("layer4") : recipe == "last two" ? begins("layer3") : 0;
  }

  void few_real_images(u64 seed) {
    for (i64 count : config_.counts) {
      const Dataset real = subset(data_.real, count, seed);
      for (const std::string& recipe : config_.recipes) {
        const bool scratch = recipe == "scratch", mixed = recipe == "mixed";
        const i64 k = scratch || mixed ? 0 : first_trained(recipe);
        Row r = row("E5", scratch ? "R" : "S->R", recipe, k, seed);
        r.real_count = count;
        if (!scratch) r.suffix_start = mixed ? "reinitialise" : "continue";
        RecipeConfig how = config_.finetune;
        r.steps = how.steps(count);
        if (scratch || mixed) {
          if (mixed || !config_.scratch) how.learning_rate = config_.student.learning_rate;
          if (mixed) how.batch = config_.student.batch;
          if (!config_.scratch) r.steps += student_steps();  // as many as S and its fine-tuning together
          else if (mixed) r.steps = config_.student.steps(synthetic(seed).images.size() + repeated_real(count));
          else how = *config_.scratch, r.steps = how.steps(count);
          r.steps_before = 0;
        }
        once(r, [&](const std::string& what) {
          const TrainingOptions o = options(how, r.steps, seed);
          if (scratch || mixed) return train_and_test(what, *make_student(mix64(seed)), mixed ? mixture(real, seed) : real, o);
          const auto net = baseline('S', seed);
          freeze_units(*net, patterns_of(*net, 0, k), policy(), real, o.loader());
          train(what, *net, k, student_data(*net, k, real, o.loader(), policy()), o);
          return evaluate(*net, measured(data_.test));
        });
      }
    }
  }
  // How many images the few real ones make in the mixture.
  i64 repeated_real(i64 count) const {
    return std::max(count, config_.mixed_real ? config_.mixed_real : config_.per_class * data_.test.classes() / 5);
  }
  Dataset mixture(const Dataset& real, u64 seed) const {
    return concat({synthetic(seed).images, repeat(real, repeated_real(real.size()), seed)});
  }

  // ---- E6 ---------------------------------------------------------------------------------------------------------

  void normalisations(u64 seed) {
    const Normalisation imagenet{{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
    // A grey image has the mean of the three channels.
    const Normalisation imagenet_grey{{0.449f}, {0.226f}};
    const Normalisation of_real = channel_statistics(data_.real), of_synthetic = channel_statistics(synthetic(seed).images);
    const bool colour = data_.real.shape()[2] == 3;
    const Normalisation& published = colour ? imagenet : imagenet_grey;
    struct Case {
      std::string name;
      Normalisation training, test;
    };
    for (char source : {'R', 'S'}) {
      std::vector<Case> cases{
          {"ImageNet", published, published}, {"real set", of_real, of_real}, {"synthetic set", of_synthetic, of_synthetic}};
      // For R that is the real set's once more.
      if (source == 'S') cases.push_back({"each its own", of_synthetic, of_real});
      for (const Case& c : cases)
        once(row("E6", std::string(1, source), c.name, 0, seed), [&](const std::string& what) {
          const auto net = make_student(seed);
          TrainingOptions o = student_options(seed);
          o.normalisation = c.training;
          train(what, *net, 0, Data(set_of(source, seed), o.loader()), o);
          return evaluate(*net, measured(data_.test, c.test));
        });
      Row r = row("E6", std::string(1, source), "statistics re-estimated on real", 0, seed);
      r.steps = 0, r.steps_before = student_steps();
      once(r, [&](const std::string&) {
        const auto net = baseline(source, seed);
        reestimate_statistics(*net, {"*"}, data_.real, student_options(seed).loader());
        return evaluate(*net, measured(data_.test));
      });
    }
  }

  // ---- E10 --------------------------------------------------------------------------------------------------------

  void settings(u64 seed) {
    const auto held_out = [&](Row r, const Dataset& set) {
      r.measured_on = "held-out", r.measured_count = data_.held_out.size();
      once(r, [&](const std::string& what) {
        const auto net = make_student(seed);
        const TrainingOptions o = student_options(seed);
        train(what, *net, 0, Data(set, o.loader()), o);
        return evaluate(*net, measured(data_.held_out));
      });
    };
    held_out(row("E10", "R", "", 0, seed), data_.real);
    for (const SyntheticSet& set : data_.settings) held_out(row("E10", "S", "", 0, seed, &set), set.images);
  }

  StudyConfig config_;
  StudyData data_;
  std::filesystem::path out_;
  ResultsTable& results_;
  Progress progress_;
  std::vector<std::string> units_;
  std::vector<i64> splits_;                        // of E1 to E3
  std::map<char, std::unique_ptr<Data>> outputs_;  // prefix_output
  bool counting_ = false;
  double work_ = 0;
  std::vector<Row> runs_;  // that were counted
};

}  // namespace mindgap
