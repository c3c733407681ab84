// Writes labelled synthetic data sets: with a class-conditional generator as a shard folder, with Stable Diffusion as a folder of
// image files a class, or as shards.
//
//   sample --model generator/ --per-class N --out DIR
//   sample --model stable-diffusion-v1-4/ --classes imagenet100 --prompts name-definition --per-class N --out DIR
//   sample --model stable-diffusion-v1-4/ --prompt "a photo of a tabby cat" --out cat.png
//
// An image depends on the model, the seed, its class, its number in the class and the settings; not on the shard or when it was
// made. The same command goes on after a kill, and with a larger N the set grows. n processes with --shard 0/n to n-1/n share one
// folder.
#include <mindgap/diffusion/jobs.hpp>

#include "sample_prompts.hpp"

using namespace mindgap;

namespace {

constexpr const char* for_prompts[] = {"classes",    "prompts",      "negative", "prompt",         "prediction", "size",
                                       "format",     "only",         "preview",  "long-prompts",   "init-image", "strength",
                                       "store-size", "jpeg-quality", "tiles",    "batch-invariant"};

template <Device D, class P>
void write_set(const SampleOptions& o, const CommonOptions& common) {
  for (const char* flag : for_prompts)
    if (common.given.contains(flag))
      throw UsageError(
          text("--", flag, " is for Stable Diffusion"),
          {{"model", o.model.string() + (std::filesystem::exists(o.model) ? ": no folder of one, nor a .safetensors file"
                                                                          : ": there is no such folder or file")},
           {"remedy", "see --help"}});
  if (!common.given.contains("per-class")) throw UsageError("--per-class is needed", {{"remedy", "see --help"}});
  const auto [part, parts] = parse_shard(o.shard);
  const SamplerKind kind = check_flags([&] { return sampler_by_name(o.sampler); });
  const Generator<D, P> generator = load_generator<D, P>(o.model, kind);
  // Steps and eta must suit what the file says.
  const Sampler sampler = make_sampler(o, common, generator.info.scheduler, GeneratorFiles{o.model}.scheduler());
  const Guidance guidance = check_flags([&] { return generator.info.guidance({o.guidance, o.guidance_rescale}); });

  GeneratedImages<D, P> images(generator, sampler, guidance, o.batch);
  write_shard_folder(images, o.per_class, common, part, parts);
}

}  // namespace

int main(int argc, char** argv) {
  SampleOptions o;
  return run_app(
      argc, argv, "sample", "Writes a labelled synthetic data set, or an image; run it again to go on after an interruption.",
      [&](Flags& flags) {
        flags.add("model", &o.model,
                  "a generator folder of train_generator or diffusers; a folder of Stable Diffusion, or one file");
        flags.add("per-class", &o.per_class, "images of each class", {1, 1 << 24});
        flags.add("guidance", &o.guidance, "weight of the class or prompt: 1 is no more than the model has, 0 none; prompts: 7.5",
                  {0, 1e6});
        flags.add("guidance-rescale", &o.guidance_rescale, "0 to 1: how far guided answers keep their deviation", {0, 1});
        flags.add("steps", &o.steps, "denoising steps; prompts: 50");
        flags.add("sampler", &o.sampler,
                  "ddpm, ddim, pndm, lms, euler, euler_a, heun, dpmpp_2m, dpmpp_2m_sde or unipc; prompts: the model's");
        flags.add("spacing", &o.spacing, "linspace, leading or trailing; by default the model's");
        flags.add("sigmas", &o.sigmas, "none, karras or exponential; by default the model's");
        flags.add("eta", &o.eta, "noise of ddim, 0 to 1");
        flags.add("shard", &o.shard, "i/n: part i of n, i from 0 to n-1; auto: as mpirun or Slurm says");
        flags.add("batch", &o.batch, "images at a time; prompts: 1, on a GPU 16, where last bits may depend on it", {1, 1 << 16});
        flags.add("classes", &o.classes, "imagenet1k, imagenet100, or a file of classes");
        flags.add("prompts", &o.prompts,
                  "name, name-definition, name-hypernym, hypernym-background, clip, a captions file, or text with {name}");
        flags.add("negative", &o.negative, "prompt to guide away from");
        flags.add("prompt", &o.prompt, "one image of this text, to the PNG file --out");
        flags.add("init-image", &o.init_image, "with --prompt: a PNG or JPEG file to start from");
        flags.add("strength", &o.strength, "how much of the steps it goes through, over 0 to 1", {1e-6, 1});
        flags.add("prediction", &o.prediction, "noise or v: what a single file's model predicts, which it does not say; noise");
        flags.add("size", &o.size, "pixels of a side, or WIDTHxHEIGHT; by default what the model was trained on");
        flags.add("store-size", &o.store_size, "likewise, of what is written, resized as Pillow does; by default as it is made");
        flags.add("format", &o.format, "png or jpeg, a folder a class, or shards");
        flags.add("jpeg-quality", &o.jpeg_quality, "of JPEG files", {1, 100});
        flags.add("long-prompts", &o.long_prompts,
                  "prompts of more tokens than the model takes: cut, or refuse before any image is made");
        flags.add("only", &o.only, "id:number of an image of the set: make it again, and say whether it is the same");
        flags.add("preview", &o.preview, "write preview.png every so many images; 0 never", {0, 1 << 24});
        flags.add("tiles", &o.tiles, "decode in tiles: less memory for large images");
        flags.add("batch-invariant", &o.batch_invariant, "images one at a time, so that no bit depends on a batch");
        for (const char* needed : {"model", "out"}) flags.require(needed);
      },
      [&](const CommonOptions& common) {
        end_soon_when_interrupted();
        check_out(common, "model", o.model);
        with_types(common, [&]<class D, class P>(D, P) {
          if (is_stable_diffusion(o.model)) sample_prompts<D, P>(o, common);
          else write_set<D, P>(o, common);
        });
      });
}
