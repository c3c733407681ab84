// Bodies of idx.hpp: zlib reads plain and gzipped files alike.
#pragma once

#include <mindgap/data/idx.hpp>
#include <mindgap/io/file.hpp>

#include <cerrno>
#include <cstring>
#include <zlib.h>

namespace mindgap {

namespace detail {

class IdxFile {
 public:
  explicit IdxFile(const std::filesystem::path& path) : path_(path) {
    std::error_code code;
    file_bytes_ = i64(std::filesystem::file_size(path, code));
    if (code) file_error("idx: cannot read the file", path, code.value());
    file_ = gzopen(path.c_str(), "rb");
    if (!file_) file_error("idx: cannot read the file", path, errno);
    gzbuffer(file_, 1 << 17);
  }
  ~IdxFile() { gzclose(file_); }
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
      const int got = gzread(file_, out + have, unsigned(std::min<i64>(bytes - have, 1 << 26)));
      if (got < 0) fail_compressed();
      if (got == 0) {
        fail_compressed_if_broken();
        fail(text("the file is truncated: ", what, " has ", bytes, " bytes, ", have, " are there"));
      }
      have += got;
    }
  }

  // Reaching the end also checks the checksum of a gzipped file.
  void expect_end() {
    u8 extra;
    const int got = gzread(file_, &extra, 1);
    if (got > 0) fail("the file has bytes after its last element");
    if (got < 0) fail_compressed();
    fail_compressed_if_broken();
  }

 private:
  [[noreturn]] void fail_compressed() const {
    int code = 0;
    const char* message = gzerror(file_, &code);
    fail(text("the gzipped file is truncated or damaged: ", code == Z_ERRNO ? std::strerror(errno) : message));
  }
  void fail_compressed_if_broken() const {
    int code = 0;
    gzerror(file_, &code);
    if (code != Z_OK && code != Z_STREAM_END) fail_compressed();
  }

  std::filesystem::path path_;
  i64 file_bytes_ = 0;
  gzFile file_ = nullptr;
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
