// Gradients of a convolution's weights and bias in bf16 on CPUs with AMX, whose tiles multiply 16 x 32 by 32 x 16 numbers in
// one instruction and sum in f32 (Intel, "Architecture instruction set extensions", chapter 3).
//
//   grad_w[o, u, v, c] = sum over pixels p of  grad_y[p, o] * x[pixel p shifted by (u, v), c]
//
// The sum runs over pixels, so a left tile is 16 output channels of 32 pixels, grad_y transposed, and a right tile 16 inputs of
// 32 pixels, two pixels side by side in each 32 bits. A unit of about 512 pixels is packed into such tiles: grad_y once, x
// once for each position of the window, from a copy with zeros around it. Then two by two accumulators take a pair of left
// and a pair of right tiles at a time, so that loading tiles takes half as long as multiplying them.
//
// Why not oneDNN: its kernel (2.6) sums along one row of an image, and a tile's 32 pixels are mostly zeros when a row has 4, 7 or
// 14; here they run on over rows and images. Two cores of a Xeon with AMX: see bench/README.md.
//
// Parts of the batch are summed by themselves, then in order (PartialSums): the number of threads changes no bit.
// Bytes: x and grad_y once a group of columns, parts * grad_w twice. Channels come in sixteens.
#pragma once

#include <mindgap/cpu/direct_units.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#define MINDGAP_AMX gnu::target("avx512f,avx512bw,avx512vl,amx-tile,amx-bf16")

namespace mindgap::cpu::amx {

using namespace direct;

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
// Is this kernel the better one? Long rows fill oneDNN's tiles, and few output channels do not pay for packing x.
inline bool takes(const ConvGeometry& g) {
  const bool suits_onednn = g.out_w() >= 24 && g.c_out <= 32;
  return runs_here() && g.c_in % edge == 0 && g.c_out % edge == 0 && !suits_onednn;
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

// 16 numbers of pixel p and 16 of pixel p + 1, alternating.
[[MINDGAP_AMX]] inline __m512i pair(const bf16* first, const bf16* second) {
  alignas(64) static constexpr std::uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i both =
      _mm512_maskz_inserti64x4(all8, _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first))),
                               _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second)), 1);
  return _mm512_permutexvar_epi16(_mm512_load_si512(order), both);
}

// Right tiles, to[pixel / 32][pixel / 2 % 16][16][2]: 16 inputs at from + offset[pixel], zeros behind the last pixel.
[[MINDGAP_AMX]] inline void pack_right(bf16* to, const bf16* from, const i32* offset, i64 pixels, i64 tile_stride) {
  for (; pixels >= depth; pixels -= depth, offset += depth, to += tile_stride)
#pragma GCC unroll 16
    for (i64 p = 0; p < depth; p += 2) _mm512_store_si512(to + p * edge, pair(from + offset[p], from + offset[p + 1]));
  if (pixels > 0)
    for (i64 p = 0; p < depth; p += 2)
      _mm512_store_si512(to + p * edge,
                         pair(p < pixels ? from + offset[p] : zeros, p + 1 < pixels ? from + offset[p + 1] : zeros));
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
  const i64 tiles = divide_up(pixels, depth);
  __m512 total = _mm512_setzero_ps();
  const __m512i high = _mm512_set1_epi32(i32(0xffff0000u));
  for (i64 tile = 0; tile < tiles; ++tile) {
    __m512i row[16];
#pragma GCC unroll 16
    for (int q = 0; q < 16; ++q) {
      const i64 p = tile * depth + 2 * q;
      row[q] = pair(p < pixels ? from + p * channels : zeros, p + 1 < pixels ? from + (p + 1) * channels : zeros);
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

// takes(g) must hold.
inline void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const bf16* x, const bf16* grad_y) {
  const i64 segment = g.kw * g.c_in, columns = g.kh * segment, size = g.weight_size(), threads = omp_get_max_threads();
  const PixelUnits units(g, 512, false);
  // Tiles, and how many right ones are packed at a time.
  const i64 lefts = g.c_out / edge, rights = columns / edge, run = lefts == 1 ? 4 : 2;
  // Parts of the batch only where weights are few: a part reads and writes all of them. Column tiles then go round the threads.
  const i64 parts = std::clamp<i64>(std::min(units.count / 4, (1 << 18) / size), 1, 16);
  const i64 runs = divide_up(rights, run), groups = std::min(divide_up(4 * threads, parts), runs);
  PartialSums sums(grad_w, grad_bias, size, g.c_out, parts);

  const i64 most_steps = divide_up(units.most_pixels(), depth), left_size = lefts * most_steps * tile_size;
  const i64 right_size = run * most_steps * tile_size, copy_size = units.copy_size(0);
  const Scratch scratch(threads * (left_size + right_size + copy_size) / 2);
#pragma omp parallel
  {
    const Tiles tiles;
    bf16* left = reinterpret_cast<bf16*>(scratch.data()) + omp_get_thread_num() * (left_size + right_size + copy_size);
    bf16 *right = left + left_size, *copy = right + right_size;
#pragma omp for schedule(dynamic, 1)
    for (i64 task = 0; task < parts * groups; ++task) {
      const i64 part = task / groups, group = task % groups;
      const i64 first = runs * group / groups * run, last = std::min(rights, runs * (group + 1) / groups * run);
      bool add = false;
      for (i64 u = units.count * part / parts; u < units.count * (part + 1) / parts; ++u, add = true) {
        const auto [y_pixel, pixels] = units.pixels(u);
        const bf16* source = units.source(u, x, copy);
        const i64 steps = divide_up(pixels, depth);
        // Left tiles in pairs, [pair][step][2].
        for (i64 i = 0; i < lefts; ++i) {
          const i64 pair_width = std::min<i64>(2, lefts - i / 2 * 2);
          pack_left(left + (i / 2 * 2 * steps + i % 2) * tile_size, grad_y + y_pixel * g.c_out + i * edge, g.c_out, pixels,
                    pair_width * tile_size, grad_bias && group == 0 ? sums.bias(part) + i * edge : nullptr);
        }
        for (i64 j = first; j < last; j += run) {
          const i64 here = std::min(run, last - j);
          for (i64 k = 0; k < here; ++k) {
            const i64 column = (j + k) * edge;
            pack_right(right + k * tile_size, source + column / segment * units.row_size + column % segment, units.offset.data(),
                       pixels, here * tile_size);
          }
          for (i64 i = 0; i < lefts; i += 2) {
            const bf16* from = left + i * steps * tile_size;
            float* c = sums.weights(part) + i * edge * columns + j * edge;
            if (i + 1 < lefts && here == 2) multiply<2, 2>(from, right, steps, c, columns, add);
            else if (i + 1 < lefts) multiply<2, 1>(from, right, steps, c, columns, add);
            else if (here == 4) multiply<1, 4>(from, right, steps, c, columns, add);
            else if (here == 3) multiply<1, 3>(from, right, steps, c, columns, add);
            else if (here == 2) multiply<1, 2>(from, right, steps, c, columns, add);
            else multiply<1, 1>(from, right, steps, c, columns, add);
          }
        }
      }
    }
  }
  sums.finish();
}

}  // namespace mindgap::cpu::amx
