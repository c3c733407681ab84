// Sums over boxes of pixels, which pooling, resizing and their gradients are made of.
//
// Memory moves every element of both images once: boxes that share pixels are done by one block or by neighbours, which find
// them in a cache.
#pragma once

#include <mindgap/kernels/columns.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// Pixels [top, bottom) x [left, right) of an image.
struct Box {
  int top, bottom, left, right;
};

// sum[c] = the sum of value(i, j, at) over the pixels (i, j) of the box in image n of [N, height, width, channels], in their
// order; `at` is where channel c of the pixel is. Each thread owns its channels, so that no barrier is needed.
template <class B, class Value>
MG_HD void sum_box(B& block, float* sum, const Box& box, i64 n, i64 height, i64 width, i64 channels, Value value) {
  for (i64 c = block.rank(); c < channels; c += block.size()) sum[c] = 0.f;
  for (int i = box.top; i < box.bottom; ++i)
    for (int j = box.left; j < box.right; ++j) {
      const i64 at = ((n * height + i) * width + j) * channels;
      for (i64 c = block.rank(); c < channels; c += block.size()) sum[c] += value(i, j, at + c);
    }
}

// to[n, i, j, c] = scale * the sum of from[n, ., ., c] over boxes(i, j)          one block a row of `to`
template <class T, class Boxes>
struct BoxSum {
  T* to;          // [N, rows, columns, channels]
  const T* from;  // [N, from_rows, from_columns, channels]
  Boxes boxes;    // the four extents, and the box of (i, j)
  i64 channels;
  float scale;

  static constexpr int vec_size = vector_size<T>;

  MG_HD i64 shared_bytes() const { return shared_size(channels * i64(sizeof(float))); }

  MG_HD bool vectorised() const { return channels % vec_size == 0 && is_vector_aligned(to) && is_vector_aligned(from); }

  template <Block B>
  MG_HD void serial(B& block) const {
    const u32 n = u32(block.id()) / u32(boxes.rows()), i = u32(block.id()) % u32(boxes.rows());
    float* sum = block.template shared<float>(channels);
    for (int j = 0; j < boxes.columns(); ++j) {
      sum_box(block, sum, boxes(i, j), n, boxes.from_rows(), boxes.from_columns(), channels,
              [this](int, int, i64 at) { return float(from[at]); });
      T* out = to + (block.id() * boxes.columns() + j) * channels;
      for (i64 c = block.rank(); c < channels; c += block.size()) out[c] = T(scale * sum[c]);
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const u32 n = u32(block.id()) / u32(boxes.rows()), i = u32(block.id()) % u32(boxes.rows());
    const ColumnTeam<V> team(block, int(channels));
    T* out = to + block.id() * boxes.columns() * channels;
    for (int c = team.first; c < channels; c += team.step)
      for (int j = team.slice; j < boxes.columns(); j += team.slices) {
        const Box box = boxes(i, j);
        float sum[V] = {};
        for (int y = box.top; y < box.bottom; ++y) {
          const T* row = from + (n * boxes.from_rows() + y) * boxes.from_columns() * channels + c;
          for_loads<2>(
              box.left, box.right, 1, [&](int x) { return load_vector<V>(row + x * channels); },
              [&](int, const AlignedVector<T, V>& pixel) {
                float value[V];
                widen<V>(value, pixel);
                for (int k = 0; k < V; ++k) sum[k] += value[k];
              });
        }
        for (int k = 0; k < V; ++k) sum[k] *= scale;
        store<V>(out + j * channels + c, sum);
      }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
