// The bodies of data/png.hpp, over libpng's simplified interface, which knows no text.
#include <mindgap/data/image_claim.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/utf8.hpp>

#include <algorithm>
#include <cstring>
#include <png.h>

namespace mindgap {

namespace detail {

// An iTXt chunk (PNG specification, 11.3.4.5): length, "iTXt", keyword, 0, not compressed, no language, no translated keyword,
// text, CRC of all but the length.
inline std::string png_text_chunk(const std::string& keyword, const std::string& value) {
  const auto fail = [&](const std::string& what) {
    throw Error("png: " + what, {{"text", shown(keyword) + ": " + shown(value)}});
  };
  const auto printable = [](unsigned char c) { return c >= 32 && c < 127; };
  if (keyword.empty() || keyword.size() > 79 || !std::ranges::all_of(keyword, printable) || keyword.front() == ' ' ||
      keyword.back() == ' ')
    fail("a keyword has 1 to 79 printable ASCII characters, and no space at its ends");
  if (const std::string wrong = wrong_png_text(value); !wrong.empty()) fail("text " + wrong);
  const auto big_endian = [](u32 number) {
    return std::string{char(number >> 24), char(number >> 16), char(number >> 8), char(number)};
  };
  const std::string data = keyword + std::string(5, '\0') + value, chunk = "iTXt" + data;
  return big_endian(u32(data.size())) + chunk + big_endian(crc32(chunk));
}

}  // namespace detail

MINDGAP_INLINE std::string wrong_png_text(std::string_view value) {
  constexpr size_t most = 1 << 20;
  if (invalid_utf8(value) != value.npos || value.find('\0') != value.npos) return "is not UTF-8 without zero bytes";
  return value.size() > most ? text("has ", value.size(), " bytes, ", most, " at most") : "";
}

MINDGAP_INLINE std::string encode_png(const u8* pixels, i64 h, i64 w, i64 channels, const PngText& text) {
  constexpr i64 largest = 1 << 16;
  if (h < 1 || w < 1 || h > largest || w > largest || (channels != 1 && channels != 3))
    throw Error("png: an image has extents of 1 to 65536 and 1 or 3 channels", {{"image", Shape<3>(h, w, channels).str()}});
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = png_uint_32(w);
  image.height = png_uint_32(h);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = bytes.size();
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels, 0, nullptr))
    throw Error(std::string("png: ") + image.message, {{"image", Shape<3>(h, w, channels).str()}});
  bytes.resize(size);
  std::string chunks;
  for (const auto& [keyword, value] : text) chunks += detail::png_text_chunk(keyword, value);
  return bytes.insert(8 + 25, chunks);  // behind the signature and the header's chunk
}

MINDGAP_INLINE Tensor<u8, 3, Cpu> decode_png(std::string_view bytes, const std::string& file) {
  struct Reader : png_image {
    Reader() : png_image{} { version = PNG_IMAGE_VERSION; }
    ~Reader() { png_image_free(this); }  // what libpng holds between the header and the pixels, where we throw
  } image;
  const auto check = [&](int good) {
    if (!good)
      throw Error(std::string("png: ") + image.message,
                  {{"file", file}, {"remedy", "the file is damaged or no PNG file: copy or make it again"}});
  };
  check(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  detail::check_image_claim("png", image.height, image.width, file);
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  image.format = PNG_FORMAT_RGB;
  const Tensor<u8, 3, Cpu> out(Shape<3>(image.height, image.width, 3));
  const png_color white{255, 255, 255};
  check(png_image_finish_read(&image, &white, out.data(), 0, nullptr));
  return out;
}

MINDGAP_INLINE Tensor<u8, 3, Cpu> make_grid(const Tensor<u8, 4, Cpu>& images, i64 columns, i64 padding, u8 background) {
  const i64 n = images.extent(0), h = images.extent(1), w = images.extent(2), c = images.extent(3);
  if (n < 1 || columns < 1 || padding < 0)
    throw Error("grid: wants at least one image, one column and no negative padding",
                {{"images", images.shape().str()}, {"columns", std::to_string(columns)}, {"padding", std::to_string(padding)}});
  const i64 rows = n / columns + (n % columns > 0);
  const auto pixels = [&](i64 cells, i64 extent) { return double(cells) * (double(extent) + double(padding)); };
  if (std::max(pixels(rows, h), pixels(columns, w)) * double(c) > 0x1p40)
    throw Error(text("grid: ", rows, " x ", columns, " images are larger than any that is shown"),
                {{"images", images.shape().str()},
                 {"padding", std::to_string(padding)},
                 {"remedy", "use about as many columns as there are images, or fewer"}});
  const i64 stride = (columns * w + (columns - 1) * padding) * c;
  const Shape<3> shape{rows * h + (rows - 1) * padding, columns * w + (columns - 1) * padding, c};
  const Tensor<u8, 3, Cpu> grid(shape);
  std::memset(grid.data(), background, size_t(grid.bytes()));
  for (i64 i = 0; i < n; ++i) {
    u8* corner = grid.data() + (i / columns) * (h + padding) * stride + (i % columns) * (w + padding) * c;
    for (i64 y = 0; y < h; ++y) std::copy_n(images.data() + (i * h + y) * w * c, w * c, corner + y * stride);
  }
  return grid;
}

}  // namespace mindgap
