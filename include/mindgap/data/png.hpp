// PNG files in memory, for sample grids and for the report's inline images.
//
//   pixels [h, w, c] u8, c = 1 (grey) or 3 (RGB, sRGB)  ->  the bytes of a PNG file
//
// Lossless; equal pixels give equal bytes. Left out: reading (the image decoder's business), alpha, 16 bits.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <string>

namespace mindgap {

// Throws for extents below 1 or a channel count other than 1 and 3.
std::string encode_png(const u8* pixels, i64 h, i64 w, i64 channels);

inline std::string encode_png(const Tensor<u8, 3, Cpu>& image) {
  return encode_png(image.data(), image.extent(0), image.extent(1), image.extent(2));
}

// Lays images [n, h, w, c] out in rows of `columns`, `padding` pixels of `background` between them:
// [rows * h + (rows - 1) * padding, columns * w + (columns - 1) * padding, c]. Cells without an image are background.
Tensor<u8, 3, Cpu> make_grid(const Tensor<u8, 4, Cpu>& images, i64 columns, i64 padding = 2, u8 background = 255);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/png.ipp>
#endif
