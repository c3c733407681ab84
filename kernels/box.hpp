// Sums over boxes of pixels, which pooling, resizing and their gradients are made of.
#pragma once

#include <mindgap/kernels/block.hpp>

namespace mindgap {

// Pixels [top, bottom) x [left, right) of an image.
struct Box {
  i64 top, bottom, left, right;
};

// sum[c] = the sum of value(pixel * channels + c) over the pixels of the box in image n of [N, height, width, channels], in their
// order. Each thread owns its channels, so that no barrier is needed.
template <class B, class Value>
MG_HD void sum_box(B& block, float* sum, const Box& box, i64 n, i64 height, i64 width, i64 channels, Value value) {
  for (i64 c = block.rank(); c < channels; c += block.size()) sum[c] = 0.f;
  for (i64 i = box.top; i < box.bottom; ++i)
    for (i64 j = box.left; j < box.right; ++j) {
      const i64 at = ((n * height + i) * width + j) * channels;
      for (i64 c = block.rank(); c < channels; c += block.size()) sum[c] += value(at + c);
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

  MG_HD i64 shared_bytes() const { return shared_size(channels * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* sum = block.template shared<float>(channels);
    const i64 n = block.id() / boxes.rows(), i = block.id() % boxes.rows();
    for (i64 j = 0; j < boxes.columns(); ++j) {
      sum_box(block, sum, boxes(i, j), n, boxes.from_rows(), boxes.from_columns(), channels,
              [this](i64 at) { return float(from[at]); });
      T* out = to + (block.id() * boxes.columns() + j) * channels;
      for (i64 c = block.rank(); c < channels; c += block.size()) out[c] = T(scale * sum[c]);
    }
  }
};

}  // namespace mindgap
