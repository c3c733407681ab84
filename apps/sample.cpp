// Writes a labelled synthetic data set with a generator, as a shard folder.
//
//   sample --model DIR --per-class N --guidance W --steps K --sampler NAME --seed S --out DIR [--shard i/n]
//
// An image depends on the generator, the seed, its class, its number in the class and the settings; not on the batch, the shard
// or when it was made. The same command goes on after a kill, and with a larger N the set grows. n processes with --shard 0/n to
// n-1/n share one folder.
#include <mindgap/diffusion/jobs.hpp>

#include "common.hpp"

using namespace mindgap;

namespace {

struct Options {
  std::filesystem::path model;
  i64 per_class = 0, steps = 15, batch = 64;
  double guidance = 1.5, guidance_rescale = 0, eta = 0;
  std::string sampler = "dpmpp_2m", spacing, sigmas, shard = "0/1";
};

// "i/n" with 0 <= i < n.
std::pair<i64, i64> parse_shard(const std::string& given) {
  const size_t slash = given.find('/');
  const auto number = [](const std::string& digits) {
    return digits.empty() || digits.size() > 6 || digits.find_first_not_of("0123456789") != digits.npos ? i64(-1)
                                                                                                        : std::stoll(digits);
  };
  const i64 part = slash == given.npos ? -1 : number(given.substr(0, slash)),
            parts = slash == given.npos ? -1 : number(given.substr(slash + 1));
  if (part < 0 || part >= parts)
    throw UsageError("bad value for --shard: \"" + given + "\"", {{"wanted", "i/n with i from 0 to n-1"}});
  return {part, parts};
}

template <Device D, class P>
void write_set(const Options& o, const CommonOptions& common) {
  const auto [part, parts] = parse_shard(o.shard);
  const SamplerKind kind = check_flags([&] { return sampler_by_name(o.sampler); });
  const Generator<D, P> generator = load_generator<D, P>(o.model, kind);
  SchedulerConfig config = generator.info.scheduler;
  if (common.given.contains("spacing")) config.timestep_spacing = check_flags([&] { return spacing_by_name(o.spacing); });
  if (common.given.contains("sigmas")) config.sigmas = check_flags([&] { return sigmas_by_name(o.sigmas); });
  const std::string scheduler = GeneratorFiles{o.model}.scheduler().string();  // steps and eta must suit what it says
  const Sampler sampler = check_flags([&] { return naming_file(scheduler, [&] { return Sampler(config, o.steps, o.eta); }); });
  const Guidance guidance = check_flags([&] { return generator.info.guidance({o.guidance, o.guidance_rescale}); });

  GeneratedImages<D, P> images(generator, sampler, guidance, o.batch);
  const ShardManifest set = synthetic_manifest(images, o.per_class, common.seed);
  const ShardWriter writer(common.out, set, part, parts);
  if (writer.part_images() == 0) {
    std::cerr << "sample: nothing to make: of the set's " << set.chunks() << " chunks none is of part " << o.shard << std::endl;
    return;
  }
  Progress progress("sample", writer.part_images(), writer.part_images() - writer.pending_images(), "images");
  JobHooks hooks;
  hooks.stop = interrupted;
  hooks.progress = [&](i64 done, i64, const std::string&) { progress.update(done); };
  if (!write_synthetic_set(images, writer, hooks)) stop_interrupted("whole chunks are kept; the same command goes on from there");
  progress.finish();
  print(common.out.string() + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  return run_app(
      argc, argv, "sample", "Writes a labelled synthetic data set with a generator; run it again to go on after an interruption.",
      [&](Flags& flags) {
        flags.add("model", &o.model, "a generator folder, of train_generator or of diffusers");
        flags.add("per-class", &o.per_class, "images of each class", {1, 1 << 24});
        flags.add("guidance", &o.guidance, "weight of the class: 1 is none beyond the conditional model, 0 no class", {0, 1e6});
        flags.add("steps", &o.steps, "denoising steps");
        flags.add("guidance-rescale", &o.guidance_rescale, "0 to 1: how far guided answers keep their deviation", {0, 1});
        flags.add("sampler", &o.sampler, "ddpm, ddim, pndm, lms, euler, euler_a, heun, dpmpp_2m, dpmpp_2m_sde or unipc");
        flags.add("spacing", &o.spacing, "linspace, leading or trailing; by default the generator's");
        flags.add("sigmas", &o.sigmas, "none, karras or exponential; by default the generator's");
        flags.add("eta", &o.eta, "noise of ddim, 0 to 1");
        flags.add("shard", &o.shard, "i/n: part i of n, i from 0 to n-1");
        flags.add("batch", &o.batch, "images at a time; changes no image", {1, 1 << 16});
        for (const char* needed : {"model", "per-class", "out"}) flags.require(needed);
      },
      [&](const CommonOptions& common) {
        check_out(common, "model", o.model);
        with_types(common, [&]<class D, class P>(D, P) { write_set<D, P>(o, common); });
      });
}
