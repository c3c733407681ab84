// Concatenation along the channels, and its reverse: y[r] = [a[r], b[r]]. Each reads and writes every element once.
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/copy.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// One block does a few rows. Copies [a, b] to y where Join, y to [a, b] otherwise; a null part is skipped.
template <class T, bool Join>
struct ConcatChannels {
  using Part = std::conditional_t<Join, const T*, T*>;
  using Whole = std::conditional_t<Join, T*, const T*>;
  static constexpr int vec_size = vector_size<T>;

  Whole y;  // [rows, first + second]
  Part a;   // [rows, first]
  Part b;   // [rows, second]
  i64 rows, first, second, rows_per_block;

  MG_HD bool vectorised() const {
    return first % vec_size == 0 && second % vec_size == 0 && is_vector_aligned(y) && is_vector_aligned(a) &&
           is_vector_aligned(b);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    for (i64 r = block.id() * rows_per_block, end = r + row_count(block.id()); r < end; ++r) {
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

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const i64 begin = block.id() * rows_per_block;
    const int n = row_count(block.id()), columns = int(first + second);
    const ColumnTeam<V> team(block, columns);
    for (int c = team.first; c < columns; c += team.step) {
      const i64 width = c < first ? first : second;
      const auto whole = y + begin * columns + c;
      auto part = c < first ? a : b;
      if (!part) continue;
      part += begin * width + (c < first ? c : c - first);
      const auto copy = [&](auto to, int to_stride, auto from, int from_stride) {
        for_loads<4>(
            team.slice, n, team.slices, [&](int r) { return load_vector<V>(from + r * from_stride); },
            [&](int r, const AlignedVector<T, V>& vector) { store_vector(to + r * to_stride, vector); });
      };
      if constexpr (Join) copy(whole, columns, part, int(width));
      else copy(part, int(width), whole, columns);
    }
  }

 private:
  MG_HD int row_count(i64 id) const {
    const i64 left = rows - id * rows_per_block;
    return int(left < rows_per_block ? left : rows_per_block);
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
