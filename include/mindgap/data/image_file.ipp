// Bodies of data/image_file.hpp.
#pragma once

#include <mindgap/data/image_file.hpp>
#include <mindgap/data/jpeg.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/file.hpp>

#include <algorithm>

namespace mindgap {

namespace detail {

// The number of `count` bytes at `at`; 0 beyond the end.
inline i64 number_at(std::string_view bytes, size_t at, int count, bool big_endian = true) {
  if (at > bytes.size() || bytes.size() - at < size_t(count)) return 0;
  i64 number = 0;
  for (int i = 0; i < count; ++i) number = number << 8 | u8(bytes[at + size_t(big_endian ? i : count - 1 - i)]);
  return number;
}

inline constexpr std::string_view exif_name("Exif\0\0", 6);

// The EXIF of a file, a TIFF file of its own; empty: it has none. Of a JPEG file, in the segments before the pixels: a marker,
// and a length that counts itself; 0xff may stand before a marker any number of times.
inline std::string_view jpeg_exif(std::string_view bytes) {
  for (size_t at = 2; number_at(bytes, at, 1) == 0xff && number_at(bytes, at, 2) != 0xffda;) {
    if (number_at(bytes, at, 2) == 0xffff) {
      ++at;
      continue;
    }
    const size_t length = size_t(number_at(bytes, at + 2, 2));
    if (length < 2) return {};
    if (number_at(bytes, at, 2) == 0xffe1 && bytes.substr(at + 4).starts_with(exif_name))
      return bytes.substr(at + 4, length - 2).substr(exif_name.size());
    at += 2 + length;
  }
  return {};
}
// Of a PNG file, in a chunk: length, type, data, CRC.
inline std::string_view png_exif(std::string_view bytes, const std::string& file) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    const size_t length = size_t(number_at(bytes, at, 4));
    const std::string_view type = bytes.substr(at + 4, 4);
    if (type == "IEND") break;
    if (type == "eXIf") {
      std::string_view exif = bytes.substr(at + 8, length);
      if (at + 12 + length > bytes.size() || crc32(bytes.substr(at + 4, 4 + length)) != number_at(bytes, at + 8 + length, 4))
        throw Error("the PNG file is damaged: its eXIf chunk does not have its checksum",
                    {{"file", file}, {"remedy", "copy it again from where it was made, or use another"}});
      if (exif.starts_with(exif_name)) exif.remove_prefix(exif_name.size());  // some write a JPEG's into it
      return exif;
    }
    at += 12 + length;
  }
  return {};
}

// 1 to 8; 1, as it is, where nothing else is said.
inline i64 orientation(std::string_view exif) {
  const bool big_endian = exif.starts_with("MM");
  const auto number = [&](size_t at, int count) { return number_at(exif, at, count, big_endian); };
  const size_t first = size_t(number(4, 4));
  for (size_t i = 0; i < size_t(number(first, 2)); ++i)
    if (const size_t entry = first + 2 + 12 * i; number(entry, 2) == 0x112) {
      const i64 value = number(entry + 8, number(entry + 2, 2) == 4 ? 4 : 2);  // a LONG, or a SHORT
      return value >= 1 && value <= 8 ? value : 1;
    }
  return 1;
}

// From 5 on rows and columns change places; then 3, 4, 6 and 7 want the last row first, 2, 3, 7 and 8 the last column.
inline Tensor<u8, 3, Cpu> upright(const Tensor<u8, 3, Cpu>& image, i64 orientation) {
  if (orientation == 1) return image;
  const i64 h = image.extent(0), w = image.extent(1);
  const bool swapped = orientation >= 5,
             last_row = std::string_view("3467").find(char('0' + orientation)) != std::string_view::npos,
             last_column = std::string_view("2378").find(char('0' + orientation)) != std::string_view::npos;
  const Tensor<u8, 3, Cpu> out(swapped ? Shape<3>(w, h, 3) : Shape<3>(h, w, 3));
  u8* to = out.data();
  for (i64 y = 0; y < out.extent(0); ++y)
    for (i64 x = 0; x < out.extent(1); ++x, to += 3) {
      const i64 row = swapped ? x : y, column = swapped ? y : x;
      std::copy_n(image.data() + ((last_row ? h - 1 - row : row) * w + (last_column ? w - 1 - column : column)) * 3, 3, to);
    }
  return out;
}

}  // namespace detail

MINDGAP_INLINE Tensor<u8, 3, Cpu> read_image(const std::filesystem::path& path) {
  const std::string bytes = read_file(path, i64(1) << 30);
  if (bytes.starts_with("\x89PNG\r\n"))
    return detail::upright(decode_png(bytes, path.string()), detail::orientation(detail::png_exif(bytes, path.string())));
  if (bytes.starts_with("\xff\xd8"))
    return detail::upright(decode_jpeg(bytes, path.string()), detail::orientation(detail::jpeg_exif(bytes)));
  throw Error("this is neither a PNG nor a JPEG file", {{"file", path.string()}, {"remedy", "convert it to one of these"}});
}

}  // namespace mindgap
