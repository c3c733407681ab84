// The inner loops of the direct convolutions and products for CPUs with AVX2 and FMA, f32.
//
// Two shapes of tile, both with 12 vector accumulators in the 16 registers, so that two fused multiply-adds start each
// cycle while at most two loads are needed for three of them:
//
//   gather_tile   C[i, 0:16] (+)= sum over s, l of  A_i[s * stride + l * step] * B[s * length + l, 0:16]
//                 6 rows, each anywhere in memory; K runs over segments, evenly spaced in every row. Convolution: a row is
//                 an output pixel, a segment the kw * c inputs under one row of the window.
//   outer_tile    C[0:4, 0:24] (+)= sum over p of  A[p, 0:4] * B[b_offset_p + (0:24)]
//                 a sum of outer products over pixels: gradients of weights.
//
// pack_rows and pack_columns bring a matrix into panels of 16 columns, [columns / 16][k][16], zeros in the last.
//
// An element's sum runs over k in order in one accumulator, whatever the tile's height or width, and is added to C at the end:
// results depend neither on how rows are cut into tiles nor on the number of threads, and a long k that comes in blocks rounds
// as a sum of sums.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <immintrin.h>

#if defined(__NVCC__)
#pragma nv_diag_suppress 1675  // nvcc passes GCC's unroll pragmas on, and warns of each
#endif

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

inline constexpr int lanes = 8;
inline constexpr int gather_rows = 6, gather_vectors = 2, panel = gather_vectors * lanes;  // columns of a packed panel
inline constexpr int dot_rows = 8;
inline constexpr int outer_rows = 4, outer_vectors = 3;

// How K lies in a row of A: `count` segments, `stride` apart, of `length` elements, `step` apart. B's rows follow each other.
struct Segments {
  i64 count, length, stride, step = 1;
  i64 size() const { return count * length; }
};

enum class Start { zero, bias, sum };  // what the product is added to: nothing, the bias, or C itself

template <int Rows, int Vectors>
[[gnu::target("avx2,fma")]] inline void gather_tile(const float* a, const i32* a_offset, Segments k, const float* b, float* c,
                                                    const i32* c_offset, Start start, const float* bias) {
  __m256 sum[Rows][Vectors];
  const float* row[Rows];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
    row[i] = a + a_offset[i];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v)
      sum[i][v] = bias && start == Start::bias ? _mm256_loadu_ps(bias + v * lanes) : _mm256_setzero_ps();
  }
  for (i64 s = 0; s < k.count; ++s) {
    for (i64 l = 0, at = 0; l < k.length; ++l, at += k.step) {
      __m256 right[Vectors];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) right[v] = _mm256_load_ps(b + v * lanes);
      b += panel;
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i) {
        const __m256 left = _mm256_broadcast_ss(row[i] + at);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[i][v] = _mm256_fmadd_ps(left, right[v], sum[i][v]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) row[i] += k.stride;
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + c_offset[i] + v * lanes;
      _mm256_storeu_ps(to, start == Start::sum ? _mm256_add_ps(_mm256_loadu_ps(to), sum[i][v]) : sum[i][v]);
    }
}

