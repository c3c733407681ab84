// What kernels of gradients of weights share: the output pixels of a convolution cut into units that fit a cache, and sums
// over the batch that are made in parts.
#pragma once

#include <mindgap/cpu/direct_gather.hpp>

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

// Units of about `size` output pixels: some rows of one image, or some images. A unit's windows begin at offset[pixel] of its
// source, which is x itself or a copy with zeros around it. A window is kh segments of kw * c numbers, row_size apart.
struct PixelUnits {
  i64 count;
  i64 row_size;
  std::vector<i32> offset;

  // copies: make copies even where no zeros are wanted.
  PixelUnits(const ConvGeometry& geometry, i64 size, bool copies)
      : g(geometry), in{g.n, g.h, g.w, g.c_in}, columns(forward_axis(g.out_w(), g.kw, g.stride_w, g.pad_w), g.w) {
    const i64 oh = g.out_h(), ow = g.out_w();
    if (oh * ow > size) unit.rows = divide_up(oh, divide_up(oh * ow, size));
    else unit = {std::clamp<i64>(size / (oh * ow), 1, g.n), oh};
    by_rows = unit.rows < oh;
    units_an_image = divide_up(oh, unit.rows);
    count = by_rows ? g.n * units_an_image : divide_up(g.n, unit.images);
    const Reach rows(forward_axis(oh, g.kh, g.stride_h, g.pad_h), g.h);
    pads = copies || rows.low < 0 || columns.low < 0 || rows.high > g.h || columns.high > g.w;
    row_size = (columns.high - columns.low) * g.c_in;
    unit_rows = (unit.rows - 1) * g.stride_h + g.kh;
    const i64 image_rows = pads ? unit_rows : g.h;
    for (i64 image = 0; image < unit.images; ++image)
      for (i64 i = 0; i < unit.rows; ++i)
        for (i64 j = 0; j < ow; ++j)
          offset.push_back(i32((image * image_rows + i * g.stride_h) * row_size + j * g.stride_w * g.c_in));
  }

  i64 most_pixels() const { return i64(offset.size()); }
  // Elements of a copy, and `surplus` that may be read behind it.
  i64 copy_size(i64 surplus) const { return pads ? round_up(unit.images * unit_rows * row_size, 32) + round_up(surplus, 32) : 0; }

  struct Pixels {
    i64 first, count;  // of all output pixels
  };
  Pixels pixels(i64 u) const {
    const i64 ow = g.out_w();
    return {(image(u) * g.out_h() + row(u)) * ow, images(u) * std::min(unit.rows, g.out_h() - row(u)) * ow};
  }
  // Unit u's source; `copy` is where a copy goes.
  template <class T>
  const T* source(i64 u, const T* x, T* copy) const {
    if (!pads) return x + (image(u) * g.h + row(u) * g.stride_h) * g.w * g.c_in;
    const i64 low = row(u) * g.stride_h - g.pad_h;
    copy_padded(copy, x + image(u) * g.h * g.w * g.c_in, in, images(u), low, low + unit_rows, columns);
    return copy;
  }

 private:
  i64 image(i64 u) const { return by_rows ? u / units_an_image : u * unit.images; }
  i64 row(i64 u) const { return by_rows ? u % units_an_image * unit.rows : 0; }
  i64 images(i64 u) const { return by_rows ? 1 : std::min(unit.images, g.n - image(u)); }

  ConvGeometry g;
  Image in;
  Reach columns;
  Unit unit{1, 1};
  bool by_rows, pads;
  i64 units_an_image, unit_rows;
};

// Gradients of weights and bias as a sum of parts, each made by itself and added in order.
class PartialSums {
 public:
  PartialSums(float* grad_w, float* grad_bias, i64 size, i64 channels, i64 parts)
      : grad_w_(grad_w),
        grad_bias_(grad_bias),
        size_(size),
        channels_(channels),
        parts_(parts),
        weights_(parts > 1 ? parts * size : 0),
        bias_(parts * channels) {
    std::fill_n(bias_.data(), parts * channels, 0.f);
  }
  float* weights(i64 part) const { return parts_ > 1 ? weights_.data() + part * size_ : grad_w_; }  // not yet written
  float* bias(i64 part) const { return bias_.data() + part * channels_; }                           // zeros
  void finish() const {
    if (parts_ > 1) add(grad_w_, weights_.data(), size_);
    if (grad_bias_) add(grad_bias_, bias_.data(), channels_);
  }

 private:
  void add(float* total, const float* from, i64 size) const {
#pragma omp parallel for if (size > 4096)
    for (i64 i = 0; i < size; ++i) {
      float sum = from[i];
      for (i64 p = 1; p < parts_; ++p) sum += from[p * size + i];
      total[i] = sum;
    }
  }

  float *grad_w_, *grad_bias_;
  i64 size_, channels_, parts_;
  Scratch weights_, bias_;
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
