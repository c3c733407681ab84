// Bodies of core/error.hpp.
#pragma once

#include <mindgap/core/error.hpp>

#include <iostream>
#include <utility>

namespace mindgap {
namespace detail {

inline std::string formatted(const ErrorLine& line) {
  return "\n  " + line.label + std::string(line.label.size() < 8 ? 8 - line.label.size() : 1, ' ') + line.text;
}

inline std::string block(const std::string& what, std::vector<ErrorLine> lines, Location where) {
  if (std::string path = ModulePath::current(); !path.empty()) lines.push_back({"in", path});
  std::string_view file = where.file_name();
  for (std::string_view root : {"include/mindgap/", "kernels/", "apps/", "tests/", "bench/"})
    if (size_t at = file.rfind(root); at != file.npos) {
      file = file.substr(at);
      break;
    }
  lines.push_back({"at", std::string(file) + ":" + std::to_string(where.line())});
  std::string text = "mindgap: " + what;
  for (const ErrorLine& line : lines) text += formatted(line);
  return text;
}

MINDGAP_INLINE std::string escaped(std::string_view text, size_t most) {
  std::string out;
  for (unsigned char c : text.substr(0, most)) {
    if (c >= 32 && c != 127) out += char(c);
    else (out += "\\x") += {"0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
  }
  return out + (text.size() > most ? "..." : "");
}
MINDGAP_INLINE std::string shown(std::string_view name) { return "'" + escaped(name, 80) + "'"; }

MINDGAP_INLINE std::string some_of(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < 12; ++i) (out += i ? ", " : "") += escaped(names[i], 200);
  if (names.size() > 12) out += text(" and ", names.size() - 12, " more");
  return out;
}

}  // namespace detail

MINDGAP_INLINE std::string ModulePath::current() {
  std::string path;
  for (std::string_view name : names()) (path += path.empty() ? "" : ".") += name;
  return path;
}

MINDGAP_INLINE Error::Error(const std::string& what, std::vector<ErrorLine> lines, Location at)
    : std::runtime_error(detail::block(what, std::move(lines), Caller::line(at))) {}
MINDGAP_INLINE Error::Error(const Error& error, const ErrorLine& line)
    : std::runtime_error(error.what() + detail::formatted(line)) {}

MINDGAP_INLINE void warn(const Error& error) { std::cerr << error.what() << std::endl; }

}  // namespace mindgap
