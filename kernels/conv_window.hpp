// A 3x3 convolution of few channels whose pixels are read once, and which gathers the moments of what it writes, for a batch
// norm.
//
// As an implicit product (conv_moments.hpp) it reads x nine times, once for each tap; with 64 channels or fewer the second-level
// cache cannot deliver that as quickly as tensor cores multiply (cuDNN 9.19 reaches 377 TFLOP/s of 787 there, which is 5.9 TB/s
// of such reads). Here a block keeps all weights in shared memory, and of x a window with a border of a pixel, from which all
// taps are multiplied. Stride 1, padding 1, C channels in and out.
//
// A block has some images, one below the other with a row of zeros between two, and computes tiles of 8 columns by `tile_h` rows
// of that stack:
//
//   x         comes in windows of 10 columns by tile_h + 2 rows, the next one by asynchronous copies while one is multiplied
//   products  eight warps have 64 pixels by 32 channels each, in registers as f32
//   y         takes the place of the window that is no longer needed, is written in packets, and added to the moments
//
// Rows of zeros, and tiles that reach beyond the stack, are computed in vain: images_of() chooses how many images lose least.
// Bytes: 1.3 times x, the weights once a block (both from the second-level cache but once), y once.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/matrix_block.hpp>

namespace mindgap {

template <class T, int C>
struct ConvWindow {
  T* y;           // [n, h, w, C]
  float* mean;    // [chunks, C]
  float* square;  // [chunks, C]   sum of (y - mean)^2
  const T* x;     // [n, h, w, C]
  const T* w;     // [C, 3, 3, C]
  ConvGeometry g;
  ColumnGrid grid;  // of y, by grid_of(): a chunk is the images of a block

  static constexpr int threads = 256, blocks_at_once = C > 32 ? 1 : 2;
  static constexpr int warp_columns = C / 32, tile_w = 8, tile_h = 64 * (threads / 32 / warp_columns) / tile_w;

  // Whether the kernel computes this convolution; x, w and y begin at multiples of 16 bytes.
  static bool fits(const ConvGeometry& g) {
    return g.c_in == C && g.c_out == C && g.kh == 3 && g.kw == 3 && g.stride_h == 1 && g.stride_w == 1 && g.pad_h == 1 &&
           g.pad_w == 1 && g.x_size() < i64(1) << 31;
  }

  // Images of a block: of 1 to 8 the number that wastes the fewest rows, as long as there are 128 blocks.
  static i64 images_of(const ConvGeometry& g) {
    i64 best = 1;
    double least = 1e9;
    for (i64 images = 1; images <= 8 && (images == 1 || g.n / images >= 128); ++images) {
      const i64 tiles = (images * (g.h + 1) - 1 + tile_h - 1) / tile_h;
      const double rows = double(tiles * tile_h) / double(images);
      if (rows < least) least = rows, best = images;
    }
    return best;
  }
  static ColumnGrid grid_of(const ConvGeometry& g, i64 images) {
    return {g.n * g.h * g.w, C, 1, C, 1, images * g.h * g.w, (g.n + images - 1) / images};
  }

  MG_HD i64 shared_bytes() const { return i64(sizeof(T)) * (2 * window + 9 * C * C); }  // multiples of shared_alignment all

  template <MatrixBlock B>
  MG_HD void operator()(B& block) const {
    T* const windows = block.template shared<T>(2 * window);
    T* const weights = block.template shared<T>(9 * C * C);

    // Backwards, as the first of two passes: what was written last is read first (columns.hpp).
    const i64 id = grid.blocks() - 1 - block.id();
    const int images = int(grid.chunk_rows(id) / (g.h * g.w)), across = (int(g.w) + tile_w - 1) / tile_w;
    const int tiles = (images * (int(g.h) + 1) - 1 + tile_h - 1) / tile_h * across;
    const i64 first = grid.first_row(id) * C;
    const Stack stack{u32(images), u32(g.h), u32(g.w)};

    const int warp = block.rank() / 32, row = warp / warp_columns * (64 / tile_w), column = warp % warp_columns * 32;
    const ColumnTeam<8> team(block, C);
    PivotSums<8> moments;

    copy_weights(block, weights);
    for (int t = 0; t < 2; ++t) copy_window(block, windows + t * window, x + first, stack, t, across, tiles);
    for (int t = 0; t < tiles; ++t) {
      T* const here = windows + t % 2 * window;
      SumsOfC sums[4][4];
      block.template wait_copies<1>();
      block.sync();
      multiply(block, sums, here + row * pitch * C, weights + column * C);
      block.sync();  // nobody reads the window any more: it becomes the tile of y
      put(block, here + row * tile_w * C, sums, column / 8);
      block.sync();
      const int top = t / across * tile_h, left = t % across * tile_w;
      if (t == 0) load<8>(moments.pivot, here + swizzled<packets>(0, team.first / 8));
      for_loads<4>(
          team.slice, tile_w * tile_h, team.slices,
          [&](int m) { return load_packet<8>(here + swizzled<packets>(m, team.first / 8)); },
          [&](int m, const Packet<T, 8>& packet) {
            const auto at = stack.pixel(top + m / tile_w, left + m % tile_w);
            if (!at.inside) return;
            store_packet(y + first + at.index * C + team.first, packet);
            float values[8];
            widen<8>(values, packet);
            moments.add(values);
          });
      block.sync();
      copy_window(block, here, x + first, stack, t + 2, across, tiles);
    }
    float *const row_sums = reinterpret_cast<float*>(windows), *const row_squares = row_sums + 8 * threads;
    static_assert(2 * 8 * threads * sizeof(float) <= 2 * window * sizeof(T));
    team.put(row_sums, C, team.first, moments.sum);
    team.put(row_squares, C, team.first, moments.square);
    block.sync();
    const i64 part = grid.chunk(id) * C;
    put_moments(block, mean + part, square + part, row_sums, row_squares, y + first, int(grid.chunk_rows(id)), C, team.slices);
  }

