// Axes by number; 0 is the outermost one.
#pragma once

#include <mindgap/core/shape.hpp>

#include <array>
#include <concepts>
#include <type_traits>

namespace mindgap {

namespace detail {

template <int N>
class AxisNumbers {
 public:
  AxisNumbers() = default;
  AxisNumbers(const std::array<int, size_t(N)>& axes) : axes_(axes) {}
  template <std::same_as<int>... I>  // nothing is rounded or cut to an axis
  AxisNumbers(I... axes) {
    static_assert(sizeof...(I) == N, "mindgap: one number for each axis of the tensor: {0, 3, 1, 2} of one of rank 4");
    if constexpr (sizeof...(I) == N) axes_ = {axes...};
  }
  int& operator[](size_t k) { return axes_[k]; }
  int operator[](size_t k) const { return axes_[k]; }

 private:
  std::array<int, size_t(N)> axes_{};
};

}  // namespace detail

// One number for each axis, neither more nor fewer: the order of a permutation. A parameter of this type is written as
// {0, 3, 1, 2}.
template <int N>
using Axes = std::type_identity_t<detail::AxisNumbers<N>>;

// A shape as [outer, extent, inner]: neighbouring axes as one, and what lies around them.
struct AxisSplit {
  i64 outer = 1, extent = 1, inner = 1;
};

// Axes first to last of a shape, both included.
template <int N>
AxisSplit split_at(const Shape<N>& shape, int first, int last) {
  AxisSplit split;
  for (int k = 0; k < N; ++k) (k < first ? split.outer : k > last ? split.inner : split.extent) *= shape[k];
  return split;
}
template <int N>
AxisSplit split_at(const Shape<N>& shape, int axis) {
  return split_at(shape, axis, axis);
}

// Throws where a tensor has no such axis. op: for the message; input: the tensor's str().
inline void check_axis(const char* op, int axis, int rank, const std::string& input) {
  if (axis < 0 || axis >= rank)
    throw Error(text(op, ": there is no axis ", axis), {{"input", input}, {"remedy", text("0 to ", rank - 1)}});
}

}  // namespace mindgap
