// Nearest-neighbour resizing of images [N, H, W, C], and its gradient.
//
// Pixel (i, j) of the result is pixel (i * H / OH, j * W / OW) of the source, rounded down, as torch's "nearest". One
// block does a row of the image: forward a row of the result, backward a row of the source, which adds the pixels that
// copied it in their order.
#pragma once

#include <mindgap/kernels/copy.hpp>

namespace mindgap {

struct ResizeGeometry {
  i64 h, w, out_h, out_w, channels;

  MG_HD i64 source_row(i64 i) const { return i * h / out_h; }
  MG_HD i64 source_column(i64 j) const { return j * w / out_w; }
  // The first result row (column) that copies source row i or a later one.
  MG_HD i64 first_row(i64 i) const { return (i * out_h + h - 1) / h; }
  MG_HD i64 first_column(i64 j) const { return (j * out_w + w - 1) / w; }
};

template <class T>
struct UpsampleNearest {
  T* y;        // [N, out_h, out_w, C]
  const T* x;  // [N, h, w, C]
  ResizeGeometry g;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 n = block.id() / g.out_h, i = block.id() % g.out_h;
    const T* in = x + (n * g.h + g.source_row(i)) * g.w * g.channels;
    T* out = y + block.id() * g.out_w * g.channels;
    for (i64 j = 0; j < g.out_w; ++j) {
      const T* pixel = in + g.source_column(j) * g.channels;
      copy_row(block, out + j * g.channels, pixel, g.channels);
    }
  }
};

template <class T>
struct UpsampleNearestBackward {
  T* grad_x;        // [N, h, w, C]
  const T* grad_y;  // [N, out_h, out_w, C]
  ResizeGeometry g;

  MG_HD i64 shared_bytes() const { return shared_size(g.channels * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* sum = block.template shared<float>(g.channels);  // each thread owns its channels
    const i64 n = block.id() / g.h, i = block.id() % g.h;
    for (i64 j = 0; j < g.w; ++j) {
      for (i64 c = block.rank(); c < g.channels; c += block.size()) sum[c] = 0.f;
      for (i64 oi = g.first_row(i); oi < g.first_row(i + 1); ++oi)
        for (i64 oj = g.first_column(j); oj < g.first_column(j + 1); ++oj) {
          const T* from = grad_y + ((n * g.out_h + oi) * g.out_w + oj) * g.channels;
          for (i64 c = block.rank(); c < g.channels; c += block.size()) sum[c] += float(from[c]);
        }
      T* out = grad_x + (block.id() * g.w + j) * g.channels;
      for (i64 c = block.rank(); c < g.channels; c += block.size()) out[c] = T(sum[c]);
    }
  }
};

}  // namespace mindgap
