// Axes by number; 0 is the outermost one.
#pragma once

#include <mindgap/core/shape.hpp>

#include <type_traits>

namespace mindgap {

// One number for each axis: the order of a permutation. A parameter of this type is written as {0, 3, 1, 2}.
template <int N>
using Axes = std::type_identity_t<std::array<int, size_t(N)>>;

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
