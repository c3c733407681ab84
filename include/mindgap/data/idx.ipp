// Bodies of idx.hpp. Of zlib's functions those for streams: gzread takes what follows a gzipped file for its end.
#pragma once

#include <mindgap/data/idx.hpp>
#include <mindgap/io/file.hpp>

#include <cerrno>
#include <cstring>
#include <vector>
#include <zlib.h>

namespace mindgap {

namespace detail {

class IdxFile {
 public:
  explicit IdxFile(const std::filesystem::path& path) : path_(path) {
    std::error_code code;
    file_bytes_ = i64(std::filesystem::file_size(path, code));
    if (code) file_error("idx: cannot read the file", path, code.value());
    file_ = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file_) file_error("idx: cannot read the file", path, errno);
    stream_.next_in = buffer_.data();
    refill();
    gzipped_ = starts_gzip();
    if (gzipped_ && inflateInit2(&stream_, 15 + 16) != Z_OK) fail("zlib has no memory", "free memory");
  }
  ~IdxFile() {
    if (gzipped_) inflateEnd(&stream_);
  }
  IdxFile(const IdxFile&) = delete;
  IdxFile& operator=(const IdxFile&) = delete;

  [[noreturn]] void fail(const std::string& what, const std::string& remedy = "download or install the file again") const {
    throw Error("idx: " + what, {{"file", path_.string()}, {"remedy", remedy}});
  }

  // The extents after the magic number, which must announce bytes of this rank.
  template <int N>
  Shape<N> read_header(const char* what) {
    u8 header[4 + 4 * N];
    read(header, 4, "its magic number");
    if (header[0] != 0 || header[1] != 0 || header[2] != 8 || header[3] != N)
      fail(text("this is no file of ", what, ": its first bytes are ", int(header[0]), " ", int(header[1]), " ", int(header[2]),
                " ", int(header[3]), ", wanted 0 0 8 ", N),
           "check that images and labels are not swapped");
    read(header + 4, 4 * N, "its header");
    Shape<N> shape;
    i64 bytes = 1;
    // Deflate never gains more than a factor of 1,032, so a greater claim is refused before memory is asked for.
    const i64 most = 1032 * (file_bytes_ + 1);
    for (int i = 0; i < N; ++i) {
      const u8* p = header + 4 + 4 * i;
      shape[i] = i64(p[0]) << 24 | i64(p[1]) << 16 | i64(p[2]) << 8 | i64(p[3]);
    }
    for (int i = 0; i < N; ++i) {
      if (i > 0 && shape[i] == 0) fail(text("the header claims ", what, " of shape ", shape.str()));
      if (__builtin_mul_overflow(bytes, shape[i], &bytes) || bytes > most)
        fail(text("the header claims ", what, " of shape ", shape.str(), ", more than the file of ", file_bytes_,
                  " bytes can hold: it is truncated"));
    }
    return shape;
  }

  void read(u8* out, i64 bytes, const std::string& what) {
    i64 have = 0;
    while (have < bytes) {
      const i64 got = read_some(out + have, bytes - have);
      if (got == 0) fail(text("the file is truncated: ", what, " has ", bytes, " bytes, ", have, " are there"));
      have += got;
    }
  }

  // Reaching the end also checks the checksum of a gzipped file.
  void expect_end() {
    u8 extra;
    if (read_some(&extra, 1) > 0) fail("the file has bytes after its last element");
  }

 private:
  // Bytes of the file, where none is left of those before: at least two, unless it ends.
  void refill() {
    while (stream_.avail_in < 2) {
      std::memmove(buffer_.data(), stream_.next_in, stream_.avail_in);
      stream_.next_in = buffer_.data();
      const ssize_t got = ::read(file_.get(), buffer_.data() + stream_.avail_in, buffer_.size() - stream_.avail_in);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) file_error("idx: cannot read the file", path_, errno);
      if (got == 0) return;
      stream_.avail_in += unsigned(got);
    }
  }
  bool starts_gzip() const { return stream_.avail_in >= 2 && stream_.next_in[0] == 0x1f && stream_.next_in[1] == 0x8b; }

  // At least one byte and at most `most`; 0 at the end. A gzipped file may be several, one after the other.
  i64 read_some(u8* out, i64 most) {
    if (!gzipped_) {
      refill();
      const i64 count = std::min<i64>(most, stream_.avail_in);
      std::memcpy(out, stream_.next_in, size_t(count));
      stream_.next_in += count, stream_.avail_in -= unsigned(count);
      return count;
    }
    stream_.next_out = out;
    stream_.avail_out = unsigned(std::min<i64>(most, 1 << 26));
    while (stream_.next_out == out) {
      refill();
      if (ended_ && stream_.avail_in == 0) return 0;
      if (ended_ && !starts_gzip()) fail("the file has bytes after its gzipped contents");
      if (ended_) inflateReset(&stream_);
      const int code = inflate(&stream_, Z_NO_FLUSH);
      ended_ = code == Z_STREAM_END;
      if (!ended_ && code != Z_OK)
        fail(text("the gzipped file is truncated or damaged: ", stream_.msg ? stream_.msg : "it ends too early"));
    }
    return stream_.next_out - out;
  }

  std::filesystem::path path_;
  i64 file_bytes_ = 0;
  Descriptor file_;
  std::vector<u8> buffer_ = std::vector<u8>(1 << 17);
  z_stream stream_{};  // its input: what was read of the file and is not used yet
  bool gzipped_ = false, ended_ = false;
};

}  // namespace detail

MINDGAP_INLINE Tensor<u8, 4, Cpu> read_idx_images(const std::filesystem::path& path) {
  detail::IdxFile file(path);
  const Shape<3> shape = file.read_header<3>("images");
  Tensor<u8, 4, Cpu> images(Shape(shape[0], shape[1], shape[2], 1));
  file.read(images.data(), images.size(), text("its images of shape ", shape.str()));
  file.expect_end();
  return images;
}

MINDGAP_INLINE Tensor<i64, 1, Cpu> read_idx_labels(const std::filesystem::path& path) {
  detail::IdxFile file(path);
  const Shape<1> shape = file.read_header<1>("labels");
  std::vector<u8> bytes(size_t(shape[0]), 0);
  file.read(bytes.data(), shape[0], text("its ", shape[0], " labels"));
  file.expect_end();
  return Tensor<i64, 1, Cpu>::from(std::vector<i64>(bytes.begin(), bytes.end()), shape);
}

}  // namespace mindgap
