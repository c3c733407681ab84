// 3x3 convolutions with stride 1 in 2.25 times fewer multiplications: Winograd's F(2x2, 3x3) (Lavin and Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2015, section 4.1). f32, AVX2.
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A     for each tile: d [4, 4] inputs, g [3, 3] weights, Y [2, 2] outputs
//
//   B^T = | 1  0 -1  0 |    G = |  1    0   0  |    A^T = | 1  1  1  0 |
//         | 0  1  1  0 |        | 1/2  1/2 1/2 |          | 0  1 -1 -1 |
//         | 0 -1  1  0 |        | 1/2 -1/2 1/2 |
//         | 0  1  0 -1 |        |  0    0   1  |
//
// The product * is elementwise in the tile and a sum over channels, so that each of the 16 places of a tile is a matrix product
// [tiles, c_in] x [c_in, c_out]. A few rows of tiles at a time are transformed, multiplied and transformed back in cache.
// Every number of an output comes from one tile, whose sums run over the channels in order: results depend neither on the batch
// nor on the number of threads. All coefficients are exact in binary, and sums are nine times shorter: the error is no larger
// than a direct convolution's. Bytes: x and y once, weights once and 16/9 of them twice.
#pragma once

#include <mindgap/cpu/direct_gather.hpp>

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

// Is it quicker than the direct convolution? It must follow from one image, lest an image's bits depend on its batch. Fewer tiles
// do not pay for the weights' transform, fewer channels not for the tiles'.
inline bool winograd_is_quicker(const ConvGeometry& g) {
  return g.kh == 3 && g.kw == 3 && g.stride_h == 1 && g.stride_w == 1 && g.out_h() * g.out_w() >= 64 && g.c_in >= 128 &&
         g.c_out >= 128 && g.c_in % lanes == 0 && g.c_out % lanes == 0;
}

namespace winograd {

inline constexpr i64 places = 16;           // of a tile's 4x4
inline constexpr i64 tiles_at_once = 48;    // of a product
inline constexpr i64 panels_at_once = 4;    // of 16 outputs each
inline constexpr i64 channels_packed = 64;  // of the weights, at once

// Where a tile lies: its outputs from (2 row, 2 column) on.
struct Tile {
  i64 image, row, column;

  Tile(i64 number, i64 tiles_h, i64 tiles_w)
      : image(number / (tiles_h * tiles_w)), row(number / tiles_w % tiles_h), column(number % tiles_w) {}

  // Its input or output (i, j), null where that lies outside the image.
  const float* input(const ConvGeometry& g, const float* x, i64 i, i64 j) const {
    return pixel(x, g.h, g.w, g.c_in, 2 * row - g.pad_h + i, 2 * column - g.pad_w + j);
  }
  float* output(const ConvGeometry& g, float* y, i64 i, i64 j) const {
    return pixel(y, g.out_h(), g.out_w(), g.c_out, 2 * row + i, 2 * column + j);
  }

 private:
  template <class T>
  T* pixel(T* of, i64 h, i64 w, i64 c, i64 i, i64 j) const {
    return i >= 0 && i < h && j >= 0 && j < w ? of + ((image * h + i) * w + j) * c : nullptr;
  }
};

// B^T times a column, or a row times B.
[[gnu::target("avx2,fma"), gnu::always_inline]] inline void input_line(__m256 (&to)[4], __m256 a, __m256 b, __m256 c, __m256 d) {
  to[0] = _mm256_sub_ps(a, c);
  to[1] = _mm256_add_ps(b, c);
  to[2] = _mm256_sub_ps(c, b);
  to[3] = _mm256_sub_ps(b, d);
}

// Eight channels of a tile: v[place] = B^T d B. from[i][j], null for a zero.
[[gnu::target("avx2,fma")]] inline void transform_input(float* v, i64 v_place, const float* const (&from)[4][4], i64 channels) {
  for (i64 c = 0; c < channels; c += lanes) {
    __m256 lines[4][4];  // [column][row of B^T d]
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      __m256 d[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) d[i] = from[i][j] ? _mm256_loadu_ps(from[i][j] + c) : _mm256_setzero_ps();
      input_line(lines[j], d[0], d[1], d[2], d[3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __m256 out[4];
      input_line(out, lines[0][i], lines[1][i], lines[2][i], lines[3][i]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) _mm256_storeu_ps(v + (i * 4 + j) * v_place + c, out[j]);
    }
  }
}

// G times a column, or a row times G^T.
[[gnu::target("avx2,fma"), gnu::always_inline]] inline void weight_line(__m256 (&to)[4], __m256 a, __m256 b, __m256 c) {
  const __m256 half = _mm256_set1_ps(0.5f), outer = _mm256_add_ps(a, c);
  to[0] = a;
  to[1] = _mm256_mul_ps(half, _mm256_add_ps(outer, b));
  to[2] = _mm256_mul_ps(half, _mm256_sub_ps(outer, b));
  to[3] = c;
}

// u[place][channel] = G g G^T of `channels` input channels of one output, w [3, 3, c_in].
[[gnu::target("avx2,fma")]] inline void transform_weights(float* u, i64 u_place, const float* w, i64 c_in, i64 channels) {
  for (i64 c = 0; c < channels; c += lanes) {
    __m256 lines[3][4];  // [column][row of G g]
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j)
      weight_line(lines[j], _mm256_loadu_ps(w + j * c_in + c), _mm256_loadu_ps(w + (3 + j) * c_in + c),
                  _mm256_loadu_ps(w + (6 + j) * c_in + c));
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __m256 out[4];
      weight_line(out, lines[0][i], lines[1][i], lines[2][i]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) _mm256_storeu_ps(u + (i * 4 + j) * u_place + c, out[j]);
    }
  }
}

