// Images in another size, as Pillow's Image.resize makes them: the same bytes.
//
//   image [h, w, c] u8, c = 1 or 3  ->  [height, width, c] u8
//
// Separable and antialiased: pixel i of n along an axis of m is the mean of those around its centre (i + 1/2) m / n, weighed by
// the filter, which is stretched by m / n where the image shrinks. Weights have 22 bits behind the point, and each pass (along
// the width first, then the height) rounds to whole values: so Pillow computes 8-bit images (its src/libImaging/Resample.c), and
// whoever resizes with it gets what stands in our files. This is the order of Pillow 3.3 to 12; Pillow 13 takes the height first
// for some images, those that are tall or whose height shrinks more than their width: their bytes differ.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

namespace mindgap {

struct ImageSize {
  i64 height, width;  // pixels
};

// Pillow's names; bicubic (a = -1/2) is its default. The support is 1/2, 1, 2 and 3 pixels to either side.
enum class ResampleFilter { box, bilinear, bicubic, lanczos };

// Throws for extents outside 1 to 65536 and a channel count other than 1 and 3.
Tensor<u8, 3, Cpu> resample(const Tensor<u8, 3, Cpu>& image, i64 height, i64 width,
                            ResampleFilter filter = ResampleFilter::bicubic);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/resample.ipp>
#endif
