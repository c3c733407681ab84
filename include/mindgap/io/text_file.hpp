// Text files that a person wrote, a thing a line; and files that ship with mindgap.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/io/file.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

// What is wrong with text for a prompt or a name, which may have no control character and must be UTF-8; empty: nothing.
std::string wrong_text(std::string_view text);

// What lies in the place of the file that is meant, and what to do: a web page saved under its name, a pointer of git-lfs.
struct Stranger {
  const char *what, *remedy;
};
std::optional<Stranger> stranger(std::string_view bytes);

// The whole file, at most 16 MiB, without a byte order mark. Throws where it is not UTF-8, or a stranger.
std::string read_text(const std::filesystem::path& path, const std::string& what);

// The lines of what read_text() returned, without the ends of lines of any system; the last may lack its end. Throws where one
// holds a control character other than a tab. what, path: "class list" and the file, for messages.
std::vector<std::string> lines_of(const std::string& bytes, const std::filesystem::path& path, const std::string& what);

inline std::vector<std::string> read_lines(const std::filesystem::path& path, const std::string& what) {
  return lines_of(read_text(path, what), path, what);
}

// A file that ships with mindgap, as "clip/merges.txt": in $MINDGAP_DATA where that is set; else in share/mindgap of the
// installed copy that the program is compiled with, whatever its prefix; else in data/ of the source tree that the library was
// built from, or where that was to be installed. Throws where it is not there, and says where it looked.
std::filesystem::path shipped_file(const std::string& name);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/io/text_file.ipp>
#endif
