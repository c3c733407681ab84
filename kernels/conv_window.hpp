// A 3x3 convolution of few channels whose pixels are read once. It gathers the moments of what it writes, for a batch norm, or
// adds what it writes to another tensor, as a gradient.
//
// As an implicit GEMM (conv_moments.hpp) it reads x nine times, once for each tap; with 64 channels or fewer the second-level
// cache cannot deliver that as quickly as tensor cores multiply (cuDNN 9.19 reaches 377 TFLOP/s of 787 there, which is 5.9 TB/s
// of such reads). Here a block keeps all weights in shared memory, and of x a window with a border of a pixel, from which all
// taps are multiplied. Stride 1, padding 1, C channels in and out.
//
// A block has some images, one below the other, and computes tiles of 8 columns by `tile_h` rows of that stack:
//
//   x         comes in windows of 10 columns by tile_h + 2 rows, the next one by asynchronous copies while one is multiplied
//   products  eight warps have 8 x 8 pixels by 32 channels each, in registers as f32. An operand holds two rows of pixels, r and
//             r + 4 of the window, so that six of them serve all vertical taps: shared memory is read less than twice for
//             three products
//   y         takes the place of the window that is no longer needed, is written in vectors, and added to the moments
//
// What lies between images is computed in vain: a row of zeros, or, where that wastes less, all up to the next tile.
// Bytes: 1.3 times x, the weights once a block (both from the second-level cache but once), y once, what it is added to once.
//
// The gradient of x is such a convolution of the gradient of y, by weights whose taps are turned round and whose channels change
// sides (FlipWeights).
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/matrix_block.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// Whether there is such a kernel for a convolution; tensors begin at multiples of 16 bytes.
inline bool fits_window(const ConvGeometry& g) {
  return (g.c_in == 32 || g.c_in == 64) && g.c_out == g.c_in && g.kh == 3 && g.kw == 3 && g.stride_h == 1 && g.stride_w == 1 &&
         g.pad_h == 1 && g.pad_w == 1 && g.x_size() < i64(1) << 31;
}

enum class ConvEnd { moments, sum };  // what becomes of y

template <class T, int C, ConvEnd End>
struct ConvWindow {
  T* y;             // [n, h, w, C]
  float* mean;      // [chunks, C]                         of moments
  float* m2;        // [chunks, C]   sum of (y - mean)^2
  const T* before;  // [n, h, w, C]  what y is added to, or null; of a sum
  const T* x;       // [n, h, w, C]
  const T* w;       // [C, 3, 3, C]
  ConvGeometry g;
  ColumnGrid grid;  // of y, by grid_of(): a chunk is the images of a block
  int spacing = int(spacing_of(g, grid.rows_per_chunk / (g.h * g.w)));

  static constexpr int threads = 256, blocks_at_once = 1;
  static constexpr int warp_columns = C / 32, tile_w = 8, tile_h = 64 * (threads / 32 / warp_columns) / tile_w;

  // Rows from one image of a stack to the next: its own and one of zeros, or its own tiles.
  static i64 spacing_of(const ConvGeometry& g, i64 images) {
    const i64 own_tiles = tiles_of(g.h) * tile_h;
    return images * own_tiles <= tiles_of(images * (g.h + 1) - 1) * tile_h ? own_tiles : g.h + 1;
  }
  // Images of a block: the number that wastes the fewest rows, of such numbers the greatest, as long as there are blocks for a
  // large GPU: weights are read once a block.
  static i64 images_of(const ConvGeometry& g) {
    i64 best = 1;
    double least = 1e9;
    for (i64 images = 1; images <= 8 && (images == 1 || g.n / images >= 128 * blocks_at_once); ++images) {
      const double rows = double(rows_of(images, spacing_of(g, images), g.h)) / double(images);
      if (rows <= least) least = rows, best = images;
    }
    return best;
  }
  static ColumnGrid grid_of(const ConvGeometry& g, i64 images) {
    return {g.n * g.h * g.w, C, 1, C, 1, images * g.h * g.w, (g.n + images - 1) / images};
  }

  MG_HD static i64 tiles_of(i64 rows) { return (rows + tile_h - 1) / tile_h; }
  // Of a stack, in whole tiles.
  MG_HD static i64 rows_of(i64 images, i64 spacing, i64 h) { return tiles_of((images - 1) * spacing + h) * tile_h; }

  MG_HD i64 shared_bytes() const { return i64(sizeof(T)) * (2 * window + 9 * C * C); }  // multiples of shared_alignment all

