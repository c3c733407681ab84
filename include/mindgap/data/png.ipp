// The bodies of data/png.hpp, over libpng's simplified interface.
#include <mindgap/data/png.hpp>

#include <algorithm>
#include <cstring>
#include <png.h>

namespace mindgap {

MINDGAP_INLINE std::string encode_png(const u8* pixels, i64 h, i64 w, i64 channels) {
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
  return bytes;
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
