// The study's words: which layers a unit or a group has, and what becomes of the statistics of frozen ones.
//
// A split is a number of units, counted from the input: units [0, k) are frozen, units [k, n) are trained.
#pragma once

#include <mindgap/models/resnet.hpp>

namespace mindgap {

// Statistics of the batch norms of frozen units.
enum class StatisticsPolicy {
  frozen,      // running averages of the source, unchanged
  live,        // torch's train mode: normalise by the batch and move the averages
  reestimated  // averages over one unaugmented pass of the target set, then unchanged
};

inline const char* name(StatisticsPolicy policy) {
  return policy == StatisticsPolicy::frozen ? "frozen" : policy == StatisticsPolicy::live ? "live" : "reestimated";
}
inline StatisticsPolicy statistics_policy(const std::string& text) {
  for (StatisticsPolicy policy : {StatisticsPolicy::frozen, StatisticsPolicy::live, StatisticsPolicy::reestimated})
    if (text == name(policy)) return policy;
  throw Error("there is no statistics policy '" + text + "'", {{"remedy", "use frozen, live or reestimated"}});
}

// The splits by unit (every k from 1 to n - 1), or those that end with a group.
inline std::vector<i64> splits(const std::vector<std::string>& units, bool by_unit) {
  std::vector<i64> out;
  for (size_t k = 1; k < units.size(); ++k)
    if (by_unit || unit_group(units[k - 1]) != unit_group(units[k])) out.push_back(i64(k));
  return out;
}

// The patterns of the layers of units [begin, end).
template <Device D, class P>
std::vector<std::string> patterns_of(const ResNet<D, P>& net, i64 begin, i64 end) {
  std::vector<std::string> out;
  const auto units = net.units();
  for (i64 unit = begin; unit < end; ++unit)
    for (const std::string& pattern : ResNet<D, P>::patterns(units[size_t(unit)])) out.push_back(pattern);
  return out;
}

}  // namespace mindgap
