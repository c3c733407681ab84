// Trains a class-conditional diffusion model on a labelled data set, from the training split alone.
//
//   train_generator --data fashion-mnist --out DIR
//
// DIR becomes a generator folder (unet/, scheduler/, classes.json) with loss.csv (a row a step), samples.png (a row a class)
// and training.txt (the command and the settings). checkpoint.safetensors holds the state: the same command goes on
// where a run was stopped or killed, and ends with the same weights.
#include <mindgap/diffusion/jobs.hpp>

#include "common.hpp"

using namespace mindgap;

namespace {

struct Options {
  std::string data = "fashion-mnist", split = "train", channels = "32,64,64", schedule = "squaredcos_cap_v2",
              prediction = "v_prediction";
  GeneratorTraining training;
  i64 save_every = 250, preview = 8;
  bool no_flip = false, no_attention = false;
  std::string command;
};

template <class E>
E by_name(const std::string& flag, const std::string& given, E last) {
  std::string known;
  for (int i = 0; i <= int(last); ++i) {
    if (given == name(E(i))) return E(i);
    known += (i ? ", " : "") + std::string(name(E(i)));
  }
  throw UsageError("bad value for --" + flag + ": \"" + given + "\"", {{"wanted", known}});
}

std::vector<i64> parse_channels(const std::string& given) {
  std::vector<i64> out;
  std::istringstream parts(given + (given.ends_with(',') ? "," : ""));  // an empty last part is one, too
  for (std::string part; std::getline(parts, part, ',');) {
    if (part.empty() || part.size() > 5 || part.find_first_not_of("0123456789") != part.npos || std::stoll(part) < 1)
      throw UsageError("bad value for --channels: \"" + given + "\"",
                       {{"wanted", "positive numbers with commas, for example 32,64,64"}});
    out.push_back(std::stoll(part));
  }
  return out;
}

template <Device D, class P>
void train(const Options& o, const CommonOptions& common) {
  const std::string precision = precision_name<D, P>();
  const Dataset data = load_dataset(o.data, o.split);
  const bool square = data.shape()[0] == data.shape()[1];  // if not, the data are at fault, not the flags
  if (square) check_flags([&] { return o.training.info(data); });
  std::cerr << "train_generator: " << data.size() << " images of " << data.classes() << " classes, " << precision << std::endl;
  std::optional<Progress> progress;
  JobHooks hooks;
  hooks.stop = interrupted;
  hooks.progress = [&](i64 done, i64 total, const std::string& note) {
    if (!progress) progress.emplace("train_generator", total, done, "steps");
    progress->update(done, note);
  };
  if (!train_generator<D, P>(o.training, data, {common.out, o.save_every, o.preview, o.command, precision}, hooks))
    stop_interrupted("every step is saved; the same command goes on from there");
  progress->finish();
  print(common.out.string() + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  GeneratorTraining& t = o.training;
  for (int i = 0; i < argc; ++i)
    o.command += (i ? " " : "") + (i ? std::string(argv[i]) : std::filesystem::path(argv[0]).filename().string());
  return run_app(
      argc, argv, "train_generator", "Trains a class-conditional diffusion model; run it again to go on after an interruption.",
      [&](Flags& flags) {
        flags.add("data", &o.data, "fashion-mnist, an IDX folder or a shard folder");
        flags.add("split", &o.split, "train, or fit: without the tenth that is held out for choices");
        flags.add("steps", &t.steps, "training steps", {1, 1'000'000'000});
        flags.add("batch", &t.batch, "images a step", {1, 1 << 16});
        flags.add("lr", &t.learning_rate, "peak learning rate of AdamW", {1e-9, 1});
        flags.add("warmup", &t.warmup, "steps until the peak, or below 1 their share", {0, 1e9});
        flags.add("weight-decay", &t.weight_decay, "of matrices", {0, 10});
        flags.add("ema", &t.ema_decay, "decay of the weights' average", {0, 0.999999});
        flags.add("label-dropout", &t.label_dropout, "share of images trained without class", {0, 1});
        flags.add("channels", &o.channels, "of each resolution, from the finest");
        flags.add("layers", &t.layers_per_block, "residual blocks a resolution", {1, 16});
        flags.add("groups", &t.groups, "of the group norms", {1, 1024});
        flags.add("head", &t.head, "size of an attention head", {1, 1024});
        flags.add("no-attention", &o.no_attention, "no attention at the coarsest resolution");
        flags.add("no-flip", &o.no_flip, "do not mirror images at random");
        flags.add("beta-schedule", &o.schedule, "linear, scaled_linear or squaredcos_cap_v2");
        flags.add("prediction", &o.prediction, "epsilon, sample or v_prediction");
        flags.add("save-every", &o.save_every, "steps between checkpoints", {1, 1'000'000'000});
        flags.add("preview", &o.preview, "images a class in samples.png; 0 for none", {0, 64});
        for (const auto& [older, name] : {std::pair{"rate", "lr"}, {"schedule", "beta-schedule"}}) flags.alias(older, name);
        flags.require("out");
      },
      [&](const CommonOptions& common) {
        check_training_split(o.split);
        t.seed = common.seed;
        t.flip = !o.no_flip;
        t.attention = !o.no_attention;
        if (o.no_attention && common.given.count("head"))
          throw UsageError("--head with --no-attention", {{"remedy", "leave one of them out: only attention has heads"}});
        t.channels = parse_channels(o.channels);
        t.schedule = by_name("beta-schedule", o.schedule, BetaSchedule::squaredcos_cap_v2);
        t.prediction = by_name("prediction", o.prediction, Prediction::v_prediction);
        check_flags([&] { t.check(); });
        with_types(common, [&]<class D, class P>(D, P) { train<D, P>(o, common); });
      });
}
