// Zeros around images, as many as each side wants, and back. Every element is read and written once.
#pragma once

#include <mindgap/kernels/vectorised.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// A row of the padded image, [width * c]: zeros, then the image's row, then zeros; rows above and below it are zeros.
// One block does a row of the padded image, or, backward, of the image.
template <class T>
struct ZeroPad {
  T* y;        // [n, top + h + bottom, left + w + right, c]
  const T* x;  // [n, h, w, c]
  i64 h, padded_h, top;
  i64 row, padded_row, begin;  // elements of a row of x, of y, and before the image's row

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id() / padded_h, i = block.id() % padded_h - top;
    const bool inside = i >= 0 && i < h;
    const T* from = x + (image * h + i) * row;
    T* to = y + block.id() * padded_row;
    for (i64 j = block.rank(); j < padded_row; j += block.size())
      to[j] = inside && j >= begin && j < begin + row ? from[j - begin] : T(0.f);
  }
};

template <class T>
struct ZeroPadBackward {
  T* grad_x;        // [n, h, w, c]
  const T* grad_y;  // as y
  i64 h, padded_h, top, row, padded_row, begin;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id() / h, i = block.id() % h;
    const T* from = grad_y + (image * padded_h + top + i) * padded_row + begin;
    T* to = grad_x + block.id() * row;
    for (i64 j = block.rank(); j < row; j += block.size()) to[j] = from[j];
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
