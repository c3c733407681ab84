// Numbers of the study as a person reads them: accuracies, differences in points, intervals, counts.
//
// Intervals hold 95 %. Where one is unbounded, as for a single seed, the words say so instead of printing it.
#pragma once

#include <mindgap/study/findings.hpp>

#include "svg.hpp"
#include <cmath>
#include <string>
#include <vector>

namespace mindgap::report::words {

// 0.9346 -> "93.5 %"
inline std::string percent(double fraction) { return svg::number(fraction * 100, 1) + "\u00a0%"; }
// 0.86 -> "86 %", for a share of the gap
inline std::string share(double fraction) { return svg::number(fraction * 100, 0) + "\u00a0%"; }
// -0.042 -> "4.2 points": the size of a difference of two accuracies
inline std::string points(double fraction) {
  const std::string digits = svg::number(std::abs(fraction) * 100, 1);
  return digits + (digits == "1.0" ? " point" : " points");
}
// "+0.6", "−1.8"
inline std::string signed_points(double fraction) {
  const std::string digits = svg::number(fraction * 100, 1);
  return (digits[0] >= '0' && digits[0] <= '9' && fraction > 0 && digits != "0.0" ? "+" : "") + digits;
}

// 60000 -> "60,000"
inline std::string count(i64 value) {
  std::string digits = std::to_string(value);
  for (i64 at = i64(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3) digits.insert(size_t(at), ",");
  return digits;
}
// 1, "seed" -> "1 seed"; 2, "seed" -> "2 seeds"
inline std::string count(i64 value, const std::string& noun) { return count(value) + " " + noun + (value == 1 ? "" : "s"); }
// 12345 -> "12,345 parameters"; 1123456 -> "1.1 million parameters"
inline std::string parameters(i64 value) {
  return value < 1'000'000 ? count(value, "parameter") : svg::number(double(value) / 1e6, 1) + " million parameters";
}
// 1.5 -> "1.5", 2 -> "2.0", 1.25 -> "1.25": a setting
inline std::string decimal(double value) {
  std::string digits = svg::number(value, 3);
  while (digits.ends_with('0') && !digits.ends_with(".0")) digits.pop_back();
  return digits;
}

inline bool bounded(double low, double high) { return std::isfinite(low) && std::isfinite(high); }
// An end of an interval in points or per cent, which prints as 0.0 only where it is 0.
inline std::string bound(double fraction) {
  const std::string digits = svg::number(fraction * 100, 1);
  return digits == "0.0" && fraction != 0 ? svg::number(fraction * 100, 2) : digits;
}
// "1.9 to 4.1"
inline std::string range(double low, double high) { return bound(low) + " to " + bound(high); }
inline std::string range(const Stats& stats) { return range(stats.low, stats.high); }
// "95 % interval 1.9 to 4.1, 5 seeds"
inline std::string interval(const Stats& stats) {
  if (!bounded(stats.low, stats.high)) return count(stats.n, "seed") + ", no interval";
  return "95\u00a0% interval " + range(stats) + ", " + count(stats.n, "seed");
}
// "3.0 points (1.9 to 4.1)", with the sign of a mean below 0
inline std::string points_with_range(const Stats& stats) {
  return (stats.mean <= -smallest_difference ? "−" : "") + points(stats.mean) +
         (bounded(stats.low, stats.high) ? " (" + range(stats) + ")" : " (no interval)");
}
// "93.5 ± 0.2 %": the mean and half the width of its interval; "93.5 %" for one seed
inline std::string percent_with_interval(const Stats& stats) {
  if (!bounded(stats.low, stats.high)) return percent(stats.mean);
  return svg::number(stats.mean * 100, 1) + " ± " + svg::number(stats.half_width() * 100, 1) + "\u00a0%";
}
// "+3.0 ± 1.1"
inline std::string points_with_interval(const Stats& stats) {
  if (!bounded(stats.low, stats.high)) return signed_points(stats.mean);
  return signed_points(stats.mean) + " ± " + svg::number(stats.half_width() * 100, 1);
}
// "55 to 88 %"
inline std::string share_range(const Ratio& ratio) { return svg::number(ratio.low * 100, 0) + " to " + share(ratio.high); }
// "70 % (55 to 88 %)"
inline std::string share_with_range(const Ratio& ratio) {
  return ratio.resolved() ? share(ratio.value) + " (" + share_range(ratio) + ")" : "not resolved";
}

// "not resolved with 5 seeds"
inline std::string unresolved(i64 seeds) { return "not resolved with " + count(seeds, "seed"); }

// "a", "a and b", "a, b and c"
inline std::string listed(const std::vector<std::string>& items) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) out += (i == 0 ? "" : i + 1 == items.size() ? " and " : ", ") + items[i];
  return out;
}

}  // namespace mindgap::report::words
