// What a library that only multiplies leaves to do: add a bias to rows, and change an element type.
#pragma once

#include <mindgap/kernels/packet.hpp>

namespace mindgap {

inline constexpr i64 bias_rows_per_block = 16;

// y[r, c] += bias[c]                                             one block does a few rows
template <class T>
struct AddBias {
  T* y;               // [rows, cols], rows `stride` apart
  const float* bias;  // [cols]
  i64 rows, cols, stride;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * bias_rows_per_block, end = begin + bias_rows_per_block;
    for (i64 r = begin; r < end && r < rows; ++r)
      for (i64 c = block.rank(); c < cols; c += block.size()) y[r * stride + c] = T(float(y[r * stride + c]) + bias[c]);
  }
};

// to[i] = from[i]                                                one block does `per_block` elements
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
