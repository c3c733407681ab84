// Files that are whole or absent, and locks that keep a second process out.
//
//   write_file_atomic   writes <path>.tmp, fsync, rename, fsync of the folder: a kill at any moment leaves the old
//                       file or the new one, and at most one .tmp, which the next write of that path takes over
//   AtomicFile          the same for a file that is written piece by piece
//   read_file           the whole file as bytes
//   first_rows          how a CSV file is continued
//   ResultFolder        a folder for results, which is gone again when nothing was put into it
//   FileLock            an advisory lock (flock) for as long as the object lives; the kernel drops it when the process
//                       dies, so nothing stale ever has to be removed by hand
//
// Every error names the file and the system's reason. Left out: mapping of large files (io/safetensors.hpp) and
// network file systems without flock.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/io/numbers.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace mindgap {

namespace detail {

// What to do where the system refuses.
inline const char* file_remedy(int code) {
  switch (code) {
    case ENOENT:
      return "check the path: it, or a folder on the way to it, does not exist";
    case ENOTDIR:
    case EEXIST:
      return "use another path: a file is there, or on the way to it, where a folder belongs";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check who may read and write there, or use another place";
    case EISDIR:
      return "give the path of a file, not of a folder";
    case ENOSPC:
    case EDQUOT:
      return "free space there, or use another place";
    case EFBIG:
      return "raise the limit on the size of files (ulimit -f), or use another place";
    case EMFILE:
    case ENFILE:
      return "raise the limit on open files (ulimit -n)";
    case EBADF:
    case EPIPE:
      return "give it a file, a pipe that is read, or /dev/null";
    case ELOOP:
      return "a link leads back to itself: remove it, or let it point to the file";
    case ENAMETOOLONG:
      return "give a shorter path";
    default:
      return "check the path and the disk or network that it lies on";
  }
}

[[noreturn]] inline void file_error(const std::string& what, const std::filesystem::path& path, int code) {
  throw Error(what + ": " + std::strerror(code), {{"file", path.string()}, {"remedy", file_remedy(code)}});
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(), fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int fd_;
};

// Opens (or creates) the file that `path` names now and locks it. The owner may rename or unlink the file before we get
// the lock; then the descriptor is no longer what the path names, and we start again. Empty when `wait` is false and
// another holds it. Throws for a link: what is written would go where it leads.
inline Descriptor open_locked(const std::filesystem::path& path, bool wait) {
  while (true) {
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    struct stat mine, named;
    if (!file && errno == ELOOP && ::lstat(path.c_str(), &named) == 0 && S_ISLNK(named.st_mode))
      throw Error("cannot write the file: it is a link", {{"file", path.string()}, {"remedy", "remove the link"}});
    if (!file) file_error("cannot write the file", path, errno);
    if (::flock(file.get(), LOCK_EX | (wait ? 0 : LOCK_NB)) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK) return Descriptor();
      file_error("cannot lock the file", path, errno);
    }
    if (::fstat(file.get(), &mine) == 0 && ::lstat(path.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
        mine.st_dev == named.st_dev)
      return file;
  }
}

inline void write_all(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) file_error("cannot write the file", path, errno);
    bytes.remove_prefix(size_t(written));
  }
}

}  // namespace detail

// Creates the folder and its parents; fine when it exists.
inline void make_folder(const std::filesystem::path& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code)
    throw Error("cannot create the folder: " + code.message(),
                {{"folder", path.string()}, {"remedy", detail::file_remedy(code.value())}});
}

// Creates the folder and its parents. Those that it created go with the object where they are still empty, so that a run that is
// refused leaves no trace. Before a FileLock in it.
class ResultFolder {
 public:
  explicit ResultFolder(const std::filesystem::path& path) : ResultFolder() {
    std::error_code code;  // of what cannot be looked at, which make_folder reports
    for (auto at = std::filesystem::absolute(path); !std::filesystem::exists(at, code) && !code; at = at.parent_path())
      made_.push_back(at);
    make_folder(path);
  }
  ~ResultFolder() {
    for (const auto& folder : made_) ::rmdir(folder.c_str());  // the deepest first; does nothing to one that holds something
  }
  ResultFolder(ResultFolder&&) noexcept = default;
  ResultFolder& operator=(ResultFolder&&) = delete;

 private:
  ResultFolder() = default;  // so that the destructor runs where make_folder throws

  std::vector<std::filesystem::path> made_;
};

// Throws where it has more than `most` bytes.
inline std::string read_file(const std::filesystem::path& path, i64 most = std::numeric_limits<i64>::max()) {
  detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (!file || ::fstat(file.get(), &info) != 0) detail::file_error("cannot read the file", path, errno);
  if (S_ISDIR(info.st_mode)) detail::file_error("cannot read the file", path, EISDIR);
  if ((S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) && !::isatty(file.get()))  // may have no end
    throw Error("cannot read the file: it is a device", {{"file", path.string()}, {"remedy", "give the path of a file"}});
  const auto check = [&](size_t bytes) {
    if (bytes > size_t(most))
      throw Error(text("the file has more than ", most, " bytes"),
                  {{"file", path.string()}, {"remedy", "check that it is the file that is meant: such files are small"}});
  };
  check(size_t(info.st_size));
  std::string bytes(size_t(info.st_size), '\0');
  size_t have = 0;
  while (true) {
    if (have == bytes.size()) bytes.resize(bytes.size() + 4096);  // pipes and /proc report no size
    const ssize_t got = ::read(file.get(), bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) detail::file_error("cannot read the file", path, errno);
    if (got == 0) break;
    check(have += size_t(got));
  }
  bytes.resize(have);
  return bytes;
}

