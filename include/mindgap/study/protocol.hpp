// The experiments: which students are trained on what, and what is shared between them.
//
//   E0  baselines R and S, each trained once a seed and kept in <out>/students
//   E1  S[0:k) -> R[k:n)   the prefix of S frozen, the rest trained on real images       E2  the reverse
//   E3  S -> S and R -> R  the same freezing without a change of source
//   E5  few real images: fine-tuning S from unit k on, from scratch, and mixed with the synthetic set
//   E6  normalisation of the input, and batch norm statistics re-estimated on real images
//
// Every run is a row; a row that is already in the table is not run again. All runs of E0 to E4 have the same number of
// steps, the same schedule and the same test images; the seed of a run varies the student's initial weights and order.
#pragma once

#include <mindgap/data/statistics.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/study/config.hpp>
#include <mindgap/study/results.hpp>
#include <mindgap/study/training.hpp>

#include <chrono>
#include <functional>

namespace mindgap {

// What a study works on.
struct StudyData {
  Dataset real, synthetic, test;  // equal counts a class in the first two
  Dataset real_pool;              // all real training images, which E5's subsets are drawn from
};

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
  }

  // All runs of the configuration, seed by seed, so that a study that is stopped early has whole seeds.
  void run() {
    for (u64 seed : config_.seeds)
      for (const std::string& experiment : config_.experiments) {
        if (experiment == "E0") baselines(seed);
        if (experiment == "E1") swaps(experiment, 'S', 'R', seed);
        if (experiment == "E2") swaps(experiment, 'R', 'S', seed);
        if (experiment == "E3") swaps(experiment, 'S', 'S', seed), swaps(experiment, 'R', 'R', seed);
        if (experiment == "E5") few_real_images(seed);
        if (experiment == "E6") normalisations(seed);
      }
  }

  // Confusion of a baseline on the test images, of the first seed.
  std::vector<std::vector<i64>> confusion(char source) {
    const auto net = baseline(source, config_.seeds[0]);
    return evaluate(*net, test_data(*net, 0, options(config_.student, config_.seeds[0]).normalisation)).confusion;
  }

  // The work of all runs that are not in the table yet.
  double remaining_work() {
    counting_ = true;
    work_ = 0;
    run();
    counting_ = false;
    return std::exchange(work_, 0);
  }

 private:
  using Net = ResNet<D, P>;
  using NetPointer = std::unique_ptr<Net>;

  NetPointer make_student(u64 seed) const {
    return std::make_unique<Net>(
        ResNetConfig::make(config_.model, config_.width, data_.real.images.extent(3), data_.real.classes(), Stem::small), seed);
  }
  StatisticsPolicy policy() const { return statistics_policy(config_.statistics); }
  const Dataset& set_of(char source) const { return source == 'R' ? data_.real : data_.synthetic; }

  TrainingOptions options(const RecipeConfig& recipe, u64 seed) const {
    TrainingOptions o;
    o.epochs = recipe.epochs;
    o.batch = recipe.batch;
    o.minimum_steps = recipe.minimum_steps;
    o.rate = recipe.rate;
    o.weight_decay = config_.weight_decay;
    o.label_smoothing = config_.label_smoothing;
    o.warmup = config_.warmup;
    o.schedule = Schedule::kind_of(config_.schedule);
    o.seed = seed;
    o.augmentation.flip = config_.flip;
    o.augmentation.shift = config_.shift;
    return o;
  }

  StudentData<D, P> test_data(Net& net, i64 first, const Normalisation& normalisation) const {
    const LoaderOptions plain = evaluation_options(250, {}, normalisation);
    if (first == 0) return StudentData<D, P>(data_.test, plain);
    set_training(net, false);
    return StudentData<D, P>(net, first, data_.test, plain);
  }

  // Trains units [first, n) of the net, whose prefix is frozen by now, and evaluates it.
  Evaluation train(const std::string& what, Net& net, i64 first, const Dataset& set, const TrainingOptions& o) {
    const StudentData<D, P> data = student_data(net, first, set, o.loader(), policy());
    StudentRun<D, P> run(net, data, o);
    const double before = work_, whole = double(net.unit_count() - first) / double(net.unit_count());
    while (run.done() < run.steps()) {
      run.step();
      work_ = before + whole * double(run.done());
      progress_(what, work_);
    }
    check_finite(net, text("lower the rate (", o.rate, ") in the study's configuration"));
    return evaluate(net, test_data(net, 0, o.normalisation));
  }

  // Runs `compute` unless the table has the row; `row` says what is run, `recipe` and `images` how long it takes.
  template <class Compute>
  void once(Row row, const RecipeConfig& recipe, i64 images, Compute&& compute) {
    row.device = D::name;
    row.precision = precision_name<D, P>();
    if (results_.find(row)) return;
    if (counting_) {
      const i64 steps = std::max(recipe.epochs * ((images + recipe.batch - 1) / recipe.batch), recipe.minimum_steps);
      work_ += double(steps) * double(i64(units_.size()) - row.frozen_units) / double(units_.size());
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
           (row.experiment == "E5" ? " " + std::to_string(row.real_count) : "") + " seed " + std::to_string(row.seed);
  }
  Row row(const std::string& experiment, const std::string& direction, const std::string& split, i64 frozen, u64 seed,
          i64 epochs) const {
    Row r;
    r.experiment = experiment, r.direction = direction, r.split = split;
    r.frozen_units = frozen;
    r.seed = seed, r.epochs = epochs;
    if (frozen) r.policy = config_.statistics;
    if (direction.size() > 1) r.suffix_start = config_.suffix_start;
    r.real_count = direction.find('R') != direction.npos ? data_.real.size() : 0;
    r.synthetic_count = direction.find('S') != direction.npos ? data_.synthetic.size() : 0;
    return r;
  }

  // ---- E0 ---------------------------------------------------------------------------------------------------------

  std::filesystem::path student_file(char source, u64 seed) const {
    return out_ / "students" / (std::string(1, source) + "-" + std::to_string(seed) + ".safetensors");
  }
  void baselines(u64 seed) {
    for (char source : {'R', 'S'})
      once(row("E0", std::string(1, source), "", 0, seed, config_.student.epochs), config_.student, set_of(source).size(),
           [&](const std::string& what) {
             const auto net = make_student(seed);
             const Evaluation e = train(what, *net, 0, set_of(source), options(config_.student, seed));
             save(*net, student_file(source, seed));
             return e;
           });
  }
  NetPointer baseline(char source, u64 seed) {
    const auto file = student_file(source, seed);
    if (!std::filesystem::exists(file))
      throw Error(text("study: the student ", source, " of seed ", seed, " is missing"),
                  {{"file", file.string()}, {"remedy", "put E0 first in experiments, or remove results.csv to run it again"}});
    auto net = make_student(seed);
    load(*net, file);
    return net;
  }

  // ---- E1 to E3 ---------------------------------------------------------------------------------------------------

  void swaps(const std::string& experiment, char from, char to, u64 seed) {
    const std::string direction = std::string(1, from) + "->" + to;
    for (i64 k : splits(units_, config_.by_unit)) {
      const std::string& last = units_[size_t(k - 1)];
      const std::string split = config_.by_unit ? last : unit_group(last);
      once(row(experiment, direction, split, k, seed, config_.student.epochs), config_.student, set_of(to).size(),
           [&](const std::string& what) {
             const auto net = baseline(from, seed);
             // Fresh weights of the suffix come from another seed than those that the source started with.
             if (config_.suffix_start == "reinitialise")
               reinitialise(*net, mix64(seed), patterns_of(*net, k, i64(units_.size())));
             const TrainingOptions o = options(config_.student, seed);
             freeze_units(*net, patterns_of(*net, 0, k), policy(), set_of(to), o.loader());
             return train(what, *net, k, set_of(to), o);
           });
    }
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
      const Dataset real = subset(data_.real_pool, count, seed);
      for (const std::string& recipe : config_.recipes) {
        const bool scratch = recipe == "scratch", mixed = recipe == "mixed";
        const RecipeConfig& how = scratch ? config_.scratch : mixed ? config_.student : config_.finetune;
        const i64 k = scratch || mixed ? 0 : first_trained(recipe);
        Row r = row("E5", scratch ? "R" : "S->R", recipe, k, seed, how.epochs);
        r.real_count = count;
        if (!scratch) r.suffix_start = mixed ? "reinitialise" : "continue";
        const i64 images = mixed ? data_.synthetic.size() + repeated_real(count) : count;
        once(r, how, images, [&](const std::string& what) {
          const TrainingOptions o = options(how, seed);
          if (scratch || mixed) {
            const auto net = make_student(mix64(seed));
            return train(what, *net, 0, mixed ? mixture(real, seed) : real, o);
          }
          const auto net = baseline('S', seed);
          freeze_units(*net, patterns_of(*net, 0, k), policy(), real, o.loader());
          return train(what, *net, k, real, o);
        });
      }
    }
  }
  // How many images the few real ones make in the mixture.
  i64 repeated_real(i64 count) const {
    return std::max(count, config_.mixed_real ? config_.mixed_real : data_.synthetic.size() / 5);
  }
  Dataset mixture(const Dataset& real, u64 seed) const {
    return concat({data_.synthetic, repeat(real, repeated_real(real.size()), seed)});
  }

  // ---- E6 ---------------------------------------------------------------------------------------------------------

  void normalisations(u64 seed) {
    const Normalisation imagenet{{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
    // A grey image has the mean of the three channels.
    const Normalisation imagenet_grey{{0.449f}, {0.226f}};
    const Normalisation of_real = channel_statistics(data_.real), of_synthetic = channel_statistics(data_.synthetic);
    const bool colour = data_.real.images.extent(3) == 3;
    struct Case {
      std::string name;
      Normalisation training, test;
    };
    for (char source : {'R', 'S'}) {
      const Normalisation& own = source == 'R' ? of_real : of_synthetic;
      const Normalisation& published = colour ? imagenet : imagenet_grey;
      for (const Case& c : {Case{"ImageNet", published, published}, Case{"real set", of_real, of_real},
                            Case{"synthetic set", of_synthetic, of_synthetic}, Case{"each its own", own, of_real}})
        once(row("E6", std::string(1, source), c.name, 0, seed, config_.student.epochs), config_.student, set_of(source).size(),
             [&](const std::string& what) {
               const auto net = make_student(seed);
               TrainingOptions o = options(config_.student, seed);
               o.normalisation = c.training;
               train(what, *net, 0, set_of(source), o);
               return evaluate(*net, test_data(*net, 0, c.test));
             });
      once(row("E6", std::string(1, source), "statistics re-estimated on real", 0, seed, config_.student.epochs),
           RecipeConfig{0, 1, 0, 0}, 0, [&](const std::string&) {
             const auto net = baseline(source, seed);
             const TrainingOptions o = options(config_.student, seed);
             reestimate_statistics(*net, {"*"}, data_.real, o.loader());
             return evaluate(*net, test_data(*net, 0, o.normalisation));
           });
    }
  }

  StudyConfig config_;
  StudyData data_;
  std::filesystem::path out_;
  ResultsTable& results_;
  Progress progress_;
  std::vector<std::string> units_;
  bool counting_ = false;
  double work_ = 0;
};

}  // namespace mindgap
