// Concatenation along the channels, and its reverse: y[r] = [a[r], b[r]]. Each reads and writes every element once.
#pragma once

#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/copy.hpp>

namespace mindgap {

// One block does a few rows. Copies [a, b] to y where Join, y to [a, b] otherwise; a null part is skipped.
template <class T, bool Join>
struct ConcatChannels {
  using Part = std::conditional_t<Join, const T*, T*>;
  using Whole = std::conditional_t<Join, T*, const T*>;
  static constexpr int packet = packet_elements<T>;

  Whole y;  // [rows, first + second]
  Part a;   // [rows, first]
  Part b;   // [rows, second]
  i64 rows, first, second, rows_per_block;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * rows_per_block, end = begin + rows_per_block < rows ? begin + rows_per_block : rows;
    if constexpr (B::packets)
      with_width<packet>(
          first % packet == 0 && second % packet == 0 && is_packet_aligned(y) && is_packet_aligned(a) && is_packet_aligned(b),
          [&](auto width) { team<width>(block, begin, int(end - begin)); });
    else
      for (i64 r = begin; r < end; ++r) row(block, r);
  }

 private:
  template <class B>
  MG_HD void row(B& block, i64 r) const {
    const auto whole = y + r * (first + second);
    if constexpr (Join) {
      copy_row(block, whole, a + r * first, first);
      copy_row(block, whole + first, b + r * second, second);
    } else {
      if (a) copy_row(block, a + r * first, whole, first);
      if (b) copy_row(block, b + r * second, whole + first, second);
    }
  }

  template <int V, class B>
  MG_HD void team(B& block, i64 begin, int n) const {
    const int columns = int(first + second);
    const ColumnTeam<V> team(block, columns);
    for (int c = team.first; c < columns; c += team.step) {
      const i64 width = c < first ? first : second;
      const auto whole = y + begin * columns + c;
      auto part = c < first ? a : b;
      if (!part) continue;
      part += begin * width + (c < first ? c : c - first);
      const auto copy = [&](auto to, int to_stride, auto from, int from_stride) {
        for_loads<4>(
            team.slice, n, team.slices, [&](int r) { return load_packet<V>(from + r * from_stride); },
            [&](int r, const Packet<T, V>& packet) { store_packet(to + r * to_stride, packet); });
      };
      if constexpr (Join) copy(whole, columns, part, int(width));
      else copy(part, int(width), whole, columns);
    }
  }
};

}  // namespace mindgap