// A tile's outputs to[i][j] (null: outside the image) = A^T m A + bias, m [place][channels]; bias [channels] or null.
[[gnu::target("avx2,fma")]] inline void transform_output(float* const (&to)[2][2], const float* m, i64 m_place, const float* bias,
                                                         i64 channels) {
  for (i64 c = 0; c < channels; c += lanes) {
    __m256 lines[4][2];  // [column][row of A^T m]
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const float* from = m + j * m_place + c;
      const __m256 first = _mm256_loadu_ps(from), second = _mm256_loadu_ps(from + 4 * m_place),
                   third = _mm256_loadu_ps(from + 8 * m_place), fourth = _mm256_loadu_ps(from + 12 * m_place);
      lines[j][0] = _mm256_add_ps(_mm256_add_ps(first, second), third);
      lines[j][1] = _mm256_sub_ps(_mm256_sub_ps(second, third), fourth);
    }
    const __m256 start = bias ? _mm256_loadu_ps(bias + c) : _mm256_setzero_ps();
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m256 a = lines[0][i], b = lines[1][i], d = lines[2][i], e = lines[3][i];
      if (to[i][0]) _mm256_storeu_ps(to[i][0] + c, _mm256_add_ps(start, _mm256_add_ps(_mm256_add_ps(a, b), d)));
      if (to[i][1]) _mm256_storeu_ps(to[i][1] + c, _mm256_add_ps(start, _mm256_sub_ps(_mm256_sub_ps(b, d), e)));
    }
  }
}

// The steps of one convolution, of some tiles or some panels of outputs.
struct Convolution {
  const ConvGeometry& g;
  float* y;
  const float *x, *w, *bias;
  i64 tiles_h = divide_up(g.out_h(), 2), tiles_w = divide_up(g.out_w(), 2), tiles = g.n * tiles_h * tiles_w;
  i64 chunks = divide_up(tiles, tiles_at_once), panels = divide_up(g.c_out, panel), slices = divide_up(panels, panels_at_once);
  i64 v_row = g.c_in + 16;  // rows apart by a power of two would share a few lines of the first cache
  i64 panel_size = g.c_in * panel;

  i64 first_tile(i64 chunk) const { return tiles * chunk / chunks; }
  i64 first_panel(i64 slice) const { return panels * slice / slices; }

  // v[place][tile][c_in] of the tiles begin..end.
  void read_tiles(float* v, i64 v_place, i64 begin, i64 end) const {
    for (i64 t = begin; t < end; ++t, v += v_row) {
      const Tile tile(t, tiles_h, tiles_w);
      const float* from[4][4];
      for (i64 i = 0; i < 4; ++i)
        for (i64 j = 0; j < 4; ++j) from[i][j] = tile.input(g, x, i, j);
      transform_input(v, v_place, from, g.c_in);
    }
  }

  // packed[place][panel][c_in][16] of the panels begin..end; u: room for few_weights numbers.
  static constexpr i64 few_weights = places * panel * channels_packed;
  void pack_weights(float* packed, i64 packed_place, i64 begin, i64 end, float* u) const {
    constexpr i64 u_place = panel * channels_packed;
    for (i64 p = begin; p < end; ++p, packed += panel_size)
      for (i64 c = 0; c < g.c_in; c += channels_packed) {
        const i64 columns = std::min<i64>(panel, g.c_out - p * panel), channels = std::min(channels_packed, g.c_in - c);
        for (i64 o = 0; o < columns; ++o)
          transform_weights(u + o * channels_packed, u_place, w + (p * panel + o) * 9 * g.c_in + c, g.c_in, channels);
        for (i64 place = 0; place < places; ++place)
          pack_rows(packed + place * packed_place + c * panel, u + place * u_place, channels_packed, columns, channels, 1);
      }
  }

