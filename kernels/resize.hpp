// Nearest-neighbour resizing of images [N, H, W, C], and its gradient.
//
// Pixel (i, j) of the result is pixel (i * H / OH, j * W / OW) of the source, rounded down, as torch's "nearest". One
// block does a row of the result; backward a row of the source, which adds the pixels that copied it in their order. Memory moves
// every element of both images once.
#pragma once

#include <mindgap/kernels/box.hpp>
#include <mindgap/kernels/copy.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// Extents are below 65,536: products of two fit 32 bits, which a GPU divides in a few cycles.
struct ResizeGeometry {
  i64 h, w, out_h, out_w, channels;

  MG_HD int source_row(int i) const { return int(u32(i) * u32(h) / u32(out_h)); }
  MG_HD int source_column(int j) const { return int(u32(j) * u32(w) / u32(out_w)); }
  // The pixels of the result that copy source pixel (i, j).
  MG_HD Box copies_of(int i, int j) const { return {first_row(i), first_row(i + 1), first_column(j), first_column(j + 1)}; }

 private:
  // The first result row (column) that copies source row i or a later one.
  MG_HD int first_row(int i) const { return int((u32(i) * u32(out_h) + u32(h) - 1) / u32(h)); }
  MG_HD int first_column(int j) const { return int((u32(j) * u32(out_w) + u32(w) - 1) / u32(w)); }
};

template <class T>
struct UpsampleNearest {
  T* y;        // [N, out_h, out_w, C]
  const T* x;  // [N, h, w, C]
  ResizeGeometry g;

  static constexpr int vec_size = vector_size<T>;
  MG_HD bool vectorised() const { return g.channels % vec_size == 0 && is_vector_aligned(x) && is_vector_aligned(y); }

  template <Block B>
  MG_HD void serial(B& block) const {
    const T* in = source_row(block.id());
    T* out = y + block.id() * g.out_w * g.channels;
    for (int j = 0; j < g.out_w; ++j) copy_row(block, out + j * g.channels, in + g.source_column(j) * g.channels, g.channels);
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const T* in = source_row(block.id());
    T* out = y + block.id() * g.out_w * g.channels;
    const ColumnTeam<V> team(block, int(g.channels));
    for (int c = team.first; c < g.channels; c += team.step)
      for_loads<4>(
          team.slice, int(g.out_w), team.slices, [&](int j) { return load_vector<V>(in + g.source_column(j) * g.channels + c); },
          [&](int j, const AlignedVector<T, V>& pixel) { store_vector(out + j * g.channels + c, pixel); });
  }

 private:
  // Where the row of x begins that output row `id` of all copies.
  MG_HD const T* source_row(i64 id) const {
    const u32 n = u32(id) / u32(g.out_h), i = u32(id) % u32(g.out_h);
    return x + (n * g.h + g.source_row(int(i))) * g.w * g.channels;
  }
};

// The gradient of a pixel is the sum over its copies: a BoxSum.
struct Copies {
  ResizeGeometry g;

  MG_HD i64 rows() const { return g.h; }
  MG_HD i64 columns() const { return g.w; }
  MG_HD i64 from_rows() const { return g.out_h; }
  MG_HD i64 from_columns() const { return g.out_w; }
  MG_HD Box operator()(int i, int j) const { return g.copies_of(i, j); }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
