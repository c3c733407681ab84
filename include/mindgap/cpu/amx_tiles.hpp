// AMX: eight tile registers of 16 rows of 64 bytes, and one instruction that multiplies 16 x 32 bf16 numbers by 32 x 16 and adds
// the 16 x 16 products to f32 sums (Intel, "Architecture instruction set extensions", chapter 3). What the two kernels on it
// share: permission, tile registers, packing, and the inner loop.
//
//   a left tile    16 rows of A, 32 numbers of K each
//   a right tile   32 numbers of K of 16 columns of B: row k / 2 holds k and k + 1 of each column side by side
#pragma once

#include <mindgap/core/dtype.hpp>

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__NVCC__)
#pragma nv_diag_suppress 1675  // nvcc passes GCC's unroll pragmas on, and warns of each
#endif

#define MINDGAP_AMX gnu::target("avx512f,avx512bw,avx512vl,amx-tile,amx-bf16")

namespace mindgap::cpu::amx {
inline namespace MINDGAP_SET {

inline constexpr i64 edge = 16, depth = 32;     // a tile is `edge` rows of `depth` numbers
inline constexpr i64 tile_size = edge * depth;  // 1 KiB

// Masks that keep every element: g++ 12 warns of undefined values in the forms of some intrinsics that have no mask.
inline constexpr __mmask16 all16 = 0xffff;
inline constexpr __mmask8 all8 = 0xff;

// Has this CPU tiles, and does the system let this process use them?
inline bool runs_here() {
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM
  static const bool runs = __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("avx512bw") &&
                           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return runs;
}

// Makes all eight tile registers of this thread 16 rows of 64 bytes, for as long as the object lives.
class Tiles {
 public:
  [[MINDGAP_AMX]] Tiles() {
    struct alignas(64) {
      u8 palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      u8 rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    asm volatile("" ::"r"(&shape) : "memory");  // g++ 12 does not know that the next line reads all of it
    _tile_loadconfig(&shape);
  }
  [[MINDGAP_AMX]] ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
};

alignas(32) inline constexpr bf16 zeros[edge] = {};

// 16 numbers of one row and 16 of another, alternating.
[[MINDGAP_AMX]] inline __m512i pair(__m256i first, __m256i second) {
  alignas(64) static constexpr std::uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(order),
                                  _mm512_maskz_inserti64x4(all8, _mm512_castsi256_si512(first), second, 1));
}
[[MINDGAP_AMX]] inline __m256i load_16(const bf16* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }

// Right tiles, to[pixel / 32][pixel / 2 % 16][16][2]: 16 inputs at from + offset[pixel], zeros behind the last pixel.
[[MINDGAP_AMX]] inline void pack_right(bf16* to, const bf16* from, const i32* offset, i64 pixels, i64 tile_stride) {
  for (; pixels >= depth; pixels -= depth, offset += depth, to += tile_stride)
#pragma GCC unroll 16
    for (i64 p = 0; p < depth; p += 2)
      _mm512_store_si512(to + p * edge, pair(load_16(from + offset[p]), load_16(from + offset[p + 1])));
  if (pixels > 0)
    for (i64 p = 0; p < depth; p += 2) {
      const auto at = [&](i64 q) { return q < pixels ? from + offset[q] : zeros; };
      _mm512_store_si512(to + p * edge, pair(load_16(at(p)), load_16(at(p + 1))));
    }
}

// Rows become columns, in 32-bit elements.
[[MINDGAP_AMX]] inline void transpose_16x16(__m512i (&r)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_maskz_unpacklo_epi32(all16, r[i], r[i + 1]);
    t[i + 1] = _mm512_maskz_unpackhi_epi32(all16, r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      r[i + 2 * j] = _mm512_maskz_unpacklo_epi64(all8, t[i + j], t[i + j + 2]);
      r[i + 2 * j + 1] = _mm512_maskz_unpackhi_epi64(all8, t[i + j], t[i + j + 2]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i a = _mm512_maskz_shuffle_i32x4(all16, r[i], r[i + 4], 0x88),
                  b = _mm512_maskz_shuffle_i32x4(all16, r[i], r[i + 4], 0xdd);
    const __m512i c = _mm512_maskz_shuffle_i32x4(all16, r[i + 8], r[i + 12], 0x88),
                  d = _mm512_maskz_shuffle_i32x4(all16, r[i + 8], r[i + 12], 0xdd);
    t[i] = _mm512_maskz_shuffle_i32x4(all16, a, c, 0x88);
    t[i + 8] = _mm512_maskz_shuffle_i32x4(all16, a, c, 0xdd);
    t[i + 4] = _mm512_maskz_shuffle_i32x4(all16, b, d, 0x88);
    t[i + 12] = _mm512_maskz_shuffle_i32x4(all16, b, d, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// Left tiles, to[pixel / 32][16 channels][32 pixels], of from[pixel][channels]; sum (or null) gains the 16 channels' sums.
[[MINDGAP_AMX]] inline void pack_left(bf16* to, const bf16* from, i64 channels, i64 pixels, i64 tile_stride, float* sum) {
  const i64 tiles = (pixels + depth - 1) / depth;
  __m512 total = _mm512_setzero_ps();
  const __m512i high = _mm512_set1_epi32(i32(0xffff0000u));
  for (i64 tile = 0; tile < tiles; ++tile) {
    __m512i row[16];
#pragma GCC unroll 16
    for (int q = 0; q < 16; ++q) {
      const i64 p = tile * depth + 2 * q;
      row[q] =
          pair(load_16(p < pixels ? from + p * channels : zeros), load_16(p + 1 < pixels ? from + (p + 1) * channels : zeros));
      if (sum) {
        total = _mm512_add_ps(total, _mm512_castsi512_ps(_mm512_maskz_slli_epi32(all16, row[q], 16)));
        total = _mm512_add_ps(total, _mm512_castsi512_ps(_mm512_and_si512(row[q], high)));
      }
    }
    transpose_16x16(row);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) _mm512_store_si512(to + tile * tile_stride + i * depth, row[i]);
  }
  if (sum) _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), total));
}

// Which axis of a stored matrix is K: its rows run along K, or each row holds one k.
enum class Stored { along_k, across_k };

// Tiles, to[k / 32], of 16 rows of A (`left`) or 16 columns of B of which `count` exist, over `k` numbers of K; zeros fill up.
// `row` is the distance of the stored matrix's rows.
[[MINDGAP_AMX]] inline void pack_tiles(bf16* to, i64 tile_stride, const bf16* from, i64 row, Stored stored, bool left, i64 count,
                                       i64 k) {
  for (i64 begin = 0; begin < k; begin += depth, to += tile_stride) {
    const i64 here = k - begin < depth ? k - begin : depth;
    __m512i r[16];
    if (stored == Stored::along_k) {
      const __mmask32 valid = here == depth ? ~__mmask32(0) : (__mmask32(1) << here) - 1;
#pragma GCC unroll 16
      for (i64 i = 0; i < 16; ++i)
        r[i] = i < count ? _mm512_maskz_loadu_epi16(valid, from + i * row + begin) : _mm512_setzero_si512();
    } else {
      const __mmask16 valid = count >= edge ? all16 : __mmask16((1 << count) - 1);
      const auto load = [&](i64 i) __attribute__((target("avx512f,avx512bw,avx512vl"))) {
        return i < here ? _mm256_maskz_loadu_epi16(valid, from + (begin + i) * row) : _mm256_setzero_si256();
      };
#pragma GCC unroll 16
      for (i64 i = 0; i < 16; ++i) r[i] = pair(load(2 * i), load(2 * i + 1));
    }
    if ((stored == Stored::along_k) != left) transpose_16x16(r);
#pragma GCC unroll 16
    for (i64 i = 0; i < 16; ++i) _mm512_store_si512(to + i * depth, r[i]);
  }
}

// c[i][j] (+)= sum over `steps` of left[step][i] * right[step][j] for Left by Right tiles, 16 rows of c apart and 16 columns.
// A product takes 16 cycles and is ready after 52: four accumulators in turn (2 x 2, or 1 x 4 for 16 output channels) hide that.
// Tile registers have their numbers in the instruction: 0 to 3 accumulate, the left tiles are in 4 and 5, a right one in 6 or 7.
template <int Left, int Right>
[[MINDGAP_AMX, gnu::noinline]] void multiply(const bf16* left, const bf16* right, i64 steps, float* c, i64 c_row, bool add) {
  static_assert(Left * Right <= 4);
  const i64 row_bytes = c_row * i64(sizeof(float));
  float *c1 = Right > 1 ? c + edge : c + edge * c_row, *c2 = Right > 2 ? c + 2 * edge : c + edge * c_row, *c3 = c2 + edge;
  asm volatile("" ::: "memory");  // the compiler does not know that tile loads read memory
  if (add) {
    _tile_loadd(0, c, row_bytes);
    if constexpr (Left * Right > 1) _tile_loadd(1, c1, row_bytes);
    if constexpr (Left * Right > 2) _tile_loadd(2, c2, row_bytes);
    if constexpr (Left * Right > 3) _tile_loadd(3, c3, row_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (i64 step = 0; step < steps; ++step, left += Left * tile_size, right += Right * tile_size) {
    _tile_loadd(4, left, 64);
    if constexpr (Left == 2) _tile_loadd(5, left + tile_size, 64);
    _tile_loadd(6, right, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Left == 2 && Right == 1) _tile_dpbf16ps(1, 5, 6);
    if constexpr (Right > 1) {
      _tile_loadd(7, right + tile_size, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (Left == 2 && Right == 2) {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    if constexpr (Right > 2) {
      _tile_loadd(6, right + 2 * tile_size, 64);
      _tile_dpbf16ps(2, 4, 6);
    }
    if constexpr (Right > 3) {
      _tile_loadd(7, right + 3 * tile_size, 64);
      _tile_dpbf16ps(3, 4, 7);
    }
  }
  _tile_stored(0, c, row_bytes);
  if constexpr (Left * Right > 1) _tile_stored(1, c1, row_bytes);
  if constexpr (Left * Right > 2) _tile_stored(2, c2, row_bytes);
  if constexpr (Left * Right > 3) _tile_stored(3, c3, row_bytes);
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::amx
