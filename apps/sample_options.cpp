// Bodies of sample_options.hpp.
#include "sample_options.hpp"

#include <mindgap/io/numbers.hpp>

#include <cstdlib>

namespace mindgap {
namespace {

std::optional<i64> from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? number_in<i64>(value) : std::nullopt;
}

// Part and parts, where a launcher says them.
std::pair<i64, i64> automatic_shard() {
  const auto id = from_environment("SLURM_ARRAY_TASK_ID"), first = from_environment("SLURM_ARRAY_TASK_MIN"),
             last = from_environment("SLURM_ARRAY_TASK_MAX");
  const i64 step = from_environment("SLURM_ARRAY_TASK_STEP").value_or(1);
  if (id && first && last && step > 0) {
    const i64 parts = (*last - *first) / step + 1;
    if (from_environment("SLURM_ARRAY_TASK_COUNT").value_or(parts) != parts || (*id - *first) % step)
      throw UsageError("--shard auto: the ids of the Slurm array have gaps",
                       {{"ids", text(*first, " to ", *last)}, {"remedy", "use --array=1-N, or give --shard i/n"}});
    return {(*id - *first) / step, parts};
  }
  for (const auto& [rank, size] :
       {std::pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), {"PMI_RANK", "PMI_SIZE"}, {"SLURM_PROCID", "SLURM_NTASKS"}}) {
    const auto part = from_environment(rank), parts = from_environment(size);
    if (part && parts) return {*part, *parts};
  }
  throw UsageError("--shard auto: neither mpirun nor Slurm started this process",
                   {{"looked at", "SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID and their sizes"},
                    {"remedy", "give --shard i/n, or start it with mpirun, srun or a Slurm array"}});
}

// A side alone would squash an image that is not square.
void check_store_size(const SampleOptions& o) {
  const auto size = parse_size("size", o.size, 8), stored = parse_size("store-size", o.store_size, 1);
  if (!size || !stored || size->height == size->width || o.store_size.find('x') != o.store_size.npos) return;
  const i64 side = stored->width, shorter = std::min(size->width, size->height);
  throw UsageError(
      text("--store-size ", side, " is a square, the images are ", size->width, " x ", size->height, " pixels"),
      {{"remedy", text("give its width and height: --store-size ", (side * size->width + shorter / 2) / shorter, "x",
                       (side * size->height + shorter / 2) / shorter, " keeps the shape, ", side, "x", side, " does not")}});
}

}  // namespace

std::pair<i64, i64> parse_shard(const std::string& given) {
  std::pair<i64, i64> out{-1, -1};
  if (given == "auto") {
    out = automatic_shard();
    std::cerr << text("shard ", out.first, "/", out.second) << std::endl;
  } else if (const size_t slash = given.find('/'); slash != given.npos && given.size() <= 13) {
    const auto part = number_in<i64>(given.substr(0, slash)), parts = number_in<i64>(given.substr(slash + 1));
    out = {part.value_or(-1), parts.value_or(-1)};
  }
  if (out.first < 0 || out.first >= out.second || out.second > 999999)
    throw UsageError("bad value for --shard: \"" + given + "\"", {{"wanted", "i/n with i from 0 to n-1, or auto"}});
  return out;
}

std::optional<ImageSize> parse_size(const std::string& flag, const std::string& given, i64 least) {
  if (given.empty()) return {};
  const size_t x = std::min(given.find('x'), given.size());
  const auto width = number_in<i64>(given.substr(0, x)), height = x == given.size() ? width : number_in<i64>(given.substr(x + 1));
  if (!width || !height || *width < least || *height < least || *width > 8192 || *height > 8192)
    bad_value(flag, given, text("a number of pixels from ", least, " to 8192, or WIDTHxHEIGHT"));
  return ImageSize{*height, *width};
}

void settle_prompt_flags(SampleOptions& o, const CommonOptions& common, bool on_cpu) {
  const auto given = [&](const char* flag) { return common.given.contains(flag); };
  if (given("prompt") == given("classes"))
    throw UsageError("Stable Diffusion wants --prompt, for one image, or --classes, for a set", {{"remedy", "see --help"}});
  if (given("classes") && !given("per-class") && !given("only"))
    throw UsageError("--per-class is needed", {{"remedy", "see --help"}});
  if (o.format != "png" && o.format != "jpeg" && o.format != "shards") bad_value("format", o.format, "png, jpeg or shards");
  if (o.long_prompts != "cut" && o.long_prompts != "refuse") bad_value("long-prompts", o.long_prompts, "cut or refuse");
  const auto refuse = [&](bool holds, const char* flag, const std::string& is_for) {
    if (holds && given(flag)) throw UsageError(text("--", flag, " is for ", is_for), {{"remedy", "see --help"}});
  };
  for (const char* flag :
       {"per-class", "prompts", "only", "preview", "store-size", "shard", "format", "jpeg-quality", "batch", "batch-invariant"})
    refuse(given("prompt"), flag, "--classes");
  refuse(given("classes"), "init-image", "--prompt");
  refuse(!given("init-image"), "strength", "--init-image");
  refuse(o.format != "jpeg", "jpeg-quality", "--format jpeg");
  refuse(o.format == "shards", "preview", "a folder of image files");
  refuse(o.batch_invariant, "batch", "sets without --batch-invariant");
  if (o.format != "shards" && given("per-class") && o.per_class > 1'000'000)
    bad_value("per-class", std::to_string(o.per_class), "at most 1000000 in a folder of image files");
  if (given("prompt")) {
    if (common.out.extension() != ".png") bad_value("out", common.out.string(), "the name of a .png file");
    std::error_code code;  // of a name that no file can have
    const bool folder = std::filesystem::is_directory(common.out, code);
    if (folder || code == std::errc::filename_too_long)
      detail::file_error("cannot write the file", common.out, folder ? EISDIR : ENAMETOOLONG);
  }
  check_store_size(o);
  if (!given("steps")) o.steps = 50;
  if (!given("guidance")) o.guidance = 7.5;
  if (!given("batch")) o.batch = o.batch_invariant || on_cpu ? 1 : 16;
}

Sampler make_sampler(const SampleOptions& o, const CommonOptions& common, SchedulerConfig config,
                     const std::filesystem::path& file, double strength) {
  return check_flags([&] {
    if (common.given.contains("spacing")) config.timestep_spacing = spacing_by_name(o.spacing);
    if (common.given.contains("sigmas")) config.sigmas = sigmas_by_name(o.sigmas);
    return naming_file(file.string(), [&] { return Sampler(config, o.steps, o.eta, strength); });
  });
}

}  // namespace mindgap