  // The outputs of a chunk and a slice from its v and packed weights; m: room for `products` numbers.
  static constexpr i64 products = places * tiles_at_once * panels_at_once * panel;
  void multiply(i64 chunk, i64 slice, const float* v, i64 v_place, const float* packed, i64 packed_place, float* m) const {
    constexpr i64 m_row = panels_at_once * panel, m_place = tiles_at_once * m_row;  // [place][tile][m_row]
    const i64 begin = first_tile(chunk), end = first_tile(chunk + 1), column = first_panel(slice) * panel,
              columns = std::min(g.c_out, first_panel(slice + 1) * panel) - column;
    i32 a_offset[tiles_at_once], c_offset[tiles_at_once];
    for (i64 i = 0; i < tiles_at_once; ++i) {
      a_offset[i] = i32(i * v_row);
      c_offset[i] = i32(i * m_row);
    }
    for (i64 place = 0; place < places; ++place)
      gather_panels(v + place * v_place, a_offset, {1, g.c_in, 0}, packed + place * packed_place, m + place * m_place, c_offset,
                    end - begin, columns, 0, divide_up(columns, panel), Start::zero, nullptr);
    for (i64 t = begin; t < end; ++t, m += m_row) {
      const Tile tile(t, tiles_h, tiles_w);
      float* to[2][2];
      for (i64 i = 0; i < 2; ++i)
        for (i64 j = 0; j < 2; ++j) to[i][j] = tile.output(g, y + column, i, j);
      transform_output(to, m, m_place, bias ? bias + column : nullptr, columns);
    }
  }

  // All weights are transformed, then each chunk of tiles where it is multiplied.
  void run_by_tiles() const {
    const i64 threads = omp_get_max_threads();
    // Where there are few chunks several tasks share one, each with some of the outputs.
    const i64 groups = std::min(slices, chunks < 4 * threads ? divide_up(4 * threads, chunks) : 1);
    const i64 v_place = tiles_at_once * v_row, packed_place = panels * panel_size;
    const i64 mine_size = std::max(places * v_place + products, few_weights);
    const Scratch packed(places * packed_place), scratch(threads * mine_size);
#pragma omp parallel
    {
      float *mine = scratch.data() + omp_get_thread_num() * mine_size, *m = mine + places * v_place;
#pragma omp for schedule(dynamic, 1)
      for (i64 p = 0; p < panels; ++p) pack_weights(packed.data() + p * panel_size, packed_place, p, p + 1, mine);
#pragma omp for schedule(dynamic, 1)
      for (i64 task = 0; task < chunks * groups; ++task) {
        const i64 chunk = task / groups, group = task % groups;
        read_tiles(mine, v_place, first_tile(chunk), first_tile(chunk + 1));
        for (i64 slice = slices * group / groups; slice < slices * (group + 1) / groups; ++slice)
          multiply(chunk, slice, mine, v_place, packed.data() + first_panel(slice) * panel_size, packed_place, m);
      }
    }
  }

  // All tiles are transformed, then each slice of the weights where it is multiplied.
  void run_by_weights() const {
    const i64 threads = std::min<i64>(omp_get_max_threads(), slices);
    const i64 v_place = tiles * v_row, packed_place = panels_at_once * panel_size;
    const i64 mine_size = places * packed_place + std::max(products, few_weights);
    const Scratch v(places * v_place), scratch(threads * mine_size);
#pragma omp parallel num_threads(threads)
    {
      float *mine = scratch.data() + omp_get_thread_num() * mine_size, *m = mine + places * packed_place;
#pragma omp for schedule(static)
      for (i64 t = 0; t < tiles; ++t) read_tiles(v.data() + t * v_row, v_place, t, t + 1);
#pragma omp for schedule(dynamic, 1)
      for (i64 slice = 0; slice < slices; ++slice) {
        pack_weights(mine, packed_place, first_panel(slice), first_panel(slice + 1), m);
        for (i64 chunk = 0; chunk < chunks; ++chunk)
          multiply(chunk, slice, v.data() + first_tile(chunk) * v_row, v_place, mine, packed_place, m);
      }
    }
  }
};

}  // namespace winograd

// y = conv(x, w) + bias for a 3x3 window, stride 1, any padding, and channels in whole vectors; bias or null. Where the tiles fit
// the third cache they are what is kept, so that the weights, larger then, are never whole in memory a second time.
inline void conv2d_winograd(const ConvGeometry& g, float* y, const float* x, const float* w, const float* bias) {
  constexpr i64 cached = 6 << 20;  // 24 MB
  const winograd::Convolution convolution{g, y, x, w, bias};
  if (winograd::places * convolution.tiles * convolution.v_row <= cached) convolution.run_by_weights();
  else convolution.run_by_tiles();
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
