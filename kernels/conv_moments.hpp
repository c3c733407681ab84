// A convolution on tensor cores whose kernel also gathers the moments of each channel that it writes, for a batch norm: y is
// then not read again for them.
//
//   y[p, o] = sum over taps (u, v) and channels c of x[pixel p at (u, v), c] * w[o, u, v, c]
//
// is a product of [pixels, kh * kw * c_in] and [kh * kw * c_in, c_out] whose left matrix is never stored (an implicit GEMM):
// a row of it, cut into pieces of `depth` channels of one tap, is where that tap of that pixel lies in x, or zeros outside x.
//
// A block computes tiles of 128 pixels by 128 channels, or 256 by 64, one below the other (its chunk of rows):
//
//   x, w      come in pieces of `depth` channels through a ring of `stages` buffers in shared memory, three pieces ahead of their
//             use and across the border of two tiles, by asynchronous copies of 16 bytes (matrix_block.hpp)
//   products  eight warps have 64 pixels by 32 channels each, in registers as f32
//   y         is rounded, turned round in shared memory and written in vectors; the thread that writes one adds it to the moments
//             of its eight channels, which it keeps for all its tiles: the moments of what is stored, as a pass would find them
//
// Bytes: x once for each N channels (from the second-level cache but once), y once, 8 bytes a channel and chunk. Where c_in or
// c_out is small it is those bytes that take the time, not the products. On Hopper mma.sync reaches some 60 % of a tensor core's
// rate, the rest is wgmma's: for large convolutions cuDNN and a pass for the moments are faster, so the caller times both.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/matrix_block.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

template <class T, int N>
struct ConvMoments {
  T* y;         // [n, out_h, out_w, c_out]
  float* mean;  // [chunks, c_out]
  float* m2;    // [chunks, c_out]   sum of (y - mean)^2
  const T* x;   // [n, h, w, c_in]
  const T* w;   // [c_out, kh, kw, c_in]
  ConvGeometry g;
  ColumnGrid grid;                                     // of y, as grid_of() divides it
  u32 out_h = u32(g.out_h()), out_w = u32(g.out_w());  // a GPU divides 64 bits slowly

  static constexpr int threads = 256, blocks_at_once = 2, depth = 32, stages = 4;
  static constexpr int warp_columns = N / 32, warp_rows = threads / 32 / warp_columns, tile_rows = 64 * warp_rows;

  // Whether the kernel computes this convolution; x, w and y begin at multiples of 16 bytes.
  static bool fits(const ConvGeometry& g) {
    constexpr i64 most = i64(1) << 31;  // offsets of elements have 32 bits
    return g.c_in % depth == 0 && g.c_out % 32 == 0 && g.x_size() < most && g.y_size() < most && g.weight_size() < most;
  }

  // Chunks of whole tiles, for about as many blocks.
  static ColumnGrid grid_of(const ConvGeometry& g, i64 blocks) {
    ColumnGrid grid{g.n * g.out_h() * g.out_w(), g.c_out, 1, N, (g.c_out + N - 1) / N, tile_rows, 0};
    const i64 tiles = (grid.rows + tile_rows - 1) / tile_rows;
    grid.rows_per_chunk *= std::max<i64>(1, tiles * grid.tiles / blocks);
    grid.chunks = (grid.rows + grid.rows_per_chunk - 1) / grid.rows_per_chunk;
    return grid;
  }

  MG_HD i64 shared_bytes() const {
    return i64(sizeof(T)) * (stages * (tile_rows + N) * depth + tile_rows * N);  // multiples of shared_alignment all
  }

  template <MatrixBlock B>
  MG_HD void operator()(B& block) const {
    T* const left = block.template shared<T>(stages * tile_rows * depth);
    T* const right = block.template shared<T>(stages * N * depth);
    T* const out = block.template shared<T>(tile_rows * N);

    // Backwards, as the first of two passes: what was written last is read first (columns.hpp).
    const i64 id = grid.blocks() - 1 - block.id(), first_column = grid.first_column(id);
    const int rows = int(grid.chunk_rows(id)), columns = int(grid.columns(id));
    const int pieces = int(g.kh * g.kw * g.c_in) / depth;
    T* const y_block = y + grid.first_row(id) * grid.cols + first_column;

    const int warp = block.rank() / 32, lane = block.rank() % 32;
    const Place at{warp / warp_columns * 16 * row_products, warp % warp_columns * 8 * column_products, lane / 4, lane % 4};
    const ColumnTeam<8> team(block, columns);
    PivotSums<8> moments;

    Loader load_next(*this, block, id, left, right);
    for (int s = 0; s < stages - 1; ++s) load_next(block, s);
    int stage = 0;
    for (int top = 0; top < rows; top += tile_rows) {
      SumsOfC sums[row_products][column_products];
      for (int piece = 0; piece < pieces; ++piece) {
        block.template wait_copies<stages - 2>();
        block.sync();  // the copies of all threads are there, and the stage that was used last is free
        load_next(block, (stage + stages - 1) % stages);
        multiply_tiles<depth>(block, sums, left + (stage * tile_rows + at.row) * depth, right + (stage * N + at.column) * depth);
        stage = (stage + 1) % stages;
      }
      put(out, sums, at);
      block.sync();
      if (team.first < columns) {
        if (top == 0) load<8>(moments.pivot, out + swizzled<N / 8>(0, team.first / 8));
        T* const to = y_block + top * grid.cols + team.first;
        for_loads<4>(
            team.slice, rows - top < tile_rows ? rows - top : tile_rows, team.slices,
            [&](int r) { return load_vector<8>(out + swizzled<N / 8>(r, team.first / 8)); },
            [&](int r, const AlignedVector<T, 8>& vector) {
              store_vector(to + r * int(grid.cols), vector);
              float values[8];
              widen<8>(values, vector);
              moments.add(values);
            });
      }
    }
    float *const row_sums = reinterpret_cast<float*>(left), *const row_squares = row_sums + 8 * threads;
    static_assert(2 * 8 * threads * sizeof(float) <= stages * tile_rows * depth * sizeof(T));
    if (team.first < columns) {
      team.put(row_sums, columns, team.first, moments.sum);
      team.put(row_squares, columns, team.first, moments.square);
    }
    block.sync();
    const i64 part = grid.chunk(id) * grid.cols + first_column;
    put_moments(block, mean + part, m2 + part, row_sums, row_squares, y_block, rows, columns, team.slices);
  }

