// Element types: f32, bf16, f16, u8, i32 and i64.
//
// bf16 and f16 are storage: arithmetic happens in f32, and a conversion back rounds to nearest even. Both are plain
// 16-bit structs with the same bits as CUDA's and oneDNN's types, so that one tensor type serves every backend.
#pragma once

#include <mindgap/core/config.hpp>

#include <cstdint>
#include <type_traits>

namespace mindgap {

using i32 = std::int32_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// std::bit_cast, callable from device code too (nvcc takes the standard one for a host function).
template <class To, class From>
MG_HD constexpr To bit_cast(From value) {
  return __builtin_bit_cast(To, value);
}

// The upper half of an f32: 8 exponent bits, 7 mantissa bits.
struct bf16 {
  std::uint16_t bits;

  bf16() = default;
  MG_HD constexpr explicit bf16(float value) : bits(round(bit_cast<u32>(value))) {}
  MG_HD constexpr explicit operator float() const { return bit_cast<float>(u32(bits) << 16); }

 private:
  MG_HD static constexpr std::uint16_t round(u32 x) {
    if ((x & 0x7fffffffu) > 0x7f800000u) return std::uint16_t((x >> 16) | 0x40);  // NaN stays NaN
    return std::uint16_t((x + 0x7fffu + ((x >> 16) & 1)) >> 16);
  }
};

// IEEE half: 5 exponent bits, 10 mantissa bits, largest finite value 65,504.
struct f16 {
  std::uint16_t bits;

  f16() = default;
  MG_HD constexpr explicit f16(float value) : bits(round(bit_cast<u32>(value))) {}
  MG_HD constexpr explicit operator float() const {
    // Shift exponent and mantissa into place, then rescale by 2^112: exact for subnormals too.
    const float magnitude = bit_cast<float>(u32(bits & 0x7fff) << 13) * bit_cast<float>(0x77800000u);
    const u32 infinite = (bits & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    return bit_cast<float>(bit_cast<u32>(magnitude) | infinite | (u32(bits & 0x8000) << 16));
  }

 private:
  MG_HD static constexpr std::uint16_t round(u32 x) {
    const u32 sign = (x >> 16) & 0x8000, magnitude = x & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return std::uint16_t(sign | 0x7e00);
    if (magnitude >= 0x477ff000u) return std::uint16_t(sign | 0x7c00);  // rounds to 65,536 or more
    if (magnitude < 0x38800000u) {
      // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low mantissa bits.
      const float shifted = bit_cast<float>(magnitude) + 0.5f;
      return std::uint16_t(sign | (bit_cast<u32>(shifted) - 0x3f000000u));
    }
    return std::uint16_t(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1)) >> 13));
  }
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // the names of types, which stay what they are outside
enum class DType : u8 { f32, bf16, f16, u8, i32, i64 };
#pragma GCC diagnostic pop

constexpr const char* name(DType type) {
  constexpr const char* names[] = {"f32", "bf16", "f16", "u8", "i32", "i64"};
  return names[int(type)];
}

constexpr i64 bytes(DType type) {
  constexpr i64 sizes[] = {4, 2, 2, 1, 4, 8};
  return sizes[int(type)];
}

template <class T>
inline constexpr DType dtype_of = [] {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  else if constexpr (std::is_same_v<T, f16>) return DType::f16;
  else if constexpr (std::is_same_v<T, u8>) return DType::u8;
  else if constexpr (std::is_same_v<T, i32>) return DType::i32;
  else {
    static_assert(std::is_same_v<T, i64>, "mindgap: element types are f32, bf16, f16, u8, i32 and i64");
    return DType::i64;
  }
}();

// Types that layers compute in.
template <class T>
concept Real = std::is_same_v<T, float> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

template <class T>
concept Element = Real<T> || std::is_same_v<T, u8> || std::is_same_v<T, i32> || std::is_same_v<T, i64>;

}  // namespace mindgap
