// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// A Stream is keyed by what its numbers are *for*: a seed, a purpose and up to three ids (class, image, step). Number i
// of a stream is a pure function of these, whatever the batch, the worker or the order. The same words come out on the
// CPU and on the GPU; normals too, since the logarithm, sine and cosine are the project's own.
//
// The key is the seed mixed with the purpose (a bijection of the seed: distinct seeds never share a key); the upper
// half of the counter is the mixed ids, the lower half counts blocks of four words.
#pragma once

#include <mindgap/core/math.hpp>

#include <numeric>
#include <string_view>
#include <vector>

namespace mindgap {

// Four words; std::array's members are host functions to nvcc.
struct PhiloxBlock {
  u32 words[4];
  MG_HD constexpr u32 operator[](u64 i) const { return words[i]; }
  bool operator==(const PhiloxBlock&) const = default;
};

MG_HD constexpr PhiloxBlock philox4x32_10(PhiloxBlock counter, u32 key0, u32 key1) {
  u32 c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = u64(0xD2511F53u) * c0, p1 = u64(0xCD9E8D57u) * c2;
    c0 = u32(p1 >> 32) ^ c1 ^ key0;
    c1 = u32(p1);
    c2 = u32(p0 >> 32) ^ c3 ^ key1;
    c3 = u32(p0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// The finaliser of SplitMix64 (Stafford's variant 13): a bijection of 64 bits.
MG_HD constexpr u64 mix64(u64 x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// FNV-1a of 64 bits.
constexpr u64 hash64(std::string_view bytes) {
  u64 h = 0xcbf29ce484222325u;
  for (char c : bytes) h = (h ^ u64(u8(c))) * 0x100000001b3u;
  return h;
}

// Plain data, so that a kernel can take it as a field.
struct Stream {
  u32 key0, key1, high0, high1;

  constexpr Stream(u64 seed, std::string_view purpose, u64 id0 = 0, u64 id1 = 0, u64 id2 = 0) {
    const u64 key = mix64(seed ^ hash64(purpose));
    const u64 high = mix64(mix64(mix64(id0 + 0x9e3779b97f4a7c15u) + id1) + id2);
    key0 = u32(key), key1 = u32(key >> 32), high0 = u32(high), high1 = u32(high >> 32);
  }

  // Words 4 block to 4 block + 3.
  MG_HD constexpr PhiloxBlock block(u64 index) const {
    return philox4x32_10({{u32(index), u32(index >> 32), high0, high1}}, key0, key1);
  }
  MG_HD constexpr u32 word(u64 i) const { return block(i / 4)[i % 4]; }

  // Uniform in [0, 1), a multiple of 2^-24.
  MG_HD constexpr float uniform(u64 i) const { return float(word(i) >> 8) * 0x1p-24f; }

  // Uniform in {0, ..., bound - 1} by multiplication; the bias is below bound / 2^32.
  MG_HD constexpr u32 below(u64 i, u32 bound) const { return u32((u64(word(i)) * bound) >> 32); }

  // Standard normals of block `index`: Box-Muller on the word pairs (0, 1) and (2, 3); cosine first, sine second.
  MG_HD void normals(u64 index, float out[4]) const {
    const PhiloxBlock w = block(index);
    for (int pair = 0; pair < 2; ++pair) {
      const float u1 = float((w[2 * pair] >> 8) + 1) * 0x1p-24f, u2 = float(w[2 * pair + 1] >> 8) * 0x1p-24f;
      const float r = sqrtf(-2.f * log_f32(u1));
      float s, c;
      sincos_turns(u2, &s, &c);
      out[2 * pair] = r * c;
      out[2 * pair + 1] = r * s;
    }
  }
  MG_HD float normal(u64 i) const {
    float four[4];
    normals(i / 4, four);
    return four[i % 4];
  }
};

// A permutation of 0, ..., n-1 (Fisher-Yates), a function of the stream alone.
inline std::vector<i64> permutation(i64 n, const Stream& stream) {
  std::vector<i64> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), i64(0));
  for (i64 i = n - 1; i > 0; --i) std::swap(order[size_t(i)], order[stream.below(u64(i), u32(i + 1))]);
  return order;
}

}  // namespace mindgap
