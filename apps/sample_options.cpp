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
  if (id && first && last && step > 0) return {(*id - *first) / step, (*last - *first) / step + 1};
  for (const auto& [rank, size] :
       {std::pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), {"PMI_RANK", "PMI_SIZE"}, {"SLURM_PROCID", "SLURM_NTASKS"}}) {
    const auto part = from_environment(rank), parts = from_environment(size);
    if (part && parts) return {*part, *parts};
  }
  throw UsageError("--shard auto: neither mpirun nor Slurm started this process",
                   {{"looked at", "SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID and their sizes"},
                    {"remedy", "give --shard i/n, or start it with mpirun, srun or a Slurm array"}});
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

Sampler make_sampler(const SampleOptions& o, const CommonOptions& common, SchedulerConfig config,
                     const std::filesystem::path& file, double strength) {
  return check_flags([&] {
    if (common.given.contains("spacing")) config.timestep_spacing = spacing_by_name(o.spacing);
    if (common.given.contains("sigmas")) config.sigmas = sigmas_by_name(o.sigmas);
    return naming_file(file.string(), [&] { return Sampler(config, o.steps, o.eta, strength); });
  });
}

}  // namespace mindgap
