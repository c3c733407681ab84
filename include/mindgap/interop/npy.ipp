// Bodies of npy.hpp: xtensor writes and parses, the lengths are checked here.
#pragma once

#include <mindgap/core/file.hpp>
#include <mindgap/interop/npy.hpp>
#include <mindgap/interop/xtensor.hpp>

#include <sstream>
#if __has_include(<xtensor/io/xnpy.hpp>)  // 0.26 and later
#include <xtensor/io/xnpy.hpp>
#else
#include <xtensor/xnpy.hpp>
#endif

namespace mindgap {

namespace detail {

template <class Function>
void with_npy_type(DType type, const std::filesystem::path& path, Function function) {
  if (type == DType::f32) function(float());
  else if (type == DType::u8) function(u8());
  else if (type == DType::i32) function(i32());
  else if (type == DType::i64) function(i64());
  else
    throw Error(text("npy: there is no ", name(type), " in NumPy"),
                {{"file", path.string()}, {"remedy", "convert to f32 first"}});
}

MINDGAP_INLINE void write_npy_bytes(const std::filesystem::path& path, DType type, const std::vector<size_t>& shape,
                                    const void* data) {
  with_npy_type(type, path, [&]<class T>(T) {
    size_t size = 1;
    for (size_t extent : shape) size *= extent;
    write_file_atomic(path, xt::dump_npy(xt::adapt(static_cast<const T*>(data), size, xt::no_ownership(), shape)));
  });
}

MINDGAP_INLINE std::string read_npy_bytes(const std::filesystem::path& path, DType type, size_t rank,
                                          std::vector<size_t>& shape) {
  const std::string file = read_file(path);
  const auto fail = [&](const std::string& what) { throw Error("npy: " + what, {{"file", path.string()}}); };
  if (file.size() < 12 || !file.starts_with("\x93NUMPY")) fail("this is no .npy file");
  const auto byte = [&](size_t i) { return size_t(u8(file[i])); };
  const size_t start =
      file[6] == 1 ? 10 + byte(8) + (byte(9) << 8) : 12 + byte(8) + (byte(9) << 8) + (byte(10) << 16) + (byte(11) << 24);
  if (start > file.size()) fail("the file is truncated inside its header");
  with_npy_type(type, path, [&]<class T>(T) {
    std::istringstream stream(file);
    try {
      const auto array = xt::load_npy<T, xt::layout_type::row_major>(stream);
      shape.assign(array.shape().begin(), array.shape().end());
    } catch (const std::exception& error) {
      fail(text("cannot be read as ", name(type), ": ", error.what()));
    }
    size_t bytes = sizeof(T);
    for (size_t extent : shape)
      if (__builtin_mul_overflow(bytes, extent, &bytes)) fail("its shape is too large");
    if (shape.size() != rank) fail(text("it has rank ", shape.size(), ", wanted ", rank));
    if (bytes != file.size() - start)
      fail(text("its shape has ", bytes, " bytes, the file holds ", file.size() - start, ": truncated or too long"));
  });
  return file.substr(start);
}

}  // namespace detail

}  // namespace mindgap
