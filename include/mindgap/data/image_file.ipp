// Bodies of data/image_file.hpp.
#pragma once

#include <mindgap/data/image_file.hpp>
#include <mindgap/data/jpeg.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/file.hpp>

namespace mindgap {

MINDGAP_INLINE Tensor<u8, 3, Cpu> read_image(const std::filesystem::path& path) {
  const std::string bytes = read_file(path, i64(1) << 30);
  if (bytes.starts_with("\x89PNG\r\n")) return decode_png(bytes, path.string());
  if (bytes.starts_with("\xff\xd8")) return decode_jpeg(bytes, path.string());
  throw Error("this is neither a PNG nor a JPEG file", {{"file", path.string()}, {"remedy", "convert it to one of these"}});
}

}  // namespace mindgap
