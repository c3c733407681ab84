// Random flips, shifts and crops, fused with normalisation: u8 [H, W, C] of one image -> T [h, w, C] (kernels/augment.hpp).
//
//   out[y, x, c] = (in[top + y, left + x', c] / 255 - mean[c]) / std[c],   x' = x or, flipped, w - 1 - x
//
// Pixels outside the image are black (0 before normalisation). With shift p and crop (h, w) the window's corner is uniform
// over [-p, H - h + p] x [-p, W - w + p]; without augmentation it is central.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/random.hpp>

#include <algorithm>
#include <vector>

namespace mindgap {

struct Augmentation {
  bool flip = false;                    // left and right exchanged with probability 1/2
  i64 shift = 0;                        // up to this many pixels in each direction
  i64 crop_height = 0, crop_width = 0;  // size of the output; 0 keeps the image's

  bool random(i64 height, i64 width) const {
    return flip || shift > 0 || out_height(height) != height || out_width(width) != width;
  }
  i64 out_height(i64 height) const { return crop_height ? crop_height : height; }
  i64 out_width(i64 width) const { return crop_width ? crop_width : width; }
};

// Where the output window lies in the image.
struct Placement {
  i64 top = 0, left = 0;
  bool flip = false;
};

inline Placement central_placement(const Augmentation& a, i64 height, i64 width) {
  return {(height - a.out_height(height)) / 2, (width - a.out_width(width)) / 2, false};
}

// Uses words 0 to 2 of the stream, which is keyed by seed, epoch and image and so knows no batch.
inline Placement random_placement(const Augmentation& a, i64 height, i64 width, const Stream& stream) {
  const u32 rows = u32(height - a.out_height(height) + 2 * a.shift + 1),
            columns = u32(width - a.out_width(width) + 2 * a.shift + 1);
  const PhiloxBlock words = stream.block(0);
  const auto below = [](u32 word, u32 bound) { return i64((u64(word) * bound) >> 32); };
  return {below(words[1], rows) - a.shift, below(words[2], columns) - a.shift, a.flip && (words[0] >> 31) != 0};
}

// Input normalisation in units of [0, 1], one value for all channels or one each.
struct Normalisation {
  std::vector<float> mean{0.5f}, std{0.5f};
};

// table[256 c + value] is the normalised value of channel c.
template <Real T>
std::vector<T> normalisation_table(const Normalisation& n, i64 channels) {
  for (const std::vector<float>* values : {&n.mean, &n.std})
    if (i64(values->size()) != 1 && i64(values->size()) != channels)
      throw Error(text("normalisation: ", values->size(), " values for ", channels, " channels"),
                  {{"remedy", "give one value, or one a channel"}});
  std::vector<T> table;
  for (i64 c = 0; c < channels; ++c) {
    const float mean = n.mean[n.mean.size() == 1 ? 0 : size_t(c)], std = n.std[n.std.size() == 1 ? 0 : size_t(c)];
    if (!(std > 0)) throw Error(text("normalisation: the std of channel ", c, " is ", std, ", wanted more than 0"));
    for (int value = 0; value < 256; ++value) table.push_back(T((float(value) / 255.f - mean) / std));
  }
  return table;
}

}  // namespace mindgap
