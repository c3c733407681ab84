// Trains a class-conditional diffusion model on a labelled data set, from the training split alone.
//
//   train_generator --data fashion-mnist --out DIR
//
// DIR becomes a generator folder (unet/, scheduler/, classes.json) with loss.csv (a row a step), samples.png (a row a class)
// and training.txt (the command, the settings, the time). checkpoint.safetensors holds the state: the same command goes on
// where a run was stopped or killed, and ends with the same weights.
#include <mindgap/core/file.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/diffusion/trainer.hpp>

#include "common.hpp"

using namespace mindgap;

namespace {

struct Options {
  std::string data = "fashion-mnist", channels = "32,64,64", schedule = "squaredcos_cap_v2", prediction = "v_prediction";
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
  std::istringstream parts(given);
  for (std::string part; std::getline(parts, part, ',');) {
    if (part.empty() || part.size() > 5 || part.find_first_not_of("0123456789") != part.npos || std::stoll(part) < 1)
      throw UsageError("bad value for --channels: \"" + given + "\"",
                       {{"wanted", "positive numbers with commas, for example 32,64,64"}});
    out.push_back(std::stoll(part));
  }
  return out;
}

// loss.csv up to the step that training goes on from: later rows belong to steps that will be made again.
std::string loss_rows(const std::filesystem::path& file, i64 step) {
  const std::string header = "step,loss,gradient_norm,rate\n";
  if (step == 0 || !std::filesystem::exists(file)) return header;
  std::string rows = read_file(file);
  size_t end = 0;
  for (i64 line = 0; line <= step && end != rows.npos; ++line) end = rows.find('\n', end + (end > 0));
  return end == rows.npos ? rows : rows.substr(0, end + 1);
}

// A row of `columns` images a class, made with the averaged weights.
template <Device D, class P>
void write_samples(UNet2DModel<D, P>& unet, const GeneratorInfo& info, u64 seed, i64 columns, const std::filesystem::path& file) {
  SchedulerConfig scheduler = info.scheduler;
  scheduler.sampler = SamplerKind::dpmpp_2m;
  SampleRequest request;
  for (i64 label = 0; label < info.unet.null_class(); ++label)
    for (i64 index = 0; index < columns; ++index) request.labels.push_back(label), request.indices.push_back(index);
  request.seed = seed;
  request.guidance = 1.5;
  request.image = Shape<3>(info.unet.sample_size, info.unet.sample_size, info.unet.out_channels);
  request.null_class = info.unet.null_class();
  const Tensor<u8, 4, Cpu> images =
      generate(unet, Sampler(scheduler, std::min<i64>(15, scheduler.num_train_timesteps)), request, 64);
  write_file_atomic(file, encode_png(make_grid(images, columns)));
}

template <Device D, class P>
void train(const Options& o, const CommonOptions& common, const std::string& precision) {
  const Dataset data = load_dataset(o.data, "train");
  make_folder(common.out);
  const FileLock lock(common.out / ".lock", "trains in this folder");
  GeneratorTrainer<D, P> trainer(o.training, data);
  const std::filesystem::path checkpoint = common.out / "checkpoint.safetensors", losses = common.out / "loss.csv";
  if (std::filesystem::exists(checkpoint)) trainer.resume(checkpoint);
  std::string rows = loss_rows(losses, trainer.step());
  std::cerr << "train_generator: " << data.size() << " images of " << data.classes() << " classes, " << trainer.parameters()
            << " parameters, " << precision << (trainer.step() ? text(", going on from step ", trainer.step()) : "") << std::endl;

  const auto save = [&] {
    write_file_atomic(losses, rows);
    trainer.save(checkpoint);
  };
  Progress progress("train_generator", o.training.steps, trainer.step(), "steps");
  const auto start = std::chrono::steady_clock::now();
  double smooth = 0;
  while (!trainer.finished()) {
    const auto record = trainer.train_step();
    rows += text(record.step, ",", record.loss, ",", record.gradient_norm, ",", record.rate, "\n");
    smooth = smooth == 0 ? record.loss : 0.98 * smooth + 0.02 * record.loss;
    progress.update(trainer.step(), text("loss ", std::round(smooth * 1e4) / 1e4));
    if (trainer.step() % o.save_every == 0 || interrupted() || trainer.finished()) save();
    if (interrupted()) stop_interrupted(text("step ", trainer.step(), " is saved; the same command goes on from there"));
  }
  progress.finish();
  trainer.with_average([&](auto& unet) {
    save_generator(common.out, unet, trainer.info());
    if (o.preview) write_samples(unet, trainer.info(), common.seed, o.preview, common.out / "samples.png");
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_file_atomic(common.out / "training.txt",
                    text("command ", o.command, "\nversion ", version, "\ndata ", data.provenance, "\nprecision ", precision,
                         "\nseconds of the last run ", std::llround(seconds), "\n", o.training.settings(), "\n"));
  std::cout << common.out.string() << std::endl;
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
        flags.add("data", &o.data, "fashion-mnist, an IDX folder or a shard folder; its training split");
        flags.add("steps", &t.steps, "training steps", {1, 1'000'000'000});
        flags.add("batch", &t.batch, "images a step", {1, 1 << 16});
        flags.add("rate", &t.rate, "peak learning rate of AdamW", {1e-9, 1});
        flags.add("warmup", &t.warmup, "steps until the peak rate", {0, 1'000'000'000});
        flags.add("weight-decay", &t.weight_decay, "of matrices", {0, 10});
        flags.add("ema", &t.ema_decay, "decay of the weights' average", {0, 0.999999});
        flags.add("label-dropout", &t.label_dropout, "share of images trained without class", {0, 1});
        flags.add("channels", &o.channels, "of each resolution, from the finest");
        flags.add("layers", &t.layers_per_block, "residual blocks a resolution", {1, 16});
        flags.add("groups", &t.groups, "of the group norms", {1, 1024});
        flags.add("head", &t.head, "size of an attention head", {1, 1024});
        flags.add("no-attention", &o.no_attention, "no attention at the coarsest resolution");
        flags.add("no-flip", &o.no_flip, "do not mirror images at random");
        flags.add("schedule", &o.schedule, "linear, scaled_linear or squaredcos_cap_v2");
        flags.add("prediction", &o.prediction, "epsilon, sample or v_prediction");
        flags.add("save-every", &o.save_every, "steps between checkpoints", {1, 1'000'000'000});
        flags.add("preview", &o.preview, "images a class in samples.png; 0 for none", {0, 64});
        flags.require("out");
      },
      [&](const CommonOptions& common) {
        t.seed = common.seed;
        t.flip = !o.no_flip;
        t.attention = !o.no_attention;
        t.channels = parse_channels(o.channels);
        t.schedule = by_name("schedule", o.schedule, BetaSchedule::squaredcos_cap_v2);
        t.prediction = by_name("prediction", o.prediction, Prediction::v_prediction);
        check_flags([&] { t.check(); });
        const std::string precision = usable_precision(common);
        with_device(common, [&]<class D>(D) {
          with_precision(precision, [&]<class T>(T) { train<D, Precision<T>>(o, common, precision); });
        });
      });
}
