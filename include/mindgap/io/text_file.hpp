// Text files that a person wrote, a thing a line; and files that ship with mindgap.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/io/file.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

// What is wrong with text for a prompt or a name, which may have no control character and must be UTF-8; empty: nothing.
std::string wrong_text(std::string_view text);

// The whole file, at most 16 MiB, without a byte order mark. Throws where it is not UTF-8 or is none that a person wrote: a web
// page saved under its name, a pointer of git-lfs.
std::string read_text(const std::filesystem::path& path, const std::string& what);

// Its lines, without the ends of lines of any system; the last may lack its end. Throws where one holds a control character other
// than a tab. what: "class list", for messages.
std::vector<std::string> read_lines(const std::filesystem::path& path, const std::string& what);

// A file that ships with mindgap, as "clip/merges.txt": in $MINDGAP_DATA where that is set; else in data/ of the source tree that
// the library was built from, or in share/mindgap of where it was installed. Throws where it is not there, and says where it
// looked.
std::filesystem::path shipped_file(const std::string& name);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/io/text_file.ipp>
#endif
