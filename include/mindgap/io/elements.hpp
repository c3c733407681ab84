// Many floating-point elements at once, on all cores: converted, transposed, and counted where they are not finite.
//
// Published weights of convolutions are [outputs, inputs, positions], ours [outputs, positions, inputs]: reading and writing
// them is one pass that transposes the inner axes and converts, and touches every byte once.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace mindgap {

// to[o, c, r] = from[o, r, c], rounded to nearest even; `from` is [outer, rows, cols] and may be unaligned. Both types are f32,
// bf16 or f16. rows or cols of 1 is a plain conversion.
void transpose_elements(void* to, DType to_type, const void* from, DType from_type, i64 outer, i64 rows, i64 cols);

struct NonFinite {
  i64 nan = 0, infinite = 0;
};
// type: as safetensors files spell it; types that are not of floating point have none.
NonFinite count_non_finite(std::span<const std::byte> elements, std::string_view type);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/io/elements.ipp>
#endif
