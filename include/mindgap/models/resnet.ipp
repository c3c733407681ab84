// Bodies of models/resnet.hpp.
#pragma once

#include <mindgap/models/resnet.hpp>

namespace mindgap {

MINDGAP_INLINE const std::vector<std::string>& ResNetConfig::names() {
  static const std::vector<std::string> all{"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"};
  return all;
}

MINDGAP_INLINE ResNetConfig ResNetConfig::make(const std::string& name, i64 width, i64 channels, i64 classes, Stem stem) {
  const auto& all = names();
  const size_t which = size_t(std::find(all.begin(), all.end(), name) - all.begin());
  if (which == all.size())
    throw Error("there is no model '" + name + "'", {{"remedy", "use resnet18, resnet34, resnet50, resnet101 or resnet152"}});
  if (width < 1 || width > 4096 || channels < 1 || channels > 4096 || classes < 1 || classes > 1'000'000)
    throw Error(text(name, ": width ", width, ", ", channels, " channels and ", classes, " classes"),
                {{"wanted", "1 to 4096, 1 to 4096 and 1 to 1,000,000"}});
  constexpr std::array<i64, 4> depths[] = {{2, 2, 2, 2}, {3, 4, 6, 3}, {3, 4, 6, 3}, {3, 4, 23, 3}, {3, 8, 36, 3}};
  return {name, depths[which], which >= 2, width, channels, classes, stem};
}

}  // namespace mindgap
