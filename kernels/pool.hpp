// Pooling of images [N, H, W, C]: max, average, and the average over all positions.
//
// One block does a row of the result (forward) or of the source (backward), all columns and channels of it. Backward
// gathers: a pixel of the source adds the windows that contain it in their order, so no atomics and a fixed result.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/box.hpp>

namespace mindgap {

// A square window on images: kernel, stride and padding are the same in both directions.
struct PoolGeometry {
  i64 h, w, out_h, out_w, channels;
  i64 kernel, stride, padding;

  // The part of window (oi, oj) that lies inside the image.
  MG_HD Box window(i64 oi, i64 oj) const { return {begin(oi), end(oi, h), begin(oj), end(oj, w)}; }
  // The windows that contain pixel (i, j), as a box of the result.
  MG_HD Box windows_of(i64 i, i64 j) const {
    return {first_window(i, out_h), last_window(i, out_h), first_window(j, out_w), last_window(j, out_w)};
  }

 private:
  // Along one axis, of `size` pixels or `count` windows.
  MG_HD static i64 clamp(i64 x, i64 low, i64 high) { return x < low ? low : (x > high ? high : x); }
  MG_HD i64 begin(i64 o) const { return o * stride - padding < 0 ? 0 : o * stride - padding; }
  MG_HD i64 end(i64 o, i64 size) const { return clamp(o * stride - padding + kernel, 0, size); }
  MG_HD i64 first_window(i64 i, i64 count) const {
    const i64 from = i + padding - kernel + 1;
    return clamp(from <= 0 ? 0 : (from + stride - 1) / stride, 0, count);
  }
  MG_HD i64 last_window(i64 i, i64 count) const { return clamp((i + padding) / stride + 1, 0, count); }
};

// y = max of the window; index = y' * w + x' of the first maximum, as torch. NaN wins.
template <class T>
struct MaxPool {
  T* y;        // [N, out_h, out_w, C]
  i32* index;  // [N, out_h, out_w, C] or null
  const T* x;  // [N, h, w, C]
  PoolGeometry g;

  MG_HD i64 shared_bytes() const { return 2 * shared_size(g.channels * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* best = block.template shared<float>(g.channels);  // each thread owns its channels
    i32* place = block.template shared<i32>(g.channels);
    const i64 n = block.id() / g.out_h, oi = block.id() % g.out_h;
    for (i64 oj = 0; oj < g.out_w; ++oj) {
      for (i64 c = block.rank(); c < g.channels; c += block.size()) best[c] = -INFINITY, place[c] = -1;
      const Box window = g.window(oi, oj);
      for (i64 i = window.top; i < window.bottom; ++i)
        for (i64 j = window.left; j < window.right; ++j) {
          const T* in = x + ((n * g.h + i) * g.w + j) * g.channels;
          const i32 here = i32(i * g.w + j);
          for (i64 c = block.rank(); c < g.channels; c += block.size()) {
            const float v = float(in[c]);
            const bool wins = v > best[c] || v != v || place[c] < 0;
            best[c] = wins ? v : best[c];
            place[c] = wins ? here : place[c];
          }
        }
      const i64 at = (block.id() * g.out_w + oj) * g.channels;
      for (i64 c = block.rank(); c < g.channels; c += block.size()) {
        y[at + c] = T(best[c]);
        if (index) index[at + c] = place[c];
      }
    }
  }
};

template <class T>
struct MaxPoolBackward {
  T* grad_x;         // [N, h, w, C]
  const T* grad_y;   // [N, out_h, out_w, C]
  const i32* index;  // [N, out_h, out_w, C]
  PoolGeometry g;

  MG_HD i64 shared_bytes() const { return shared_size(g.channels * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* sum = block.template shared<float>(g.channels);
    const i64 n = block.id() / g.h, i = block.id() % g.h;
    for (i64 j = 0; j < g.w; ++j) {
      const i32 here = i32(i * g.w + j);
      sum_box(block, sum, g.windows_of(i, j), n, g.out_h, g.out_w, g.channels, [=, this](i64 at) {
        const float v = float(grad_y[at]);  // read in any case, so that the loop has no branch
        return index[at] == here ? v : 0.f;
      });
      for (i64 c = block.rank(); c < g.channels; c += block.size()) grad_x[(block.id() * g.w + j) * g.channels + c] = T(sum[c]);
    }
  }
};

// Average pooling is the sum over a window / kernel^2, padding counted as zeros (torch's count_include_pad): a BoxSum. Its
// gradient sums the windows that contain a pixel.
struct Windows {
  PoolGeometry g;

  MG_HD i64 rows() const { return g.out_h; }
  MG_HD i64 columns() const { return g.out_w; }
  MG_HD i64 from_rows() const { return g.h; }
  MG_HD i64 from_columns() const { return g.w; }
  MG_HD Box operator()(i64 oi, i64 oj) const { return g.window(oi, oj); }
};
struct WindowsOfPixel {
  PoolGeometry g;

  MG_HD i64 rows() const { return g.h; }
  MG_HD i64 columns() const { return g.w; }
  MG_HD i64 from_rows() const { return g.out_h; }
  MG_HD i64 from_columns() const { return g.out_w; }
  MG_HD Box operator()(i64 i, i64 j) const { return g.windows_of(i, j); }
};

// grad_x[n, p, c] = scale * grad_y[n, c] for all positions p             one block a sample
template <class T>
struct SpreadRows {
  T* grad_x;        // [N, positions, C]
  const T* grad_y;  // [N, C]
  i64 positions, channels;
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T* g = grad_y + block.id() * channels;
    for (i64 p = 0; p < positions; ++p) {
      T* out = grad_x + (block.id() * positions + p) * channels;
#pragma GCC ivdep
      for (i64 c = block.rank(); c < channels; c += block.size()) out[c] = T(scale * float(g[c]));
    }
  }
};

}  // namespace mindgap
