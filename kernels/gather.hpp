// Elements by index along one axis, and their gradient.
//
// The gradient is added line by line (a line: the elements along the axis), in the order of the index, so that the sum is the
// same on every device and for every number of threads. What is added to many times is f32.
#pragma once

#include <mindgap/kernels/vectorised.hpp>

#include <cmath>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// y[o, r, c] = x[o, index[o, r, c], c], or NaN for an index outside x        one block does `per_block` elements
template <class T>
struct Gather {
  static constexpr i64 per_block = 8192;

  T* y;                   // [outer, m, inner]
  const T* x;             // [outer, n, inner]
  const i32* index;       // [outer, m, inner]
  i64 size, n, m, inner;  // size: elements of y

  MG_HD i64 blocks() const { return (size + per_block - 1) / per_block; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, end = begin + per_block < size ? begin + per_block : size;
    for (i64 i = begin + block.rank(); i < end; i += block.size()) {
      const i64 j = index[i];
      y[i] = j >= 0 && j < n ? x[(i / (m * inner) * n + j) * inner + i % inner] : T(NAN);
    }
  }
};

// grad_x[o, j, c] += sum of grad_y[o, r, c] over all r with index[o, r, c] = j        one block does `per_block` lines; no two
// threads share one
template <class T>
struct GatherBackward {
  static constexpr i64 per_block = 256;

  float* grad_x;           // [outer, n, inner]
  const T* grad_y;         // [outer, m, inner]
  const i32* index;        // [outer, m, inner]
  i64 lines, n, m, inner;  // lines: outer * inner

  MG_HD i64 blocks() const { return (lines + per_block - 1) / per_block; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, end = begin + per_block < lines ? begin + per_block : lines;
    for (i64 line = begin + block.rank(); line < end; line += block.size()) {
      const i64 o = line / inner, c = line % inner;
      for (i64 r = 0; r < m; ++r) {
        const i64 at = (o * m + r) * inner + c, j = index[at];
        if (j >= 0 && j < n) grad_x[(o * n + j) * inner + c] += float(grad_y[at]);
      }
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
