// UTF-8 as RFC 3629 has it, of bytes that strangers wrote.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <string>
#include <string_view>

namespace mindgap {

struct Utf8Character {
  u32 code;   // U+FFFD where the bytes are no character
  int bytes;  // those that one U+FFFD stands for: as many as could begin a character, at least one (Unicode 15, table 3-8)
  bool valid;
};

// What begins at text[at], which must be there.
constexpr Utf8Character utf8_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? u32(static_cast<unsigned char>(text[i])) : 0u; };
  const u32 first = byte(at);
  if (first < 0x80) return {first, 1, true};
  const int length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0) return {0xfffd, 1, false};
  // The second byte's bounds keep out what has a shorter form, surrogates and what lies beyond U+10FFFF.
  u32 low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80, high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  u32 code = first & (0x7fu >> length);
  for (int k = 1; k < length; ++k, low = 0x80, high = 0xbf) {
    const u32 next = byte(at + size_t(k));
    if (next < low || next > high) return {0xfffd, k, false};
    code = code << 6 | (next & 0x3f);
  }
  return {code, length, true};
}

// Where the first bytes are that are no character; npos: nowhere.
constexpr size_t invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Utf8Character c = utf8_at(text, at);
    if (!c.valid) return at;
    at += size_t(c.bytes);
  }
  return text.npos;
}

// code: at most U+10FFFF.
inline void append_utf8(std::string& text, u32 code) {
  if (code < 0x80) {
    text += char(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  text += char((0xff00 >> (more + 1) & 0xff) | code >> 6 * more);
  for (int k = more - 1; k >= 0; --k) text += char(0x80 | (code >> 6 * k & 0x3f));
}

}  // namespace mindgap
