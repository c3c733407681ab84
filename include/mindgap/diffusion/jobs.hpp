// The two long jobs of a generator, each resumable at any moment: train one into a folder, and write a synthetic set with one, or
// with any other ImageMaker.
// The apps train_generator and sample are these with flags; the study calls the same functions.
//
//   train_generator      checkpoint.safetensors and loss.csv (a row a step) every so many steps; at the end unet/, scheduler/,
//                        classes.json, samples.png (a row a class) and training.txt (how it was made)
//   write_synthetic_set  chunk after chunk of a shard folder (data/shards.hpp), and at the end its list of lines, where it has
//   them
//
// Both ask `stop` between any two pieces of work, of which a step of a sampler is one, and return false when it said yes: what is
// done by then, steps of training and whole chunks, is kept on disk.
#pragma once

#include <mindgap/core/stop.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/diffusion/trainer.hpp>

namespace mindgap {

struct JobHooks {
  // done of total, and something to say about it: "loss 0.0412".
  std::function<void(i64 done, i64 total, const std::string& note)> progress = [](i64, i64, const std::string&) {};
  std::function<bool()> stop = [] { return false; };
};

// f(); false where `stop` ended it at one of the places where work can be left (core/stop.hpp).
template <class F>
bool unless_stopped(const std::function<bool()>& stop, F&& f) {
  struct Stopped {};
  const StopHook hook([&] {
    if (stop()) throw Stopped();
  });
  try {
    f();
  } catch (const Stopped&) {
    return false;
  }
  return true;
}

struct GeneratorOutput {
  std::filesystem::path folder;
  i64 save_every = 250;   // steps between checkpoints
  i64 preview = 8;        // images a class in samples.png
  std::string command;    // for training.txt
  std::string precision;  // likewise
};

// `columns` images of each class, a row a class: 15 steps, guidance 1.5 where the model has one.
template <Device D, class P>
Tensor<u8, 3, Cpu> sample_grid(const UNet2DModel<D, P>& unet, const GeneratorInfo& info, u64 seed, i64 columns) {
  SchedulerConfig scheduler = info.scheduler;
  // DPM-Solver++ cannot start a model that predicts noise where hardly any image is left; DDIM can.
  scheduler.sampler = scheduler.prediction_type == Prediction::epsilon ? SamplerKind::ddim : SamplerKind::dpmpp_2m;
  std::vector<ImageKey> keys;
  for (i64 label = 0; label < info.classes(); ++label)
    for (i64 index = 0; index < columns; ++index) keys.push_back({seed, label, index});
  const Sampler sampler(scheduler, std::min<i64>(15, scheduler.num_train_timesteps));
  const double guidance = info.classes() < info.unet.num_class_embeds ? 1.5 : 1;
  return make_grid(GeneratedImages<D, P>(unet, info, sampler, guidance, 64)(keys), columns);
}

// Trains, or goes on training, and writes the folder. False: stopped; the checkpoint has every step that was made.
template <Device D, class P>
bool train_generator(const GeneratorTraining& options, const Dataset& data, const GeneratorOutput& out,
                     const JobHooks& hooks = {}) {
  Library<D>::begin_plan_use();
  GeneratorTrainer<D, P> trainer(options, data);  // refuses bad options before anything is written
  const ResultFolder folder(out.folder);
  const FileLock lock(out.folder / ".lock", "trains in this folder");
  const std::filesystem::path checkpoint = out.folder / "checkpoint.safetensors", losses = out.folder / "loss.csv";
  if (std::filesystem::exists(checkpoint)) trainer.resume(checkpoint);
  Trainer<D>& run = trainer.run;
  std::string rows = first_rows(losses, "step,loss,gradient_norm,rate\n", run.done());
  hooks.progress(run.done(), options.steps, "");
  double smooth = 0;
  const auto keep = [&](const std::vector<TrainingRecord>& records) {
    for (const TrainingRecord& record : records) {
      rows += text(record.step, ",", record.loss, ",", record.gradient_norm, ",", record.learning_rate, "\n");
      smooth = smooth == 0 ? record.loss : 0.98 * smooth + 0.02 * record.loss;
    }
  };
  while (!run.finished()) {
    keep(run.step());
    hooks.progress(run.done(), options.steps, smooth == 0 ? "" : text("loss ", std::round(smooth * 1e4) / 1e4));
    const bool stop = hooks.stop();
    if (run.done() % out.save_every == 0 || stop || run.finished()) {
      keep(run.wait());
      write_file_atomic(losses, rows);
      trainer.save(checkpoint);
    }
    if (stop) return false;
  }
  const bool finished = unless_stopped(hooks.stop, [&] {
    run.with_average([&] {
      auto& unet = trainer.unet();
      check_finite(unet, text("use a lower learning rate than ", options.learning_rate));
      save_generator(out.folder, unet, trainer.info());
      if (out.preview)
        write_file_atomic(out.folder / "samples.png", encode_png(sample_grid(unet, trainer.info(), options.seed, out.preview)));
    });
  });
  if (!finished) return false;
  const std::string plans = Library<D>::plan_hash();
  const auto line = [](const std::string& one) { return detail::escaped(one, one.size()); };  // a path may have line ends
  write_file_atomic(out.folder / "training.txt",
                    text("command ", line(out.command), "\nversion ", version, "\ndata ", line(data.provenance), "\nimages ",
                         data.size(), "\nimages_hash ", content_hash(data), "\nprecision ", out.precision, "\n",
                         options.settings(), "\n", plans.empty() ? "" : "plans " + plans + "\n"));
  return true;
}

// The manifest of a set that `make` makes.
template <ImageMaker M>
ShardManifest synthetic_manifest(const M& make, i64 per_class, u64 seed) {
  ShardManifest out = make.manifest();
  out.images_per_class = per_class;
  out.seed = seed;
  return out;
}

// Makes what the writer's part of the set still lacks. False: stopped; whole chunks are kept. Throws where the writer's set is
// not one that `make` makes.
template <ImageMaker M>
bool write_synthetic_set(M& make, const ShardWriter& writer, const JobHooks& hooks = {}) {
  using D = typename M::device;
  const ShardManifest& manifest = writer.manifest();
  ShardManifest own = synthetic_manifest(make, manifest.images_per_class, manifest.seed);
  own.chunk_size = manifest.chunk_size;
  if (own != manifest)
    throw Error("synthetic set: the manifest is not that of what makes the images",
                {{"generator", text(own.generator, ", the manifest has ", manifest.generator)},
                 {"remedy", "begin the set with synthetic_manifest()"}});
  Library<D>::begin_plan_use();
  i64 done = writer.part_images() - writer.pending_images();
  hooks.progress(done, writer.part_images(), "");
  const bool finished = unless_stopped(hooks.stop, [&] {
    for (const PendingChunk& chunk : writer.pending()) {
      std::vector<Fields> fields;
      const Tensor<u8, 4, Cpu> images(Shape<4>(chunk.end - chunk.begin, manifest.height, manifest.width, manifest.channels));
      for (i64 begin = chunk.begin; begin < chunk.end; begin += make.batch()) {
        StopHook::ask();
        const i64 end = std::min<i64>(begin + make.batch(), chunk.end);
        std::vector<ImageKey> keys;
        for (i64 position = begin; position < end; ++position)
          keys.push_back({manifest.seed, manifest.label(position), manifest.index(position)});
        const MadeImages made = make(keys);
        images.slice(begin - chunk.begin, end - chunk.begin).copy_from(made.pixels);
        fields.insert(fields.end(), made.fields.begin(), made.fields.end());
        hooks.progress(done += end - begin, writer.part_images(), "");
      }
      writer.write(chunk, images, Library<D>::plan_hash(), fields);
    }
  });
  if (finished) writer.finish();
  return finished;
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/diffusion/jobs_instances.hpp>
#endif