// A file that takes the place of an older one, whole, with commit(); without it nothing changes. Two processes or threads that
// write one path take turns, from the constructor on.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path)
      : path_(std::move(path)), temporary_(path_.string() + ".tmp"), file_(detail::open_locked(temporary_, true)) {
    if (::ftruncate(file_.get(), 0) != 0) {
      const int code = errno;
      ::unlink(temporary_.c_str());
      detail::file_error("cannot write the file", temporary_, code);
    }
  }
  ~AtomicFile() {
    if (!committed_) ::unlink(temporary_.c_str());
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes) { detail::write_all(file_.get(), bytes, path_); }
  void commit() {
    if (::fsync(file_.get()) != 0) detail::file_error("cannot write the file to the disk", path_, errno);
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) detail::file_error("cannot write the file", path_, errno);
    committed_ = true;
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
    const detail::Descriptor entries(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!entries || (::fsync(entries.get()) != 0 && errno != EINVAL))
      detail::file_error("cannot write the folder's entries to the disk", folder, errno);
  }

 private:
  std::filesystem::path path_, temporary_;
  detail::Descriptor file_;
  bool committed_ = false;
};

// Replaces the file by the pieces, one after another.
inline void write_file_atomic(const std::filesystem::path& path, std::span<const std::string_view> pieces) {
  AtomicFile file(path);
  for (std::string_view piece : pieces) file.write(piece);
  file.commit();
}

inline void write_file_atomic(const std::filesystem::path& path, std::string_view bytes) {
  write_file_atomic(path, std::span<const std::string_view>(&bytes, 1));
}

// What a CSV file that is being continued begins with: the header and the first `count` rows of the file, which must be there,
// row k of step k, all numbers. Later rows belong to steps that will be made again.
inline std::string first_rows(const std::filesystem::path& path, const std::string& header, i64 count) {
  if (count == 0) return header;
  const std::string rows = std::filesystem::exists(path) ? read_file(path) : "";
  const char* remedy = "restore the file, or remove the checkpoint to start afresh";
  size_t end = 0;
  for (i64 line = 0; line <= count; ++line) {
    const size_t next = rows.find('\n', end);
    if (next == rows.npos)
      throw Error(text("the file has ", std::max<i64>(line - 1, 0), " rows, the checkpoint is of step ", count),
                  {{"file", path.string()}, {"remedy", remedy}});
    const std::string row = rows.substr(end, next - end), wanted = line ? std::to_string(line - 1) + "," : header;
    const auto refuse = [&](const std::string& what) {
      throw Error(what, {{"file", path.string() + ":" + std::to_string(line + 1)},
                         {"line", detail::shown(row)},
                         {"wanted", line ? wanted + "..." : header.substr(0, header.size() - 1)},
                         {"remedy", remedy}});
    };
    if (!line && row + "\n" != header) refuse("the file has another header");
    if (line && (!row.starts_with(wanted) || std::ranges::count(row, ',') != std::ranges::count(header, ',')))
      refuse(text("the file does not have step ", line - 1, " in its row ", line));
    for (size_t at = wanted.size(); line && at <= row.size();) {
      const size_t comma = std::min(row.find(',', at), row.size());
      const std::string field = row.substr(at, comma - at);
      if (!number_in<double>(field)) refuse(text("the file has in its row ", line, " what is no number: ", detail::shown(field)));
      at = comma + 1;
    }
    end = next + 1;
  }
  return rows.substr(0, end);
}

// Holds `path` locked; throws at once when another process, or another FileLock of this one, holds it. The file tells
// the holder's process id and disappears with the lock.
class FileLock {
 public:
  // purpose: what the holder does, for the message: "writes part 2 of 4 of this data set"
  explicit FileLock(std::filesystem::path path, const std::string& purpose = "works here")
      : path_(std::move(path)), file_(detail::open_locked(path_, false)) {
    if (!file_) {
      std::string holder = read_file(path_);
      while (!holder.empty() && holder.back() == '\n') holder.pop_back();
      throw Error("another process " + purpose, {{"lock", path_.string()},
                                                 {"process", holder.empty() ? "unknown" : holder},
                                                 {"remedy", "wait for it, stop it, or choose another folder"}});
    }
    try {
      if (::ftruncate(file_.get(), 0) != 0) detail::file_error("cannot write the file", path_, errno);
      detail::write_all(file_.get(), std::to_string(::getpid()) + "\n", path_);
    } catch (...) {
      ::unlink(path_.c_str());
      throw;
    }
  }
  ~FileLock() {
    if (file_) ::unlink(path_.c_str());
  }
  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) = delete;

 private:
  std::filesystem::path path_;
  detail::Descriptor file_;
};

}  // namespace mindgap
