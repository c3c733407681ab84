// Shape<N>: N extents of 64 bits, outermost first. Tensors are dense and channels-last, so a shape is all the layout
// there is.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <array>
#include <concepts>
#include <string>

namespace mindgap {

// "[8, 28, 28, 16]"
std::string extents_text(const i64* extents, size_t count);

template <int N>
struct Shape {
  std::array<i64, N> extents{};

  constexpr Shape() = default;
  template <std::integral... I>
  requires(sizeof...(I) == N && N > 0) constexpr Shape(I... extent) : extents{i64(extent)...} {}

  constexpr i64& operator[](int i) { return extents[i]; }
  constexpr i64 operator[](int i) const { return extents[i]; }
  constexpr bool operator==(const Shape&) const = default;

  // Number of elements; 1 for rank 0. Throws where it does not fit i64.
  constexpr i64 size() const {
    i64 product = 1;
    for (i64 extent : extents)
      if (__builtin_mul_overflow(product, extent, &product))
        throw Error("a shape has more than 2^63 elements", {{"shape", str()}});
    return product;
  }

  // "[8, 28, 28, 16]"
  std::string str() const { return extents_text(extents.data(), N); }
};

template <std::integral... I>
Shape(I...) -> Shape<int(sizeof...(I))>;

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/core/shape.ipp>
#endif
