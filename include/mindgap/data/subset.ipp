// Bodies of data/subset.hpp.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/data/subset.hpp>

#include <cmath>

namespace mindgap {
namespace detail {

inline constexpr i64 most_drawn = i64(1) << 24;  // images of a mixture or of a repeated set

}  // namespace detail

MINDGAP_INLINE std::vector<i64> stratified_order(const Dataset& dataset, u64 seed) {
  std::vector<std::vector<i64>> members(size_t(dataset.classes()));
  const std::vector<i64> labels = class_labels(dataset);
  for (size_t i = 0; i < labels.size(); ++i) members[size_t(labels[i])].push_back(i64(i));
  for (size_t c = 0; c < members.size(); ++c) {
    std::vector<i64> shuffled;
    for (i64 at : permutation(i64(members[c].size()), Stream(seed, "subset", c))) shuffled.push_back(members[c][size_t(at)]);
    members[c] = std::move(shuffled);
  }
  std::vector<i64> order;
  for (size_t round = 0; i64(order.size()) < dataset.size(); ++round)
    for (i64 c : permutation(dataset.classes(), Stream(seed, "subset round", round)))
      if (round < members[size_t(c)].size()) order.push_back(members[size_t(c)][round]);
  return order;
}

MINDGAP_INLINE HeldOutSplit held_out_split(const Dataset& dataset) {
  constexpr u64 seed = 0x4e1d007;  // fixed: a held-out image must be one for every program and every study
  std::vector<i64> left = class_counts(dataset);
  for (i64& count : left) count /= 10;
  std::vector<char> held_out(size_t(dataset.size()), 0);
  for (i64 i : stratified_order(dataset, seed)) held_out[size_t(i)] = left[size_t(dataset.label(i))]-- > 0;
  HeldOutSplit out;
  for (i64 i = 0; i < dataset.size(); ++i) (held_out[size_t(i)] ? out.held_out : out.fit).push_back(i);
  return out;
}

MINDGAP_INLINE Dataset subset(const Dataset& dataset, i64 count, u64 seed) {
  if (count < 1 || count > dataset.size())
    throw Error(text("subset: ", count, " images of a set of ", dataset.size()),
                {{"set", dataset.name}, {"remedy", text("1 to ", dataset.size())}});
  std::vector<i64> order = stratified_order(dataset, seed);
  order.resize(size_t(count));
  return select(dataset, order);
}

MINDGAP_INLINE Dataset equal_counts(const Dataset& dataset, i64 per_class, u64 seed) {
  std::string lacking;
  const std::vector<i64> counts = class_counts(dataset);
  for (size_t c = 0; c < counts.size(); ++c)
    if (counts[c] < per_class) lacking += text(lacking.empty() ? "" : ", ", dataset.class_names[c], " (", counts[c], ")");
  if (!lacking.empty())
    throw Error(text("subset: not every class has ", per_class, " images"),
                {{"set", dataset.name}, {"lacking", lacking}, {"remedy", "ask for fewer images a class, or use a larger set"}});
  return subset(dataset, per_class * dataset.classes(), seed);
}

MINDGAP_INLINE std::vector<i64> repeated(const Dataset& dataset, i64 count, u64 seed) {
  if (count < 0 || count > detail::most_drawn)
    throw Error(text("repeat: ", count, " images of a set of ", dataset.size()),
                {{"set", dataset.name}, {"remedy", text("0 to ", detail::most_drawn)}});
  if (count > 0 && dataset.size() == 0)
    throw Error(text("repeat: ", count, " images of a set that has none"),
                {{"set", dataset.name}, {"remedy", "use another set"}});
  const std::vector<i64> order = stratified_order(dataset, seed);
  std::vector<i64> members;
  for (i64 i = 0; i < count; ++i) members.push_back(order[size_t(i % dataset.size())]);
  return members;
}

MINDGAP_INLINE Dataset concat(const std::vector<Dataset>& sets) {
  if (sets.empty()) throw Error("concat: there are no data sets");
  Dataset out;
  std::vector<std::shared_ptr<const Source>> sources;
  std::vector<Dataset::Member> members;
  for (const Dataset& set : sets) {
    if (set.shape() != sets[0].shape())
      throw Error("data sets have images of different size",
                  {{sets[0].name, sets[0].shape().str()},
                   {set.name, set.shape().str()},
                   {"remedy", "a mixture wants images of one size and number of channels"}});
    check_same_classes("data sets have different classes, or the same in another order", sets[0].name, sets[0].class_names,
                       set.name, set.class_names);
    for (i64 i = 0; i < set.size(); ++i) {
      members.push_back((*set.members_)[size_t(i)]);
      members.back().source += i32(sources.size());
    }
    sources.insert(sources.end(), set.sources_.begin(), set.sources_.end());
    out.name += (out.name.empty() ? "" : " + ") + set.name;
    out.provenance += (out.provenance.empty() ? "" : "; ") + set.provenance;
  }
  out.class_names = sets[0].class_names;
  out.view_of(std::move(sources), std::move(members));
  return out;
}

MINDGAP_INLINE std::vector<i64> mixture_counts(const std::vector<Dataset>& sets, const std::vector<double>& weights, i64 total) {
  constexpr i64 most = detail::most_drawn;
  if (sets.size() != weights.size()) throw Error(text("mix: ", sets.size(), " data sets and ", weights.size(), " weights"));
  double sum = 0;
  for (double weight : weights) {
    if (!(weight >= 0) || !std::isfinite(weight)) throw Error(text("mix: the weight ", weight, " is not a number from 0 up"));
    sum += weight;
  }
  if (!(sum > 0)) throw Error("mix: all weights are zero");
  if (!std::isfinite(sum))
    throw Error("mix: the sum of the weights is more than a double holds", {{"remedy", "smaller weights"}});
  if (total < 0 || total > most)
    throw Error(text("mix: ", total, " images in all"), {{"remedy", text("1 to ", most, ", or 0 for as few as have them all")}});
  for (size_t k = 0; k < sets.size(); ++k)
    if (weights[k] > 0 && sets[k].size() == 0)
      throw Error(text("mix: set ", k, " has no images and the weight ", weights[k]),
                  {{"set", sets[k].name}, {"remedy", "leave it out, or give it the weight 0"}});
  for (size_t k = 0; k < sets.size() && total == 0; ++k) {
    const double images = double(sets[k].size()), share = weights[k] / sum;
    if (share > 0 && images / share > double(most)) {
      const double digits = std::pow(10, std::floor(std::log10(images / double(most))) - 1);
      throw Error(
          text("mix: the ", sets[k].size(), " images of ", sets[k].name, " as a share of ", share, " of ", images / share),
          {{"remedy", text("a share of ", std::ceil(images / double(most) / digits) * digits, " or more, for at most ", most,
                           " images in all")}});
    }
  }
  if (total == 0)
    for (size_t k = 0; k < sets.size(); ++k)
      if (weights[k] > 0) total = std::max(total, i64(std::ceil(double(sets[k].size()) * sum / weights[k] - 1e-6)));
  std::vector<i64> counts;
  double cumulative = 0;
  i64 taken = 0;
  for (double weight : weights) {
    cumulative += weight;
    const i64 until = std::llround(double(total) * cumulative / sum);
    counts.push_back(until - taken);
    taken = until;
  }
  return counts;
}

MINDGAP_INLINE Dataset mix(const std::vector<Dataset>& sets, const std::vector<double>& weights, u64 seed, i64 total) {
  const std::vector<i64> counts = mixture_counts(sets, weights, total);
  std::vector<Dataset> parts;
  for (size_t k = 0; k < sets.size(); ++k)
    if (counts[k] > 0) parts.push_back(repeat(sets[k], counts[k], seed));
  return concat(parts);
}

}  // namespace mindgap
