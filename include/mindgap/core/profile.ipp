// Bodies of core/profile.hpp.
#pragma once

#include <mindgap/core/profile.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <tuple>

namespace mindgap {

MINDGAP_INLINE std::vector<ProfileLine> sum_of_calls(const std::vector<ProfileLine>& calls) {
  std::map<std::tuple<std::string, std::string, std::string>, ProfileLine> lines;
  for (const ProfileLine& call : calls) {
    ProfileLine& line = lines[{call.op, call.shape, call.plan}];
    line.op = call.op, line.shape = call.shape, line.plan = call.plan;
    line.calls += call.calls;
    line.milliseconds += call.milliseconds;
    line.bytes += call.bytes;
    line.flops += call.flops;
  }
  std::vector<ProfileLine> out;
  for (auto& [key, line] : lines) out.push_back(line);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.milliseconds > b.milliseconds; });
  return out;
}

MINDGAP_INLINE std::string profile_table(const std::vector<ProfileLine>& lines, const Roofline& rates) {
  double total = 0;
  for (const ProfileLine& line : lines) total += line.milliseconds;
  std::string out = text("machine: copies ", i64(rates.bytes / 1e9), " GB/s, products ", i64(rates.flops / 1e9), " GFLOP/s\n");
  char row[512];
  std::snprintf(row, sizeof row, "%-28s %7s %9s %6s %9s %9s %9s  %-22s %s\n", "op", "calls", "ms", "%", "GB/s", "GFLOP/s",
                "roofline", "plan", "shape");
  out += row;
  for (const ProfileLine& line : lines) {
    const double seconds = line.milliseconds / 1e3, least = std::max(line.bytes / rates.bytes, line.flops / rates.flops);
    std::snprintf(row, sizeof row, "%-28s %7lld %9.3f %6.1f %9.0f %9.0f %8.0f%%  %-22s %s\n", line.op.c_str(),
                  (long long)line.calls, line.milliseconds, 100 * line.milliseconds / total, line.bytes / seconds / 1e9,
                  line.flops / seconds / 1e9, 100 * least / seconds, line.plan.empty() ? "-" : line.plan.c_str(),
                  line.shape.c_str());
    out += row;
  }
  std::snprintf(row, sizeof row, "%-28s %7s %9.3f\n", "all ops", "", total);
  return out + row;
}

}  // namespace mindgap
