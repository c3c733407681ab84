// JPEG files in memory, for folders of images and images to start from.
//
//   pixels [h, w, c] u8, c = 1 (grey) or 3 (RGB, sRGB)  ->  the bytes of a baseline JPEG file
//
// Quality 95 and full colour resolution (4:4:4), where Pillow's defaults are 75 and 4:2:0: students shall learn from what the
// generator made, not from what a codec took away. Equal pixels give equal bytes under one version of libjpeg. Left out: writing
// progressive files and text, reading CMYK.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <string>
#include <string_view>

namespace mindgap {

// quality: libjpeg's, 1 to 100. Throws for others, for extents outside 1 to 65500, and for a channel count other than 1 and 3.
std::string encode_jpeg(const u8* pixels, i64 h, i64 w, i64 channels, int quality = 95);

inline std::string encode_jpeg(const Tensor<u8, 3, Cpu>& image, int quality = 95) {
  return encode_jpeg(image.data(), image.extent(0), image.extent(1), image.extent(2), quality);
}

// [h, w, 3], grey three times, the pixels as they are stored: EXIF is not looked at (image_file.hpp). Throws for what is no whole
// JPEG file, for damaged data, and above 2^28 pixels. file: its name, for messages.
Tensor<u8, 3, Cpu> decode_jpeg(std::string_view bytes, const std::string& file);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/jpeg.ipp>
#endif
