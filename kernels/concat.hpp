// Concatenation along the channels, and its reverse: y[r] = [a[r], b[r]]. Each reads and writes every element once.
#pragma once

#include <mindgap/kernels/copy.hpp>

namespace mindgap {

// One block does a few rows. Copies [a, b] to y where Join, y to [a, b] otherwise; a null part is skipped.
template <class T, bool Join>
struct ConcatChannels {
  using Part = std::conditional_t<Join, const T*, T*>;
  using Whole = std::conditional_t<Join, T*, const T*>;

  Whole y;  // [rows, first + second]
  Part a;   // [rows, first]
  Part b;   // [rows, second]
  i64 rows, first, second, rows_per_block;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * rows_per_block, end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
    for (i64 r = begin; r < end; ++r) {
      const auto whole = y + r * (first + second);
      if constexpr (Join) {
        copy_row(block, whole, a + r * first, first);
        copy_row(block, whole + first, b + r * second, second);
      } else {
        if (a) copy_row(block, a + r * first, whole, first);
        if (b) copy_row(block, b + r * second, whole + first, second);
      }
    }
  }
};

}  // namespace mindgap
