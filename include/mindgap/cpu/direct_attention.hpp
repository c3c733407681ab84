// Attention in one pass over the keys, y = softmax(q k^T / sqrt(d)) v, for CPUs with AVX2 and FMA, f32: the scores of 24 queries
// and 256 keys at a time stay in the second cache, and no [queries, keys] is ever in memory.
//
// Online softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022):
// for each block of keys, with m the largest score of a row so far and l the sum of exp(score - m),
//   m' = max(m, max of the block)   p = exp(scores - m')   l' = l exp(m - m') + sum of p   y' = y exp(m - m') + p v
// and y / l at the end. Both products run in the tiles of microkernel.hpp; the keys of a head are packed once, with the scale.
//
// Bytes: q and y once, k and v twice (packing), packed keys and values once for every 24 queries, from the caches.
// A row depends neither on the batch, nor on the other rows, nor on the number of threads.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/cpu/direct_gather.hpp>

#include <cmath>

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

// exp(x) for x <= 0, as exp_f32; NaN stays.
[[gnu::target("avx2,fma")]] inline __m256 exp_of_negative(__m256 x) {
  const __m256 clamped = _mm256_max_ps(_mm256_set1_ps(-87.f), x), magic = _mm256_set1_ps(12582912.f);
  const __m256 shifted = _mm256_fmadd_ps(clamped, _mm256_set1_ps(1.44269504088896341f), magic);
  const __m256 n = _mm256_sub_ps(shifted, magic);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0.693359375f), clamped);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(c));
  p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.f));
  // times 2^n, in the exponent; what is below e^-87 is 0
  const __m256 y =
      _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)));
  return _mm256_blendv_ps(_mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.f), _CMP_LT_OQ), y), x,
                          _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

// The running softmax of a row.
struct RunningSoftmax {
  float most = -INFINITY, sum = 0;

  // scores[0, n) become exp(score - most), most being that of all so far; returns what earlier sums are multiplied by. What is
  // behind n, up to a whole vector, is overwritten.
  [[gnu::target("avx2,fma")]] float add(float* scores, i64 n) {
    const i64 whole = round_up(n, lanes);
    for (i64 j = n; j < whole; ++j) scores[j] = -INFINITY;
    __m256 top = _mm256_set1_ps(-INFINITY);
    for (i64 j = 0; j < whole; j += lanes) top = _mm256_max_ps(_mm256_loadu_ps(scores + j), top);
    alignas(32) float each[lanes];
    _mm256_store_ps(each, top);
    float now = most;
    for (float one : each) now = one > now ? one : now;

    const __m256 subtracted = _mm256_set1_ps(now == -INFINITY ? 0.f : now);  // no key of these is seen
    __m256 total = _mm256_setzero_ps();
    for (i64 j = 0; j < whole; j += lanes) {
      const __m256 e = exp_of_negative(_mm256_sub_ps(_mm256_loadu_ps(scores + j), subtracted));
      _mm256_storeu_ps(scores + j, e);
      total = _mm256_add_ps(total, e);
    }
    _mm256_store_ps(each, total);
    const float factor = most == now ? 1.f : exp_f32(most - now);
    sum = sum * factor + (((each[0] + each[4]) + (each[2] + each[6])) + ((each[1] + each[5]) + (each[3] + each[7])));
    most = now;
    return factor;
  }
};

// statistics [n, heads, l]: the logarithm of each row's sum of exponentials.
inline void attention(const AttentionGeometry& g, float* y, float* statistics, const float* q, const float* k, const float* v) {
  constexpr i64 rows = 24, keys = 256;  // at a time
  const i64 c = g.heads * g.d, padded = round_up(g.d, panel), chunks = divide_up(g.l, rows), blocks = divide_up(g.m, keys);
  const i64 key_panels = divide_up(g.m, panel), threads = omp_get_max_threads();
  const float scale = 1.f / std::sqrt(float(g.d));
  const Scratch packed_k(key_panels * panel * g.d), packed_v(g.m * padded);
  const i64 of_thread = rows * (keys + padded);
  const Scratch scratch(threads * of_thread);
  i32 q_offset[rows], score_offset[rows], y_offset[rows];
  for (i64 i = 0; i < rows; ++i) {
    q_offset[i] = i32(i * c);
    score_offset[i] = i32(i * keys);
    y_offset[i] = i32(i * padded);
  }
#pragma omp parallel
  for (i64 pair = 0; pair < g.n * g.heads; ++pair) {
    const i64 image = pair / g.heads, head = pair % g.heads;
    const float *key = k + image * g.m * c + head * g.d, *value = v + image * g.m * c + head * g.d;
#pragma omp for schedule(static)
    for (i64 p = 0; p < key_panels; ++p)
      pack_rows(packed_k.data() + p * panel * g.d, key + p * panel * c, c, std::min<i64>(panel, g.m - p * panel), g.d, scale);
#pragma omp for schedule(static)
    for (i64 b = 0; b < blocks; ++b) {
      const i64 first = b * keys, count = std::min(keys, g.m - first);
      for (i64 j = 0; j < g.d; j += panel)
        pack_columns(packed_v.data() + first * padded + j * count, value + first * c + j, c, std::min<i64>(panel, g.d - j), count,
                     1.f);
    }
#pragma omp for schedule(dynamic, 1)
    for (i64 chunk = 0; chunk < chunks; ++chunk) {
      const i64 row = g.l * chunk / chunks, count = g.l * (chunk + 1) / chunks - row;
      float *scores = scratch.data() + omp_get_thread_num() * of_thread, *sums = scores + rows * keys;
      RunningSoftmax softmax[rows];
      const i64 seen = g.causal ? std::min(g.m, row + count) : g.m;  // keys that any of the queries sees
      for (i64 b = 0; b * keys < seen; ++b) {
        const i64 first = b * keys, n = std::min(keys, g.m - first);
        gather_panels(q + (image * g.l + row) * c + head * g.d, q_offset, {1, g.d, 0}, packed_k.data() + first * g.d, scores,
                      score_offset, count, round_up(n, panel), 0, divide_up(n, panel), Start::zero, nullptr);
        for (i64 i = 0; i < count; ++i) {
          if (g.causal)
            for (i64 j = std::max<i64>(0, row + i + 1 - first); j < n; ++j) scores[i * keys + j] = -INFINITY;
          const float factor = softmax[i].add(scores + i * keys, n);
          if (b && factor != 1.f)
            for (i64 j = 0; j < padded; ++j) sums[i * padded + j] *= factor;
        }
        gather_panels(scores, score_offset, {1, n, 0}, packed_v.data() + first * padded, sums, y_offset, count,
                      round_up(g.d, lanes), 0, padded / panel, b ? Start::sum : Start::zero, nullptr);
      }
      for (i64 i = 0; i < count; ++i) {
        const float inverse = 1.f / softmax[i].sum;
        float* to = y + (image * g.l + row + i) * c + head * g.d;
        for (i64 j = 0; j < g.d; ++j) to[j] = inverse * sums[i * padded + j];
        if (statistics) statistics[pair * g.l + row + i] = softmax[i].most + std::log(softmax[i].sum);
      }
    }
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
