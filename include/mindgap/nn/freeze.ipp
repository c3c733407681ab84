// Bodies of nn/freeze.hpp.
#pragma once

#include <mindgap/nn/freeze.hpp>

namespace mindgap::detail {

MINDGAP_INLINE i64 apply_patterns(const std::vector<std::string>& patterns, const char* kind,
                                  const std::vector<PatternItem>& items) {
  i64 count = 0;
  for (const std::string& pattern : patterns) {
    i64 matched = 0;
    for (const auto& [name, apply] : items)
      if (matches(pattern, name)) apply(), ++matched;
    if (!matched) {
      std::string names;
      for (const auto& item : items) (names += names.empty() ? "" : " ") += item.first;
      throw Error(text("no ", kind, " matches ", detail::shown(pattern)),
                  {{"names", names}, {"remedy", "* stands for any characters; a module's name stands for all it contains"}});
    }
    count += matched;
  }
  return count;
}

}  // namespace mindgap::detail
