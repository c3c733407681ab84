// GPT-2's alphabet of bytes: text for tokens of any bytes.
#pragma once

#include <mindgap/io/utf8.hpp>

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>

namespace mindgap::detail {

// What a token that ends a word ends in.
inline constexpr std::string_view word_end = "</w>";

// Each byte as one printable character. A byte that is printable in Latin-1 is itself, the others follow from
// U+0100. In the order of CLIP's vocabulary: the printable ones first.
struct ByteAlphabet {
  std::array<std::string, 256> character;
  std::array<u8, 256> order;
  std::unordered_map<u32, u8> byte;  // of a character's code

  ByteAlphabet() {
    const auto printable = [](int b) { return (b > 32 && b < 127) || (b > 160 && b != 173); };
    size_t next = 0;
    u32 code = 256;
    for (const bool pass : {true, false})
      for (int b = 0; b < 256; ++b) {
        if (printable(b) != pass) continue;
        const u32 c = pass ? u32(b) : code++;
        append_utf8(character[size_t(b)], c);
        byte[c] = u8(b);
        order[next++] = u8(b);
      }
  }
};

inline const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace mindgap::detail