  template <MatrixBlock B>
  MG_HD void operator()(B& block) const {
    T* const windows = block.template shared<T>(2 * window);
    T* const weights = block.template shared<T>(9 * C * C);

    // Backwards, as the first of two passes: what was written last is read first (columns.hpp).
    const i64 id = grid.blocks() - 1 - block.id();
    const int images = int(grid.chunk_rows(id) / (g.h * g.w)), across = (int(g.w) + tile_w - 1) / tile_w;
    const int tiles = int(rows_of(images, spacing, g.h)) / tile_h * across;
    const i64 first = grid.first_row(id) * C;

    const int warp = block.rank() / 32, row = warp / warp_columns * 8, column = warp % warp_columns * 32;
    const ColumnTeam<8> team(block, C);
    PivotSums<8> moments;

    copy_weights(block, weights);
    for (int t = 0; t < 2; ++t) copy_window(block, windows + t * window, x + first, images, t, across, tiles);
    for (int t = 0; t < tiles; ++t) {
      T* const here = windows + t % 2 * window;
      SumsOfC sums[4][4];
      block.template wait_copies<1>();
      block.sync();
      multiply(block, sums, here + row * pitch * C, weights + column * C);
      block.sync();  // nobody reads the window any more: it becomes the tile of y
      put(block, here + row * tile_w * C, sums, column / 8);
      block.sync();
      if (End == ConvEnd::moments && t == 0) load<8>(moments.pivot, here + swizzled<vectors>(0, team.first / 8));
      // A thread's pixels lie one below the other.
      const int column_of_y = t % across * tile_w + team.slice % tile_w;
      Row at(*this, images, t / across * tile_h, team.slice / tile_w);
      for_loads<4>(
          team.slice, tile_w * tile_h, team.slices,
          [&](int m) { return load_vector<8>(here + swizzled<vectors>(m, team.first / 8)); },
          [&](int, const AlignedVector<T, 8>& vector) {
            if (at.inside() && column_of_y < int(g.w)) {
              finish(first + at.pixel(column_of_y) * C + team.first, vector, moments);
            }
            at.advance(team.slices / tile_w);
          });
      block.sync();
      copy_window(block, here, x + first, images, t + 2, across, tiles);
    }
    if constexpr (End == ConvEnd::moments) {
      float *const row_sums = reinterpret_cast<float*>(windows), *const row_squares = row_sums + 8 * threads;
      static_assert(2 * 8 * threads * sizeof(float) <= 2 * window * sizeof(T));
      team.put(row_sums, C, team.first, moments.sum);
      team.put(row_squares, C, team.first, moments.square);
      block.sync();
      const i64 part = grid.chunk(id) * C;
      put_moments(block, mean + part, m2 + part, row_sums, row_squares, y + first, int(grid.chunk_rows(id)), C, team.slices);
    }
  }

 private:
  static constexpr int vectors = C / 8, pitch = tile_w + 2, window = (tile_h + 2) * pitch * C;
  static_assert(window >= tile_w * tile_h * C && threads % vectors == 0);

  MG_HD void finish(i64 at, const AlignedVector<T, 8>& vector, PivotSums<8>& moments) const {
    if (End == ConvEnd::moments || !before) store_vector(y + at, vector);
    float values[8];
    widen<8>(values, vector);
    if constexpr (End == ConvEnd::moments) {
      moments.add(values);
    } else if (before) {
      float sum[8];
      load<8>(sum, before + at);
      for (int j = 0; j < 8; ++j) sum[j] += values[j];
      store<8>(y + at, sum);
    }
  }

  // A row of a stack: of which image, and where in it; outside above the first and below the last row of each.
  struct Row {
    int images, h, w, last;  // last: the y after which the next image begins, beyond reach where each has its own tiles
    int image, y;

    // `down` rows below the first of a tile, at least -1.
    MG_HD Row(const ConvWindow& k, int images_, int top, int down)
        : images(images_),
          h(int(k.g.h)),
          w(int(k.g.w)),
          last(k.spacing == h + 1 ? h : 1 << 30),
          image(top / k.spacing),
          y(top % k.spacing) {
      advance(down);
    }
    MG_HD void advance(int rows) {
      y += rows;
      while (y > last) y -= last + 1, ++image;
    }
    MG_HD bool inside() const { return y >= 0 && y < h && image < images; }
    MG_HD u32 pixel(int column) const { return (u32(image) * u32(h) + u32(y)) * u32(w) + u32(column); }
  };

