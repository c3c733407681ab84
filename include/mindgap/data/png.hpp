// PNG files in memory, for sample grids, the report's inline images, folders of images and images to start from.
//
//   pixels [h, w, c] u8, c = 1 (grey) or 3 (RGB, sRGB)  ->  the bytes of a PNG file
//
// Lossless; equal pixels and text give equal bytes under one version of zlib. Read is any kind of PNG file as sRGB: grey three
// times, 16 bits to the nearest of 8, what is transparent over white, mixed as light is; other values by the file's gAMA, if it
// has one, which Pillow passes over. Left out: colour profiles (iCCP, cHRM), writing alpha, palettes and 16 bits.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mindgap {

// Keyword and value, as Pillow's Image.open(file).text has them.
using PngText = std::vector<std::pair<std::string, std::string>>;

// What is wrong with a value for a PNG file, which is UTF-8 without zero bytes, 1 MiB at most, for readers refuse larger ones;
// empty: nothing.
std::string wrong_png_text(std::string_view value);

// text: keywords of 1 to 79 printable ASCII characters, without a space at either end, and values as above. They are iTXt chunks
// in front of the pixels: tEXt, which has Latin-1 alone, is never written. Throws for other text, for extents outside 1 to 65536
// and a channel count other than 1 and 3.
std::string encode_png(const u8* pixels, i64 h, i64 w, i64 channels, const PngText& text = {});

inline std::string encode_png(const Tensor<u8, 3, Cpu>& image, const PngText& text = {}) {
  return encode_png(image.data(), image.extent(0), image.extent(1), image.extent(2), text);
}

// [h, w, 3], as it is stored: EXIF is not looked at (image_file.hpp). Throws for what is no whole PNG file, and above 2^28
// pixels. file: its name, for messages.
Tensor<u8, 3, Cpu> decode_png(std::string_view bytes, const std::string& file);

// Lays images [n, h, w, c] out in rows of `columns`, `padding` pixels of `background` between them:
// [rows * h + (rows - 1) * padding, columns * w + (columns - 1) * padding, c]. Cells without an image are background.
Tensor<u8, 3, Cpu> make_grid(const Tensor<u8, 4, Cpu>& images, i64 columns, i64 padding = 2, u8 background = 255);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/png.ipp>
#endif
