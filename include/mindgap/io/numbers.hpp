// Numbers as text in files: written so that they read back exactly, and read strictly; independent of the locale.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace mindgap {

// Six digits where these read back as the same number, else the shortest digits that do: files of before, which have six, say
// the same wherever those were enough.
inline std::string exact(double value) {
  char digits[40];
  char* end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 6).ptr;
  double back = 0;
  std::from_chars(digits, end, back);
  if (back != value) end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return {digits, end};
}

// The number that the whole text is; nothing where it is another text, or more than the type holds.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace mindgap
