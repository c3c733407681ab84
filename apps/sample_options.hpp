// The flags of sample, and what several of them come to.
#pragma once

#include <mindgap/data/resample.hpp>
#include <mindgap/diffusion/jobs.hpp>
#include <mindgap/diffusion/samplers.hpp>

#include "common.hpp"

namespace mindgap {

struct SampleOptions {
  std::filesystem::path model;
  i64 per_class = 0, steps = 15, batch = 64;
  double guidance = 1.5, guidance_rescale = 0, eta = 0;
  std::string sampler = "dpmpp_2m", spacing, sigmas, shard = "0/1";
  // Of Stable Diffusion.
  std::string classes, prompts = "name", negative, prompt, prediction, size, store_size, format = "png", only,
                       long_prompts = "cut";
  std::filesystem::path init_image;
  double strength = 0.8;
  i64 preview = 0, jpeg_quality = 95;
  bool tiles = false, batch_invariant = false;
};

// "i/n" with 0 <= i < n, or "auto": what mpirun or Slurm says of this process, which is printed on standard error.
std::pair<i64, i64> parse_shard(const std::string& given);

// Of --size and --store-size: "512", or "768x512", which is width, then height; empty where the flag is not given.
std::optional<ImageSize> parse_size(const std::string& flag, const std::string& given, i64 least);

// Refuses flags that have no meaning without others, or beside them, and gives those that are not on the command line the values
// that suit Stable Diffusion.
void settle_prompt_flags(SampleOptions& o, const CommonOptions& common, bool on_cpu);

// The sampler that flags and the model's file make. `config` is that of the kind of sampler that was asked for; file: for
// messages.
Sampler make_sampler(const SampleOptions& o, const CommonOptions& common, SchedulerConfig config,
                     const std::filesystem::path& file, double strength = 1);

// Of a program that makes images: when to stop, and what to say.
inline JobHooks hooks_of(Progress& progress) {
  JobHooks out;
  out.stop = interrupted;
  out.progress = [&progress](i64 done, i64, const std::string&) { progress.update(done); };
  return out;
}

// Whether the writer's part of a set has no image, which it says on standard error: there may be no folder then.
template <class Writer>
bool nothing_to_make(const Writer& writer, i64 part, i64 parts) {
  if (writer.part_images() > 0) return false;
  std::cerr << "sample: the set has no image in part " << part << "/" << parts << ": nothing to make" << std::endl;
  return true;
}

// images: an ImageMaker.
template <class M>
void write_shard_folder(M& images, i64 per_class, const CommonOptions& common, i64 part, i64 parts) {
  const ShardWriter writer(common.out, synthetic_manifest(images, per_class, common.seed), part, parts);
  if (nothing_to_make(writer, part, parts)) return;
  Progress progress("sample", writer.part_images(), writer.part_images() - writer.pending_images(), "images");
  if (!write_synthetic_set(images, writer, hooks_of(progress)))
    stop_interrupted("whole chunks are kept; the same command goes on from there");
  progress.finish();
  print(common.out.string() + "\n");
}

}  // namespace mindgap
