// Bodies of core/shape.hpp.
#pragma once

#include <mindgap/core/shape.hpp>

namespace mindgap {

MINDGAP_INLINE std::string extents_text(const i64* extents, size_t count) {
  std::string out = "[";
  for (size_t i = 0; i < count; ++i) (out += i ? ", " : "") += std::to_string(extents[i]);
  return out + "]";
}

}  // namespace mindgap
