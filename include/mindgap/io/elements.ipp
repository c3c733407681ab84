// Bodies of elements.hpp.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/memory.hpp>
#include <mindgap/io/elements.hpp>

#include <algorithm>
#include <cstring>

namespace mindgap {
namespace detail {

template <class T>
T load_element(const std::byte* from, i64 i) {
  T value;
  std::memcpy(&value, from + i * i64(sizeof(T)), sizeof(T));
  return value;
}

// to[i] = from[i step]
template <class To, class From>
inline void convert_run(To* __restrict to, const std::byte* __restrict from, i64 count, i64 step) {
  for (i64 i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<To, From>) to[i] = load_element<From>(from, i * step);
    else to[i] = To(float(load_element<From>(from, i * step)));
  }
}

template <class To, class From>
void transpose_elements(To* to, const std::byte* from, i64 outer, i64 rows, i64 cols) {
  const i64 size = outer * rows * cols, alone = 1 << 15;  // so few elements are not worth waking other cores
  if (rows == 1 || cols == 1) {
    const i64 block = 1 << 14;
#pragma omp parallel for schedule(dynamic) if (size > alone)
    for (i64 begin = 0; begin < size; begin += block)
      convert_run<To, From>(to + begin, from + begin * i64(sizeof(From)), std::min(size - begin, block), 1);
    return;
  }
  const i64 tile = 64;  // of both axes: what it reads and writes stays in the first cache
#pragma omp parallel for collapse(2) schedule(dynamic, 16) if (size > alone)
  for (i64 o = 0; o < outer; ++o)
    for (i64 row = 0; row < rows; row += tile)
      for (i64 col = 0; col < cols; col += tile)
        for (i64 c = col; c < std::min(cols, col + tile); ++c)
          convert_run<To, From>(to + (o * cols + c) * rows + row, from + ((o * rows + row) * cols + c) * i64(sizeof(From)),
                                std::min(rows - row, tile), cols);
}

// f(a value of the type)
template <class F>
void with_real(DType type, F&& f) {
  if (type == DType::f32) f(float());
  else if (type == DType::bf16) f(bf16());
  else if (type == DType::f16) f(f16());
  else throw Error(text("elements of ", name(type), " are not of floating point"));
}

// Bits: of an element, as an unsigned number; an element is infinite where they are `infinity`, but for the sign, and NaN where
// they are above it.
template <class Bits>
NonFinite count_above(std::span<const std::byte> elements, Bits infinity) {
  constexpr i64 block = 1 << 14;
  const i64 size = i64(elements.size() / sizeof(Bits));
  const auto magnitude = [from = elements.data()](i64 i) { return Bits(load_element<Bits>(from, i) & Bits(Bits(-1) >> 1)); };
  i64 nan = 0, infinite = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : nan, infinite) if (size > 4 * block)
  for (i64 begin = 0; begin < size; begin += block) {
    const i64 end = std::min(size, begin + block);
    Bits largest = 0;
    for (i64 i = begin; i < end; ++i) largest = std::max(largest, magnitude(i));
    if (largest < infinity) continue;
    for (i64 i = begin; i < end; ++i) nan += magnitude(i) > infinity, infinite += magnitude(i) == infinity;
  }
  return {nan, infinite};
}

}  // namespace detail

MINDGAP_INLINE void transpose_elements(void* to, DType to_type, const void* from, DType from_type, i64 outer, i64 rows,
                                       i64 cols) {
  prefer_huge_pages(to, outer * rows * cols * bytes(to_type));
  detail::with_real(to_type, [&]<class To>(To) {
    detail::with_real(from_type, [&]<class From>(From) {
      detail::transpose_elements<To, From>(static_cast<To*>(to), static_cast<const std::byte*>(from), outer, rows, cols);
    });
  });
}

MINDGAP_INLINE NonFinite count_non_finite(std::span<const std::byte> elements, std::string_view type) {
  if (type == "F32") return detail::count_above(elements, 0x7f800000u);
  if (type == "F64") return detail::count_above(elements, u64(0x7ff0000000000000u));
  if (type == "BF16") return detail::count_above(elements, std::uint16_t(0x7f80));
  if (type == "F16") return detail::count_above(elements, std::uint16_t(0x7c00));
  return {};
}

}  // namespace mindgap
