// Bodies of study/summary.hpp.
#pragma once

#include <mindgap/cpu/onednn.hpp>
#include <mindgap/study/summary.hpp>

#include <cstdio>

namespace mindgap {

MINDGAP_INLINE Facts describe_environment(const std::string& device, const std::string& precision, int threads) {
  std::string cpu = "unknown";
  std::istringstream info(std::filesystem::exists("/proc/cpuinfo") ? read_file("/proc/cpuinfo") : "");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) {
      cpu = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  return {{"device", device},
          {"precision", precision},
          {"CPU", cpu},
          {"bf16 instructions", cpu::has_bf16() ? "yes" : "no"},
          {"threads", text(threads)},
          {"compiler", "g++ " __VERSION__},
          {"oneDNN", cpu::library_version()},
          {"mindgap", version}};
}

MINDGAP_INLINE Facts study_facts(const StudyConfig& c) {
  const auto recipe = [](const RecipeConfig& r) {
    return text(r.epochs, " epochs of batches of ", r.batch,
                r.minimum_steps ? text(", at least ", r.minimum_steps, " steps") : std::string(), ", peak rate ", r.rate);
  };
  std::string seeds;
  for (u64 seed : c.seeds) seeds += text(seeds.empty() ? "" : ", ", seed);
  return {{"model", text(c.model, ", width ", c.width)},
          {"training images a class", std::to_string(c.per_class)},
          {"real test images", c.test_images ? std::to_string(c.test_images) : "all"},
          {"augmentation", text(c.flip ? "flips" : "no flips", ", shifts of up to ", c.shift, " pixels")},
          {"E0 to E3", recipe(c.student)},
          {"fine-tuning", recipe(c.finetune)},
          {"from scratch", recipe(c.scratch)},
          {"optimizer", text("SGD, Nesterov momentum 0.9, weight decay ", c.weight_decay, " on matrices, ", c.schedule,
                             " schedule, label smoothing ", c.label_smoothing)},
          {"suffix starts", c.suffix_start},
          {"statistics of frozen units", c.statistics},
          {"seeds", seeds}};
}

MINDGAP_INLINE std::string results_text(const std::vector<Row>& rows) {
  const auto percent = [](double fraction) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.2f", 100 * fraction);
    return std::string(buffer);
  };
  std::string out;
  char line[160];
  std::snprintf(line, sizeof line, "%-4s %-5s %-32s %6s  %8s  %7s  %9s\n", "exp", "dir", "frozen up to / recipe", "real",
                "accuracy", "spread", "recovered");
  out += line;
  for (const RowGroup& group : summarise(rows)) {
    const Row& r = group.run;
    std::snprintf(line, sizeof line, "%-4s %-5s %-32s %6lld  %7s%%  %7s  %9s\n", r.experiment.c_str(), r.direction.c_str(),
                  r.split.c_str(), static_cast<long long>(r.real_count), percent(group.top1.mean).c_str(),
                  group.top1.n > 1 ? percent(group.top1.deviation).c_str() : "-",
                  group.recovered ? (percent(group.recovered->mean) + "%").c_str() : "-");
    out += line;
  }
  return out;
}

}  // namespace mindgap