  template <class B>
  MG_HD void copy_weights(B& block, T* to) const {
    for (int e = block.rank(); e < 9 * C * vectors; e += threads) {
      const int vector = e % vectors, tap = e / vectors % 9, o = e / vectors / 9;
      block.copy_async(to + tap * C * C + swizzled<vectors>(o, vector), w + 8 * e, true);
    }
  }

  // The window of tile t, a group of copies; an empty one beyond the last. A thread has one vector of every few rows.
  template <class B>
  MG_HD void copy_window(B& block, T* to, const T* from, int images, int t, int across, int tiles) const {
    constexpr int row_vectors = pitch * vectors, rows_at_once = threads / row_vectors;
    const int i0 = block.rank() / row_vectors, j = block.rank() % row_vectors / vectors, vector = block.rank() % vectors;
    if (t < tiles && i0 < rows_at_once) {
      const int column = t % across * tile_w - 1 + j;
      const bool in_row = u32(column) < u32(g.w);
      Row at(*this, images, t / across * tile_h, i0 - 1);
      to += swizzled<vectors>(j, vector);
      for (int i = i0; i < tile_h + 2; i += rows_at_once) {
        const bool inside = in_row && at.inside();
        block.copy_async(to + i * pitch * C, from + (inside ? at.pixel(column) * u32(C) : 0) + 8 * vector, inside);
        at.advance(rows_at_once);
      }
    }
    block.commit_copies();
  }

  // sums[i][j] += rows i and i + 4 of a warp's pixels times 8 channels, over all taps and channels. A row of the window is
  // swizzled by its columns, so that any eight neighbours lie in different banks.
  template <class B>
  MG_HD static void multiply(B& block, SumsOfC (&sums)[4][4], const T* window_at, const T* weights_at) {
    const int group = block.rank() % 32 / 4, quad = block.rank() % 4;
    const auto pair = [=](const T* from) { return bit_cast<u32>(load_vector<2>(from + 2 * quad)); };
    for (int v = 0; v < 3; ++v)
      for (int k = 0; k < vectors; k += 2) {
        const int left_of[2] = {swizzled<vectors>(group + v, k), swizzled<vectors>(group + v, k + 1)};
        const int right_of[2] = {swizzled<vectors>(group, k), swizzled<vectors>(group, k + 1)};
        OperandA a[6];
        for (int r = 0; r < 6; ++r)
          for (int p = 0; p < 4; ++p) a[r].pair[p] = pair(window_at + (r + 4 * (p % 2)) * pitch * C + left_of[p / 2]);
        for (int u = 0; u < 3; ++u) {
          const T* tap = weights_at + (3 * u + v) * C * C;
          OperandB b[4];
          for (int j = 0; j < 4; ++j)
            for (int half = 0; half < 2; ++half) b[j].pair[half] = pair(tap + 8 * j * C + right_of[half]);
          for (int i = 0; i < 4; ++i)
            for (int j = 0; j < 4; ++j) block.template multiply<T>(sums[i][j], a[i + u], b[j]);
        }
      }
  }

  // The sums of a warp, rounded, into its rows of a swizzled tile [pixels, C], from vector `first` on.
  template <class B>
  MG_HD static void put(const B& block, T* to, const SumsOfC (&sums)[4][4], int first) {
    const int group = block.rank() % 32 / 4, quad = block.rank() % 4;
    for (int j = 0; j < 4; ++j) {
      T* const column = to + swizzled<vectors>(group, first + j) + 2 * quad;
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half) store<2>(column + (i + 4 * half) * tile_w * C, sums[i][j].at + 2 * half);
    }
  }
};

// to[c, taps - 1 - tap, o] = w[o, tap, c]: the weights by which the gradient of the data is a convolution, stride 1. They are few
// and in the cache, so each thread fetches its elements one by one.
template <class T>
struct FlipWeights {
  static constexpr i64 per_block = 2048;

  T* to;       // [inputs, taps, outputs]
  const T* w;  // [outputs, taps, inputs]
  i64 outputs, taps, inputs;

  i64 size() const { return outputs * taps * inputs; }
  i64 blocks() const { return (size() + per_block - 1) / per_block; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const u32 o_count = u32(outputs), t_count = u32(taps), c_count = u32(inputs), all = o_count * t_count * c_count;
    for (u32 i = u32(block.id() * per_block) + u32(block.rank()), end = u32((block.id() + 1) * per_block); i < end && i < all;
         i += u32(block.size())) {
      const u32 o = i % o_count, tap = t_count - 1 - i / o_count % t_count, c = i / o_count / t_count;
      to[i] = w[(o * t_count + tap) * c_count + c];
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
