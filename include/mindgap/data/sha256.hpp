// SHA-256 (FIPS 180-4), the content hash of shard chunks and generators; the same digits as sha256sum and Python's
// hashlib. About 250 MB/s a core: plain code, no processor extensions.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

namespace mindgap {

class Sha256 {
 public:
  Sha256& update(std::string_view bytes) {
    total_ += bytes.size();
    while (!bytes.empty()) {
      if (used_ == 0 && bytes.size() >= 64) {
        compress(bytes.data());
        bytes.remove_prefix(64);
        continue;
      }
      const size_t take = std::min(bytes.size(), 64 - used_);
      std::memcpy(buffer_.data() + used_, bytes.data(), take);
      used_ += take;
      bytes.remove_prefix(take);
      if (used_ == 64) {
        compress(buffer_.data());
        used_ = 0;
      }
    }
    return *this;
  }

  // The 64 hexadecimal digits; the object is spent afterwards.
  std::string hex() {
    const u64 bits = total_ * 8;
    update(std::string_view("\x80", 1));
    while (used_ != 56) update(std::string_view("\0", 1));
    char length[8];
    for (int i = 0; i < 8; ++i) length[i] = char(bits >> (56 - 8 * i));
    update({length, 8});
    std::string out;
    for (u32 word : state_)
      for (int shift = 28; shift >= 0; shift -= 4) out += "0123456789abcdef"[word >> shift & 15];
    return out;
  }

 private:
  void compress(const char* block) {
    // First 32 bits of the fractional parts of the cube roots of the first 64 primes.
    static constexpr std::array<u32, 64> k = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
        0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
        0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
        0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
        0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
        0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    u32 w[64];
    for (int i = 0; i < 16; ++i)
      w[i] =
          u32(u8(block[4 * i])) << 24 | u32(u8(block[4 * i + 1])) << 16 | u32(u8(block[4 * i + 2])) << 8 | u8(block[4 * i + 3]);
    for (int i = 16; i < 64; ++i) {
      const u32 s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const u32 s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (int i = 0; i < 64; ++i) {
      const u32 t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + k[size_t(i)] + w[i];
      const u32 t2 = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const std::array<u32, 8> add = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state_[i] += add[i];
  }

  std::array<u32, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<char, 64> buffer_;
  size_t used_ = 0;
  u64 total_ = 0;
};

inline std::string sha256(std::string_view bytes) { return Sha256().update(bytes).hex(); }

}  // namespace mindgap
