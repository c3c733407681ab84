// Folders that n processes write together: part i of n makes its share, whatever the others do.
//
// Each part holds a lock; a second process on the same part, or one that divides the work otherwise, is refused at once. The
// locks of killed processes are free, and the next one removes them.
#pragma once

#include <mindgap/io/file.hpp>

#include <filesystem>
#include <string>

namespace mindgap::detail {

// The name of a file by its number: "000017.png".
inline std::string numbered(i64 number, int digits, const std::string& extension) {
  std::string name = std::to_string(number);
  if (name.size() < size_t(digits)) name.insert(0, size_t(digits) - name.size(), '0');
  return name + extension;
}
// Of a shard folder (shards.hpp).
inline std::filesystem::path chunk_path(const std::filesystem::path& folder, i64 chunk) {
  return folder / ("chunk-" + numbered(chunk, 5, ".safetensors"));
}

// Held only while the folder's settings and locks are looked at or written.
class Turnstile {
 public:
  explicit Turnstile(const std::filesystem::path& folder) : path_(folder / ".lock"), held_(open_locked(path_, true)) {}
  ~Turnstile() { ::unlink(path_.c_str()); }
  Turnstile(const Turnstile&) = delete;
  Turnstile& operator=(const Turnstile&) = delete;

 private:
  std::filesystem::path path_;
  Descriptor held_;
};

// what: "shard folder", for messages.
inline void check_part(const std::string& what, i64 part, i64 parts) {
  if (parts < 1 || part < 0 || part >= parts)
    throw Error(text(what, ": there is no part ", part, " of ", parts), {{"remedy", "i/n with i from 0 to n - 1"}});
}

// What, beside the number of parts, decides who makes what: its name in the plural, and a key that fits a file's name.
struct Division {
  std::string by = "", key = "";
};

// Inside of a Turnstile.
inline FileLock lock_part(const std::string& what, const std::filesystem::path& folder, i64 part, i64 parts,
                          const Division& division = {}) {
  const std::string mine = text("-of-", parts, division.key.empty() ? "" : "-", division.key, ".lock");
  for (const auto& item : std::filesystem::directory_iterator(folder)) {
    const std::string name = item.path().filename().string();
    if (!name.starts_with(".part-") || !name.ends_with(".lock") || name.ends_with(mine)) continue;
    if (!open_locked(item.path(), false))
      throw Error(text(what, ": another process writes it in another number of parts than ", parts,
                       division.by.empty() ? "" : ", or with other " + division.by),
                  {{"lock", item.path().string()}, {"remedy", "wait for it, stop it, or divide the set as it does"}});
    std::filesystem::remove(item.path());
  }
  return FileLock(folder / (text(".part-", part) + mine), text("writes part ", part, " of ", parts, " of this data set"));
}

}  // namespace mindgap::detail
