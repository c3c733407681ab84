// What a library that only multiplies leaves to do: add a bias to rows, and change an element type.
#pragma once

#include <mindgap/kernels/columns.hpp>

namespace mindgap {

inline constexpr i64 bias_rows_per_block = 32;

// y[r, c] += bias[c]                      one block does a few rows; reads and writes every element once
template <class T>
struct AddBias {
  static constexpr int packet = packet_elements<T>;

  T* y;               // [rows, cols], rows `stride` apart
  const float* bias;  // [cols]
  i64 rows, cols, stride;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * bias_rows_per_block, left = rows - begin,
              n = left < bias_rows_per_block ? left : bias_rows_per_block;
    T* y_rows = y + begin * stride;
    if constexpr (B::packets)
      with_width<packet>(cols % packet == 0 && stride % packet == 0 && is_packet_aligned(y) && is_packet_aligned(bias),
                         [&](auto width) { team<width>(block, y_rows, int(n)); });
    else
      for (i64 r = 0; r < n; ++r)
        for (i64 c = 0; c < cols; ++c) y_rows[r * stride + c] = T(float(y_rows[r * stride + c]) + bias[c]);
  }

 private:
  template <int V, class B>
  MG_HD void team(B& block, T* y_rows, int n) const {
    const ColumnTeam<V> team(block, int(cols));
    for (int c = team.first; c < cols; c += team.step) {
      float add[V];
      load<V>(add, bias + c);
      for_loads<4>(
          team.slice, n, team.slices, [&](int r) { return load_packet<V>(y_rows + r * stride + c); },
          [&](int r, const Packet<T, V>& row) {
            float values[V];
            widen<V>(values, row);
            for (int j = 0; j < V; ++j) values[j] += add[j];
            store<V>(y_rows + r * stride + c, values);
          });
    }
  }
};

// to[i] = from[i]                         one block does `per_block` elements; reads and writes every element once
template <class To, class From>
struct Convert {
  static constexpr i64 per_block = 4096;

  To* to;            // [n]
  const From* from;  // [n]
  i64 n;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, left = n - begin;
    To* y = to + begin;
    const From* x = from + begin;
    for_packets<packet_elements<To, From>>(block, left < per_block ? left : per_block,
                                           is_packet_aligned(y) && is_packet_aligned(x), [=](auto width, i64 i) {
                                             float values[width];
                                             load<width>(values, x + i);
                                             store<width>(y + i, values);
                                           });
  }
};

}  // namespace mindgap
