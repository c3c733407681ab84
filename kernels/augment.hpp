// The images of a batch, taken from a data set that lies on the device: cropped, shifted, mirrored and normalised.
//
//   PlaceImages   u8 [N, H, W, C] -> T [count, h, w, C]; reads h w C and writes h w C sizeof(T) bytes an image
//   GatherRows    rows of T, one for each image of the set -> the rows of the batch
//
// A plan says which images a batch has and where each one's window lies; data/loader.hpp makes it. A pixel is one look-up in a
// table of 256 values a channel, so T is rounded once, and both devices give the same bits.
#pragma once

#include <mindgap/kernels/copy.hpp>

namespace mindgap {

struct PlannedImage {
  i32 image;
  i32 top, left;  // of the window in the image; may lie outside, where pixels are black
  i32 flip;       // 1: left and right exchanged
};

namespace kernel {
inline namespace MINDGAP_SET {

// One block an image.
template <class T>
struct PlaceImages {
  T* images;                 // [count, out_height, out_width, channels]
  i64* labels;               // [count]
  const u8* pixels;          // [N, height, width, channels]
  const i64* all_labels;     // [N]
  const PlannedImage* plan;  // [count]
  const T* table;            // [channels, 256]
  i32 height, width, channels, out_height, out_width;

  template <Block B>
  MG_HD void serial(B& block) const {
    const PlannedImage at = plan[block.id()];
    labels[block.id()] = all_labels[at.image];
    for (i32 y = 0; y < out_height; ++y) place_row(target(block.id()) + y * out_width * channels, source(at), at.top + y, at);
  }

  template <Block B>
  MG_HD void team(B& block) const {
    const PlannedImage at = plan[block.id()];
    const u8* in = source(at);
    T* out = target(block.id());
    if (block.rank() == 0) labels[block.id()] = all_labels[at.image];
    const i32 row_size = out_width * channels;
    for (i32 i = block.rank(); i < out_height * row_size; i += block.size()) {
      const i32 y = i / row_size, x = i % row_size / channels, c = i % channels;
      const i32 row = at.top + y, column = at.left + (at.flip ? out_width - 1 - x : x);
      const bool inside = row >= 0 && row < height && column >= 0 && column < width;
      out[i] = table[256 * c + (inside ? in[(row * width + column) * channels + c] : 0)];
    }
  }

 private:
  MG_HD const u8* source(PlannedImage at) const { return pixels + i64(at.image) * height * width * channels; }
  MG_HD T* target(i64 id) const { return images + id * out_height * out_width * channels; }

  // The row `row` of the image, without a test in the loop over pixels: columns [first, last) of the window lie inside.
  MG_HD void place_row(T* out, const u8* in, i32 row, PlannedImage at) const {
    const bool inside = row >= 0 && row < height;
    const i32 first = inside ? clamp(-at.left, out_width) : out_width,
              last = inside ? clamp(width - at.left, out_width) : out_width;
    const u8* source = inside ? in + row * width * channels : in;
    const auto column = [&](i32 x) { return out + (at.flip ? out_width - 1 - x : x) * channels; };
    for (i32 x = 0; x < out_width; ++x) {
      if (x == first && first < last) x = last;
      if (x >= out_width) break;
      for (i32 c = 0; c < channels; ++c) column(x)[c] = table[256 * c];
    }
    if (channels == 1 && !at.flip)
      for (i32 x = first; x < last; ++x) out[x] = table[source[at.left + x]];
    else if (channels == 1)
      for (i32 x = first; x < last; ++x) out[out_width - 1 - x] = table[source[at.left + x]];
    else
      for (i32 x = first; x < last; ++x)
        for (i32 c = 0; c < channels; ++c) column(x)[c] = table[256 * c + source[(at.left + x) * channels + c]];
  }
  MG_HD static i32 clamp(i32 x, i32 most) { return x < 0 ? 0 : x < most ? x : most; }
};

// One block a row.
template <class T>
struct GatherRows {
  T* rows;                   // [count, size]
  i64* labels;               // [count]
  const T* all_rows;         // [N, size]
  const i64* all_labels;     // [N]
  const PlannedImage* plan;  // [count]
  i64 size;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = plan[block.id()].image;
    copy_row(block, rows + block.id() * size, all_rows + image * size, size);
    if (block.rank() == 0) labels[block.id()] = all_labels[image];
  }
};

}  // namespace MINDGAP_SET
}  // namespace kernel
}  // namespace mindgap
