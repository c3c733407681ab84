// Numbers of the study as a person reads them: accuracies, shares of the gap, differences in points, counts.
#pragma once

#include <mindgap/study/results.hpp>
#include <mindgap/study/svg.hpp>

#include <cmath>
#include <string>

namespace mindgap::words {

// A smaller difference of accuracies prints as 0.0 points.
inline constexpr double visible = 0.0005;

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
// "93.5 ± 0.2 %" over several runs, "93.5 %" for one
inline std::string with_spread(const Stats& stats) {
  if (stats.n < 2) return percent(stats.mean);
  return svg::number(stats.mean * 100, 1) + " ± " + svg::number(stats.deviation * 100, 1) + "\u00a0%";
}
// 60000 -> "60,000"
inline std::string count(i64 value) {
  std::string digits = std::to_string(value);
  for (i64 at = i64(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3) digits.insert(size_t(at), ",");
  return digits;
}
// 1, "seed" -> "1 seed"; 2, "seed" -> "2 seeds"
inline std::string count(i64 value, const std::string& noun) { return count(value) + " " + noun + (value == 1 ? "" : "s"); }

}  // namespace mindgap::words