 private:
  static constexpr int packets = C / 8, pitch = tile_w + 2, window = (tile_h + 2) * pitch * C;
  static_assert(window >= tile_w * tile_h * C && threads % packets == 0);

  // Images one below the other, a row of zeros after each.
  struct Stack {
    u32 images, h, w;

    struct Pixel {
      bool inside;
      u32 index;  // of the pixel, where it is inside
    };
    // Also for row or column -1.
    MG_HD Pixel pixel(int row, int column) const {
      const u32 image = u32(row) / (h + 1), y = u32(row) - image * (h + 1);
      const bool inside = row >= 0 && image < images && y < h && u32(column) < w;
      return {inside, (image * h + y) * w + u32(column)};
    }
  };

  template <class B>
  MG_HD void copy_weights(B& block, T* to) const {
    for (int e = block.rank(); e < 9 * C * packets; e += threads) {
      const int packet = e % packets, tap = e / packets % 9, o = e / packets / 9;
      block.copy_async(to + tap * C * C + swizzled<packets>(o, packet), w + 8 * e, true);
    }
  }

  // The window of tile t, a group of copies; an empty one beyond the last.
  template <class B>
  MG_HD void copy_window(B& block, T* to, const T* from, const Stack& stack, int t, int across, int tiles) const {
    if (t < tiles)
      for (int e = block.rank(); e < (tile_h + 2) * pitch * packets; e += threads) {
        const int packet = e % packets, i = e / packets / pitch, j = e / packets % pitch;
        const auto at = stack.pixel(t / across * tile_h - 1 + i, t % across * tile_w - 1 + j);
        block.copy_async(to + i * pitch * C + swizzled<packets>(j, packet),
                         from + (at.inside ? at.index * u32(C) : 0) + 8 * packet, at.inside);
      }
    block.commit_copies();
  }

  // sums[i][j] += 16 pixels, two rows of a tile, times 8 channels, over all taps and channels. A row of the window is swizzled by
  // its columns, so that any eight neighbours lie in different banks.
  template <class B>
  MG_HD static void multiply(B& block, SumsOfC (&sums)[4][4], const T* window_at, const T* weights_at) {
    const int group = block.rank() % 32 / 4, quad = block.rank() % 4;
    const auto pair = [](const T* from) { return bit_cast<u32>(load_packet<2>(from)); };
    for (int tap = 0; tap < 9; ++tap)
      for (int k = 0; k < packets; k += 2) {
        const T* left = window_at + tap / 3 * pitch * C + 2 * quad;
        const T* right = weights_at + tap * C * C + 2 * quad;
        const int left_of[2] = {swizzled<packets>(group + tap % 3, k), swizzled<packets>(group + tap % 3, k + 1)};
        const int right_of[2] = {swizzled<packets>(group, k), swizzled<packets>(group, k + 1)};
        OperandB b[4];
        for (int j = 0; j < 4; ++j)
          for (int half = 0; half < 2; ++half) b[j].pair[half] = pair(right + 8 * j * C + right_of[half]);
        for (int i = 0; i < 4; ++i) {
          OperandA a;
          for (int p = 0; p < 4; ++p) a.pair[p] = pair(left + (2 * i + p % 2) * pitch * C + left_of[p / 2]);
          for (int j = 0; j < 4; ++j) block.template multiply<T>(sums[i][j], a, b[j]);
        }
      }
  }

  // The sums of a warp, rounded, into its rows of a swizzled tile [pixels, C], from packet `first` on.
  template <class B>
  MG_HD static void put(const B& block, T* to, const SumsOfC (&sums)[4][4], int first) {
    const int group = block.rank() % 32 / 4, quad = block.rank() % 4;
    for (int j = 0; j < 4; ++j) {
      T* const column = to + swizzled<packets>(group, first + j) + 2 * quad;
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half) store<2>(column + (16 * i + 8 * half) * C, sums[i][j].at + 2 * half);
    }
  }
};

}  // namespace mindgap
