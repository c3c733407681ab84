// Trains a student on a data set, or on a mixture of several, and leaves a folder that `evaluate` reads.
//
//   train_student --data fashion-mnist --model resnet18 --width 16 --epochs 8 --out DIR
//   train_student --data real --data synthetic --mix 0.5 ...        half of the images from each
//   train_student --init DIR0/model.safetensors --freeze stem --freeze layer1 --reinitialise fc ...
//
// DIR receives model.safetensors, student.json and loss.csv; checkpoint.safetensors holds the state of an unfinished run:
// the same command goes on where it was stopped or killed, and ends with the same weights.
#include <mindgap/data/subset.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/study/student.hpp>

#include "common.hpp"
#include <cmath>

using namespace mindgap;

namespace {

struct Options {
  std::vector<std::string> data, freeze, reinitialise;
  double mix = 0.5, warmup = Schedule::usual_warmup(Schedule::Kind::cosine);
  i64 subset = 0, width = 16, save_every = 500, shift = 2;
  bool no_flip = false;
  std::string split = "train", model = "resnet18", stem = "small", statistics = "frozen", schedule = "cosine", init;
  TrainingOptions training;
};

// The share of the second of two sets, and what it does to them.
Dataset mixture(const Options& o, const std::vector<Dataset>& sets, u64 seed) {
  const std::vector<double> shares{1 - o.mix, o.mix};
  const std::vector<i64> counts = check_flags([&] { return mixture_counts(sets, shares); });
  for (size_t k = 0; k < 2; ++k) {
    if (counts[k] > sets[k].size())
      std::cerr << "train_student: the " << sets[k].size() << " images of " << o.data[k] << " are repeated to " << counts[k]
                << std::endl;
    if (counts[k] == 0) std::cerr << "train_student: --mix " << o.mix << " takes no image of " << o.data[k] << std::endl;
  }
  return mix(sets, shares, seed);
}

Dataset load(const Options& o, const CommonOptions& common) {
  std::vector<Dataset> sets;
  bool real = false;
  for (const std::string& spec : o.data) {
    const bool generated = std::filesystem::exists(std::filesystem::path(spec) / "dataset.json");
    sets.push_back(load_dataset(spec, generated ? "train" : o.split));
    real |= !generated;
  }
  if (!real && common.given.count("split"))
    throw UsageError("--split is of real images, and all images are generated", {{"remedy", "leave it out"}});
  const Dataset data = sets.size() == 1 ? sets[0] : mixture(o, sets, common.seed);
  return o.subset ? check_flags([&] { return subset(data, o.subset, common.seed); }) : data;
}

// Where the weights are a student's, and its classifier is kept, each of its outputs must stand for the class that the data have
// there.
void check_init_classes(const std::filesystem::path& init, const Dataset& data, const std::vector<std::string>& fresh) {
  const auto folder = init.parent_path();
  if (matches_any(fresh, "fc.weight") || !std::filesystem::exists(folder / "student.json")) return;
  try {
    check_same_classes("--init is of other classes than the data, or of the same in another order", "--init " + init.string(),
                       read_student_info(folder).class_names, "data", data.class_names);
  } catch (const Error& error) {
    throw Error(error, {"or", "--reinitialise fc: the classifier then starts afresh"});
  }
}

// What the run must agree with to be continued: files by their contents, wherever they lie and however they are named.
std::string settings(const Options& o, const CommonOptions& common, const std::string& precision, const Dataset& data) {
  const TrainingOptions& t = o.training;
  const auto joined = [](const std::vector<std::string>& list) {
    std::string out;
    for (const std::string& item : list) out += (out.empty() ? "" : " ") + item;
    return out;
  };
  std::string init;
  if (!o.init.empty())
    for (const auto& file : safetensors_files(o.init)) init += (init.empty() ? "" : " ") + sha256(read_file(file));
  return text("images ", content_hash(data), "\nfreeze ", joined(o.freeze), "\nreinitialise ", joined(o.reinitialise), "\nmix ",
              exact(o.mix), "\nsubset ", o.subset, "\nmodel ", o.model, "\nwidth ", o.width, "\nstem ", o.stem, "\nstatistics ",
              o.statistics, "\ninit ", init, "\nepochs ", t.epochs, "\nbatch ", t.batch, "\nrate ", exact(t.learning_rate),
              "\nweight-decay ", exact(t.weight_decay), "\nlabel-smoothing ", exact(t.label_smoothing), "\nclip ",
              exact(t.gradient_clip), "\nwarmup ", exact(t.chosen_warmup()), "\nschedule ", o.schedule, "\nflip ", !o.no_flip,
              "\nshift ", o.shift, "\nseed ", common.seed, "\nprecision ", precision);
}

template <Device D, class P>
void train(Options o, const CommonOptions& common) {
  const std::string precision = precision_name<D, P>();
  Library<D>::begin_plan_use();
  const StopHook hook([] {
    if (interrupted()) stop_interrupted("no step was made");
  });
  const Dataset data = load(o, common);
  const Stem stem = o.stem == "large" ? Stem::large : Stem::small;
  const auto config = check_flags([&] { return ResNetConfig::make(o.model, o.width, data.shape()[2], data.classes(), stem); });
  ResNet<D, P> net(config);
  if (o.init.empty()) initialise(net, common.seed);
  std::vector<std::string> fresh;
  if (!o.reinitialise.empty())
    fresh = check_flags([&] { return reinitialise(net, mix64(common.seed), patterns_of(net, o.reinitialise)); });
  if (!o.init.empty()) {
    check_init_classes(o.init, data, fresh);
    make_masters(net), load(net, o.init, fresh);
  }
  TrainingOptions& t = o.training;
  if (!o.freeze.empty()) check_flags([&] { return freeze(net, patterns_of(net, o.freeze)); });
  const i64 first = freeze_units(net, o.freeze, statistics_policy(o.statistics), data, t.loader());  // may read the images
  const StudentData<D, P> batches = student_data(net, first, data, t.loader(), statistics_policy(o.statistics));
  auto trainer = check_flags([&] { return student_trainer(net, batches, t); });

  // Nothing is written before everything is known to be good.
  const ResultFolder folder(common.out);
  const FileLock lock(common.out / ".lock", "trains in this folder");
  const auto checkpoint = common.out / "checkpoint.safetensors", losses = common.out / "loss.csv";
  const std::string state = settings(o, common, precision, data);
  if (std::filesystem::exists(checkpoint)) trainer.resume(checkpoint, state);
  std::cerr << "train_student: " << data.size() << " images of " << data.classes() << " classes, " << count_parameters(net)
            << " parameters, " << precision << (trainer.done() ? text(", going on from step ", trainer.done()) : "") << std::endl;

  std::string rows = first_rows(losses, "step,loss,rate\n", trainer.done()), note;
  const auto keep = [&](const std::vector<TrainingRecord>& records) {
    for (const TrainingRecord& r : records) rows += text(r.step, ",", r.loss, ",", r.learning_rate, "\n");
    if (!records.empty()) note = text("loss ", std::round(records.back().loss * 1e3) / 1e3);
  };
  const auto save_all = [&] {
    keep(trainer.wait());
    check_finite(net, text("lower --lr (", t.learning_rate, ")"));
    write_file_atomic(losses, rows);
    trainer.save(checkpoint, state);
  };
  Progress progress("train_student", trainer.steps(), trainer.done(), "steps");
  while (!trainer.finished()) {
    keep(trainer.step());
    progress.update(trainer.done(), note);
    if (trainer.done() % o.save_every == 0 || interrupted() || trainer.finished()) save_all();
    if (interrupted()) stop_interrupted(text("step ", trainer.done(), " is saved; the same command goes on from there"));
  }
  progress.finish();
  save_student(common.out, net, StudentInfo{config, data.class_names, t.normalisation, Library<D>::plan_hash()});
  print(common.out.string() + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  TrainingOptions& t = o.training;
  return run_app(
      argc, argv, "train_student", "Trains a student; run it again to go on after an interruption.",
      [&](Flags& flags) {
        flags.add("data", &o.data, "fashion-mnist, an IDX folder or a shard folder; twice for a mixture");
        flags.add("split", &o.split, "of real images: train, or fit: without the tenth that is held out for choices");
        flags.add("mix", &o.mix, "share of the second data set", {0, 1});
        flags.add("subset", &o.subset, "train on so many images, the same number of each class; 0 for all", {0, 1'000'000'000});
        flags.add("model", &o.model, "resnet18, resnet34, resnet50, resnet101 or resnet152");
        flags.add("width", &o.width, "channels of the first stage", {1, 4096});
        flags.add("stem", &o.stem, "small (3x3) or large (7x7, max-pool)");
        flags.add("init", &o.init, "start from these weights (model.safetensors of a student)");
        flags.add("freeze", &o.freeze, "pattern of layers, or \"stem\"; may be given several times");
        flags.add("statistics", &o.statistics, "of frozen batch norms: frozen, live or reestimated");
        flags.add("reinitialise", &o.reinitialise,
                  "pattern of layers that start afresh, whatever --init has of them; may be given several times");
        flags.add("epochs", &t.epochs, "passes over the data", {1, 1'000'000});
        flags.add("batch", &t.batch, "images a step", {2, 1 << 16});
        flags.add("lr", &t.learning_rate, "peak learning rate", {1e-9, 100});
        flags.add("lr-schedule", &o.schedule, "cosine, constant, step or one_cycle");
        flags.add("warmup", &o.warmup, "steps until the peak, or below 1 their share; none with one_cycle, which has its own",
                  {0, 1e9});
        flags.add("weight-decay", &t.weight_decay, "of matrices", {0, 10});
        flags.add("label-smoothing", &t.label_smoothing, "0 to 1", {0, 1});
        flags.add("clip", &t.gradient_clip, "joint norm of the gradients; 0 for none", {0, 1e9});
        flags.add("shift", &o.shift, "pixels that images are moved by at random", {0, 64});
        flags.add("no-flip", &o.no_flip, "do not mirror images at random");
        flags.add("save-every", &o.save_every, "steps between checkpoints", {1, 1'000'000'000});
        for (const auto& [older, name] : {std::pair{"rate", "lr"}, {"schedule", "lr-schedule"}}) flags.alias(older, name);
        for (const char* needed : {"data", "out"}) flags.require(needed);
      },
      [&](const CommonOptions& common) {
        if (o.data.size() > 2) throw UsageError("--data is given more than twice", {{"remedy", "mix two sets into one first"}});
        if (o.data.size() == 1 && common.given.count("mix"))
          throw UsageError("--mix with one --data", {{"remedy", "give --data twice, or leave --mix out"}});
        if (o.freeze.empty() && common.given.count("statistics"))
          throw UsageError("--statistics without --freeze", {{"remedy", "it is of frozen layers: freeze some, or leave it out"}});
        check_training_split(o.split);
        if (o.stem != "small" && o.stem != "large")
          throw UsageError("bad value for --stem: \"" + o.stem + "\"", {{"wanted", "small or large"}});
        check_flags([&] { return warmup_steps(o.warmup, 1), statistics_policy(o.statistics); });
        t.schedule = check_flags([&] { return Schedule::kind_of(o.schedule); });
        if (common.given.count("warmup")) t.warmup = o.warmup;
        if (t.schedule == Schedule::Kind::one_cycle && t.chosen_warmup() != 0)
          throw UsageError("--warmup with --lr-schedule one_cycle, which has a warm-up of its own",
                           {{"remedy", "leave --warmup out, or use another --lr-schedule"}});
        t.augmentation = {!o.no_flip, o.shift, 0, 0};
        t.seed = common.seed;
        with_types(common, [&]<class D, class P>(D, P) { train<D, P>(o, common); });
      });
}
