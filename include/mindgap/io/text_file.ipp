// Bodies of io/text_file.hpp.
#pragma once

#include <mindgap/io/text_file.hpp>
#include <mindgap/io/utf8.hpp>

#include <cctype>
#include <cstdlib>

// Where the build says nothing: what packages of systems use.
#if !defined(MINDGAP_DATA_FOLDERS)
#define MINDGAP_DATA_FOLDERS "/usr/local/share/mindgap", "/usr/share/mindgap"
#endif

namespace mindgap {

namespace detail {
// A program that links an installed mindgap::glue defines it (cmake/installed_data.cpp); null elsewhere.
extern const char* const installed_data __attribute__((weak));
}  // namespace detail

MINDGAP_INLINE std::string wrong_text(std::string_view text_) {
  for (size_t at = 0; at < text_.size();) {
    const Utf8Character c = utf8_at(text_, at);
    if (!c.valid) return text("is not valid UTF-8 at byte ", at);
    if (c.code < 32 || (c.code >= 127 && c.code < 160)) return text("has the control character ", c.code, " at byte ", at);
    at += size_t(c.bytes);
  }
  return "";
}

MINDGAP_INLINE std::optional<Stranger> stranger(std::string_view bytes) {
  std::string start(bytes.substr(0, 256));
  if (start.starts_with("\xef\xbb\xbf")) start.erase(0, 3);
  start.erase(0, start.find_first_not_of(" \t\r\n"));
  for (char& c : start) c = char(std::tolower(static_cast<unsigned char>(c)));
  if (start.starts_with("version https://git-lfs"))
    return Stranger{"this is a git-lfs pointer, not the file it stands for",
                    "run `git lfs pull` where it was cloned, or download the file itself"};
  for (const char* tag : {"<!doctype", "<html", "<?xml", "<head", "<body"})
    if (start.starts_with(tag))
      return Stranger{"this is a web page (an error or log-in page?), not the file that is meant",
                      "open it in a browser to see why, then download the file itself"};
  return {};
}

MINDGAP_INLINE std::string read_text(const std::filesystem::path& path, const std::string& what) {
  std::string bytes = read_file(path, 16 << 20);
  if (bytes.starts_with("\xef\xbb\xbf")) bytes.erase(0, 3);
  const auto fail = [&](const std::string& problem, const std::string& remedy) {
    throw Error(what + ": " + problem, {{"file", path.string()}, {"remedy", remedy}});
  };
  if (const auto other = stranger(bytes)) fail(other->what, other->remedy);
  if (const size_t at = invalid_utf8(bytes); at != bytes.npos)
    fail(text("line ", 1 + std::count(bytes.begin(), bytes.begin() + std::ptrdiff_t(at), '\n'), " is not valid UTF-8, at byte ",
              at, " of the file"),
         "save the file as UTF-8");
  return bytes;
}

MINDGAP_INLINE std::vector<std::string> lines_of(const std::string& bytes, const std::filesystem::path& path,
                                                 const std::string& what) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    std::string line = bytes.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    std::string without_tabs = line;
    std::ranges::replace(without_tabs, '\t', ' ');
    if (const std::string wrong = wrong_text(without_tabs); !wrong.empty())
      throw Error(text(what, ": line ", lines.size() + 1, " ", wrong),
                  {{"file", path.string()}, {"remedy", "remove it: a file of text has a line each, of printable characters"}});
    lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

MINDGAP_INLINE std::filesystem::path shipped_file(const std::string& name) {
  std::vector<std::filesystem::path> folders{MINDGAP_DATA_FOLDERS};
  if (&detail::installed_data) folders.insert(folders.begin(), detail::installed_data);
  const char* given = std::getenv("MINDGAP_DATA");
  if (given && *given) folders = {given};
  std::vector<ErrorLine> lines;
  for (const auto& folder : folders) {
    std::error_code code;
    if (std::filesystem::exists(folder / name, code)) return folder / name;
    lines.push_back({"not in", folder.string()});
  }
  lines.push_back(
      {"remedy", "set MINDGAP_DATA to the folder that has it: data/ of the source tree, or share/mindgap of an installed copy"});
  throw Error("a file that ships with mindgap is not there: " + name, lines);
}

}  // namespace mindgap
