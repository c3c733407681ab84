// Nearest-neighbour resizing of images [N, H, W, C], and its gradient.
//
// Pixel (i, j) of the result is pixel (i * H / OH, j * W / OW) of the source, rounded down, as torch's "nearest". One
// block does a row of the result; backward a row of the source, which adds the pixels that copied it in their order.
#pragma once

#include <mindgap/kernels/box.hpp>
#include <mindgap/kernels/copy.hpp>

namespace mindgap {

struct ResizeGeometry {
  i64 h, w, out_h, out_w, channels;

  MG_HD i64 source_row(i64 i) const { return i * h / out_h; }
  MG_HD i64 source_column(i64 j) const { return j * w / out_w; }
  // The pixels of the result that copy source pixel (i, j).
  MG_HD Box copies_of(i64 i, i64 j) const { return {first_row(i), first_row(i + 1), first_column(j), first_column(j + 1)}; }

 private:
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

// The gradient of a pixel is the sum over its copies: a BoxSum.
struct Copies {
  ResizeGeometry g;

  MG_HD i64 rows() const { return g.h; }
  MG_HD i64 columns() const { return g.w; }
  MG_HD i64 from_rows() const { return g.out_h; }
  MG_HD i64 from_columns() const { return g.out_w; }
  MG_HD Box operator()(i64 i, i64 j) const { return g.copies_of(i, j); }
};

}  // namespace mindgap
