// The body of study/environment.hpp.
#pragma once

#include <mindgap/cpu/onednn.hpp>
#include <mindgap/study/environment.hpp>

#include <sstream>

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

}  // namespace mindgap