 private:
  // A warp's part of a tile, in products of 16 rows by 8 columns.
  static constexpr int row_products = 4, column_products = 4;
  struct Place {
    int row, column;  // where the part begins
    int group, quad;  // of the thread
  };

  // Copies the pieces of all tiles of a block, one after the other: each thread one vector of some rows of both sides.
  struct Loader {
    static constexpr int vectors = depth / 8, rows_at_once = threads / vectors;
    static constexpr int left_rows = tile_rows / rows_at_once, right_rows = N / rows_at_once;

    const ConvMoments& kernel;
    T *left, *right;
    int row, vector;                   // of a tile
    u32 first, pixels;                 // the pixel in that row of the next piece's tile, and where those of the chunk end
    u32 channel;                       // of y, in that row of w
    int u, v, c;                       // tap and channel of the next piece
    u32 image[left_rows];              // where the image of a row's pixel begins
    int y0[left_rows], x0[left_rows];  // where the pixel's window begins there

    template <class B>
    MG_HD Loader(const ConvMoments& k, const B& block, i64 id, T* l, T* r)
        : kernel(k),
          left(l),
          right(r),
          row(block.rank() / vectors),
          vector(block.rank() % vectors),
          first(u32(k.grid.first_row(id)) + u32(row)),
          pixels(u32(k.grid.first_row(id) + k.grid.chunk_rows(id))),
          channel(u32(k.grid.first_column(id)) + u32(row)),
          u(0),
          v(0),
          c(0) {
      begin_tile();
    }

    // The next piece; none after the last.
    template <class B>
    MG_HD void operator()(B& block, int stage) {
      if (first - u32(row) < pixels) copy(block, left + stage * tile_rows * depth, right + stage * N * depth);
      block.commit_copies();
    }

   private:
    MG_HD void begin_tile() {
      const ConvGeometry& g = kernel.g;
      for (int i = 0; i < left_rows; ++i) {
        const u32 pixel = first + u32(i * rows_at_once), line = pixel / kernel.out_w;
        image[i] = line / kernel.out_h * u32(g.h) * u32(g.w) * u32(g.c_in) + u32(8 * vector);
        y0[i] = pixel < pixels ? int(line % kernel.out_h) * int(g.stride_h) - int(g.pad_h) : int(g.h);  // beyond the end: outside
        x0[i] = int(pixel % kernel.out_w) * int(g.stride_w) - int(g.pad_w);
      }
    }

    template <class B>
    MG_HD void copy(B& block, T* to_left, T* to_right) {
      const ConvGeometry& g = kernel.g;
      const int w = int(g.w), c_in = int(g.c_in), kh = int(g.kh), kw = int(g.kw);
      for (int i = 0; i < left_rows; ++i) {
        const int iy = y0[i] + u, ix = x0[i] + v;
        const bool inside = u32(iy) < u32(g.h) && u32(ix) < u32(w);
        block.copy_async(to_left + swizzled<vectors>(row + i * rows_at_once, vector),
                         kernel.x + (inside ? image[i] + u32((iy * w + ix) * c_in + c) : 0), inside);
      }
      for (int j = 0; j < right_rows; ++j) {
        const u32 o = channel + u32(j * rows_at_once);
        const bool inside = o < u32(g.c_out);
        block.copy_async(to_right + swizzled<vectors>(row + j * rows_at_once, vector),
                         kernel.w + (inside ? ((o * u32(kh) + u32(u)) * u32(kw) + u32(v)) * u32(c_in) + u32(c + 8 * vector) : 0),
                         inside);
      }
      if ((c += depth) < c_in) return;
      c = 0;
      if (++v < kw) return;
      v = 0;
      if (++u < kh) return;
      u = 0;
      first += tile_rows;
      begin_tile();
    }
  };

  // The sums of a warp, rounded, into the tile `out`.
  MG_HD static void put(T* out, const SumsOfC (&sums)[row_products][column_products], Place at) {
    for (int j = 0; j < column_products; ++j) {
      T* to = out + at.row * N + swizzled<N / 8>(at.group, at.column / 8 + j) + 2 * at.quad;
      for (int i = 0; i < row_products; ++i)
        for (int half = 0; half < 2; ++half) store<2>(to + (16 * i + 8 * half) * N, sums[i][j].at + 2 * half);
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