// The same for a single column, b [k] as it lies: vectors run along K. Rows 0..count, count <= 8.
[[gnu::target("avx2,fma")]] inline void gather_dots(const float* a, const i32* a_offset, Segments k, const float* b, float* c,
                                                    const i32* c_offset, i64 count, float start) {
  __m256 sum[dot_rows];
  const float* row[dot_rows];
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i tail = _mm256_cmpgt_epi32(_mm256_set1_epi32(int(k.length % lanes)), lane);
#pragma GCC unroll 8
  for (int i = 0; i < dot_rows; ++i) {
    row[i] = a + a_offset[i < count ? i : count - 1];
    sum[i] = _mm256_setzero_ps();
  }
  for (i64 s = 0; s < k.count; ++s) {
    i64 l = 0;
    for (; l + lanes <= k.length; l += lanes) {
      const __m256 right = _mm256_loadu_ps(b + l);
#pragma GCC unroll 8
      for (int i = 0; i < dot_rows; ++i) sum[i] = _mm256_fmadd_ps(_mm256_loadu_ps(row[i] + l), right, sum[i]);
    }
    if (l < k.length) {
      const __m256 right = _mm256_maskload_ps(b + l, tail);
#pragma GCC unroll 8
      for (int i = 0; i < dot_rows; ++i) sum[i] = _mm256_fmadd_ps(_mm256_maskload_ps(row[i] + l, tail), right, sum[i]);
    }
    b += k.length;
#pragma GCC unroll 8
    for (int i = 0; i < dot_rows; ++i) row[i] += k.stride;
  }
  alignas(32) float each[lanes];
  for (i64 i = 0; i < count; ++i) {
    _mm256_store_ps(each, sum[i]);
    c[c_offset[i]] = start + (((each[0] + each[4]) + (each[2] + each[6])) + ((each[1] + each[5]) + (each[3] + each[7])));
  }
}

template <int Rows, int Vectors>
[[gnu::target("avx2,fma")]] inline void outer_tile(const float* a, i64 a_row, const float* b, const i32* b_offset, i64 pixels,
                                                   float* c, i64 c_row, bool add) {
  __m256 sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[i][v] = _mm256_setzero_ps();
  for (i64 p = 0; p < pixels; ++p, a += a_row) {
    const float* right_at = b + b_offset[p];
    __m256 right[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) right[v] = _mm256_loadu_ps(right_at + v * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const __m256 left = _mm256_broadcast_ss(a + i);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[i][v] = _mm256_fmadd_ps(left, right[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + i * c_row + v * lanes;
      _mm256_storeu_ps(to, add ? _mm256_add_ps(_mm256_loadu_ps(to), sum[i][v]) : sum[i][v]);
    }
}

// Eight rows of eight, transposed: to[j * to_row + i] = scale * from[i * from_row + j].
[[gnu::target("avx2,fma")]] inline void transpose_8x8(float* to, i64 to_row, const float* from, i64 from_row, float scale) {
  __m256 r[8], t[8];
  const __m256 factor = _mm256_set1_ps(scale);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) r[i] = _mm256_mul_ps(factor, _mm256_loadu_ps(from + i * from_row));
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

// One panel of a matrix that is stored [columns, k]: to[l, j] = scale * from[j * from_row + l]; columns <= 16.
[[gnu::target("avx2,fma")]] inline void pack_rows(float* to, const float* from, i64 from_row, i64 columns, i64 k, float scale) {
  const i64 whole = k / lanes * lanes;
  for (i64 j = 0; j < panel; j += lanes) {
    const i64 valid = columns - j;
    i64 l = 0;
    if (valid >= lanes)
      for (; l < whole; l += lanes) transpose_8x8(to + l * panel + j, panel, from + j * from_row + l, from_row, scale);
    for (; l < k; ++l)
      for (i64 i = 0; i < lanes; ++i) to[l * panel + j + i] = i < valid ? scale * from[(j + i) * from_row + l] : 0;
  }
}

// One panel of a matrix that is stored [k, columns]: to[l, j] = scale * from[l * from_row + j]; columns <= 16.
[[gnu::target("avx2,fma")]] inline void pack_columns(float* to, const float* from, i64 from_row, i64 columns, i64 k,
                                                     float scale) {
  if (columns == panel) {
    const __m256 factor = _mm256_set1_ps(scale);
    for (i64 l = 0; l < k; ++l)
#pragma GCC unroll 2
      for (int j = 0; j < panel; j += lanes)
        _mm256_storeu_ps(to + l * panel + j, _mm256_mul_ps(factor, _mm256_loadu_ps(from + l * from_row + j)));
  } else {
    for (i64 l = 0; l < k; ++l)
      for (i64 j = 0; j < panel; ++j) to[l * panel + j] = j < columns ? scale * from[l * from_row + j] : 0;
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
