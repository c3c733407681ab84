// Pooling of images [N, H, W, C]: max, average, and the average over all positions.
//
// One block does a row of the result (forward) or of the source (backward), all columns and channels of it. Backward
// gathers: a pixel of the source adds the windows that contain it in their order, so no atomics and a fixed result. Max pooling
// keeps a byte for it: the maximum's place in its window, which backward compares with the pixel's.
// Every element of both images and of the index is moved once; windows overlap within a block or with the next one, in a cache.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/box.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// A square window on images: kernel, stride and padding are the same in both directions.
struct PoolGeometry {
  i64 h, w, out_h, out_w, channels;
  i64 kernel, stride, padding;

  // The part of window (oi, oj) that lies inside the image.
  MG_HD Box window(int oi, int oj) const { return {begin(oi), end(oi, h), begin(oj), end(oj, w)}; }
  // The windows that contain pixel (i, j), as a box of the result.
  MG_HD Box windows_of(int i, int j) const {
    return {first_window(i, out_h), last_window(i, out_h), first_window(j, out_w), last_window(j, out_w)};
  }
  // The place of pixel (i, j) in window (oi, oj): its number, row by row, padding counted in.
  MG_HD int place(int oi, int oj, int i, int j) const {
    return (i - oi * int(stride) + int(padding)) * int(kernel) + j - oj * int(stride) + int(padding);
  }

 private:
  // Along one axis, of `size` pixels or `count` windows; in 32 bits, whose divisions a GPU does in a few cycles.
  MG_HD static int clamp(int x, int low, int high) { return x < low ? low : (x > high ? high : x); }
  MG_HD int begin(int o) const { return clamp(o * int(stride) - int(padding), 0, o * int(stride)); }
  MG_HD int end(int o, i64 size) const { return clamp(o * int(stride) - int(padding) + int(kernel), 0, int(size)); }
  MG_HD int first_window(int i, i64 count) const {
    const int from = i + int(padding) - int(kernel) + 1;
    return clamp(from <= 0 ? 0 : int(u32(from + int(stride) - 1) / u32(stride)), 0, int(count));
  }
  MG_HD int last_window(int i, i64 count) const { return clamp(int(u32(i + int(padding)) / u32(stride)) + 1, 0, int(count)); }
};

// The largest kernel whose windows have places that are bytes.
inline constexpr i64 largest_indexed_window = 16;

// y = max of the window; index = the place of the first maximum, the one that torch takes. NaN wins.
template <class T>
struct MaxPool {
  T* y;        // [N, out_h, out_w, C]
  u8* index;   // [N, out_h, out_w, C] or null
  const T* x;  // [N, h, w, C]
  PoolGeometry g;

  static constexpr int vec_size = vector_size<T>;

  MG_HD i64 shared_bytes() const { return 2 * shared_size(g.channels * i64(sizeof(float))); }

  MG_HD bool vectorised() const {
    return g.channels % vec_size == 0 && is_vector_aligned(x) && is_vector_aligned(y) && is_vector_aligned(index);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const u32 n = u32(block.id()) / u32(g.out_h), oi = u32(block.id()) % u32(g.out_h);
    float* best = block.template shared<float>(g.channels);  // each thread owns its channels
    i32* place = block.template shared<i32>(g.channels);
    for (int oj = 0; oj < g.out_w; ++oj) {
      for (i64 c = block.rank(); c < g.channels; c += block.size()) best[c] = -INFINITY, place[c] = -1;
      const Box window = g.window(oi, oj);
      for (int i = window.top; i < window.bottom; ++i)
        for (int j = window.left; j < window.right; ++j) {
          const T* in = x + ((n * g.h + i) * g.w + j) * g.channels;
          const i32 here = g.place(oi, oj, i, j);
          for (i64 c = block.rank(); c < g.channels; c += block.size()) take(float(in[c]), here, best[c], place[c]);
        }
      const i64 at = (block.id() * g.out_w + oj) * g.channels;
      for (i64 c = block.rank(); c < g.channels; c += block.size()) y[at + c] = T(best[c]);
      if (!index) continue;
      u8* places = index + at;  // a byte written could be one of this kernel's fields, for all the compiler knows
      for (i64 c = block.rank(), channels = g.channels; c < channels; c += block.size()) places[c] = u8(place[c]);
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const u32 n = u32(block.id()) / u32(g.out_h), oi = u32(block.id()) % u32(g.out_h);
    const int channels = int(g.channels);
    const ColumnTeam<V> team(block, channels);
    for (int c = team.first; c < channels; c += team.step)
      for (int oj = team.slice; oj < g.out_w; oj += team.slices) {
        float best[V];
        i32 place[V];
        for (int k = 0; k < V; ++k) best[k] = -INFINITY, place[k] = -1;
        const Box window = g.window(oi, oj);
        for (int i = window.top; i < window.bottom; ++i) {
          const T* in = x + (n * g.h + i) * g.w * g.channels + c;
          for_loads<3>(
              window.left, window.right, 1, [&](int j) { return load_vector<V>(in + j * channels); },
              [&](int j, const AlignedVector<T, V>& pixel) {
                float v[V];
                widen<V>(v, pixel);
                for (int k = 0; k < V; ++k) take(v[k], g.place(oi, oj, i, j), best[k], place[k]);
              });
        }
        const i64 at = (block.id() * g.out_w + oj) * g.channels + c;
        store<V>(y + at, best);
        if (!index) continue;
        AlignedVector<u8, V> places;
        for (int k = 0; k < V; ++k) places.element[k] = u8(place[k]);
        store_vector(index + at, places);
      }
  }

 private:
  MG_HD static void take(float v, i32 here, float& best, i32& place) {
    const bool wins = v > best || v != v || place < 0;
    best = wins ? v : best;
    place = wins ? here : place;
  }
};

// grad_x[pixel] = the sum of grad_y over the windows whose maximum the pixel is
template <class T>
struct MaxPoolBackward {
  static constexpr int vec_size = vector_size<T>;

  T* grad_x;        // [N, h, w, C]
  const T* grad_y;  // [N, out_h, out_w, C]
  const u8* index;  // [N, out_h, out_w, C]
  PoolGeometry g;

  MG_HD i64 shared_bytes() const { return shared_size(g.channels * i64(sizeof(float))); }

  MG_HD bool vectorised() const {
    return g.channels % vec_size == 0 && is_vector_aligned(grad_x) && is_vector_aligned(grad_y) && is_vector_aligned(index);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const u32 n = u32(block.id()) / u32(g.h), i = u32(block.id()) % u32(g.h);
    float* sum = block.template shared<float>(g.channels);
    for (int j = 0; j < g.w; ++j) {
      sum_box(block, sum, g.windows_of(i, j), n, g.out_h, g.out_w, g.channels, [=, this](int oi, int oj, i64 at) {
        const float v = float(grad_y[at]);  // read in any case, so that the loop has no branch
        return index[at] == g.place(oi, oj, i, j) ? v : 0.f;
      });
      for (i64 c = block.rank(); c < g.channels; c += block.size()) grad_x[(block.id() * g.w + j) * g.channels + c] = T(sum[c]);
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const u32 n = u32(block.id()) / u32(g.h), i = u32(block.id()) % u32(g.h);
    struct Window {
      AlignedVector<T, V> grad;
      AlignedVector<u8, V> place;
    };
    const int channels = int(g.channels), width = int(g.w);
    const ColumnTeam<V> team(block, channels);
    for (int c = team.first; c < channels; c += team.step)
      for (int j = team.slice; j < width; j += team.slices) {
        const Box box = g.windows_of(i, j);
        float sum[V] = {};
        for (int oi = box.top; oi < box.bottom; ++oi) {
          const i64 row = (n * g.out_h + oi) * g.out_w * g.channels + c;
          for_loads<2>(
              box.left, box.right, 1,
              [&](int oj) {
                return Window{load_vector<V>(grad_y + row + oj * channels), load_vector<V>(index + row + oj * channels)};
              },
              [&](int oj, const Window& window) {
                float v[V];
                widen<V>(v, window.grad);
                for (int k = 0; k < V; ++k) sum[k] += window.place.element[k] == g.place(oi, oj, i, j) ? v[k] : 0.f;
              });
        }
        store<V>(grad_x + (block.id() * g.w + j) * g.channels + c, sum);
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
  MG_HD Box operator()(int oi, int oj) const { return g.window(oi, oj); }
};
struct WindowsOfPixel {
  PoolGeometry g;

  MG_HD i64 rows() const { return g.h; }
  MG_HD i64 columns() const { return g.w; }
  MG_HD i64 from_rows() const { return g.out_h; }
  MG_HD i64 from_columns() const { return g.out_w; }
  MG_HD Box operator()(int i, int j) const { return g.windows_of(i, j); }
};

// grad_x[n, p, c] = scale * grad_y[n, c] for all positions p             one block a sample; writes grad_x once
template <class T>
struct SpreadRows {
  T* grad_x;        // [N, positions, C]
  const T* grad_y;  // [N, C]
  i64 positions, channels;
  float scale;

  static constexpr int vec_size = vector_size<T>;
  MG_HD bool vectorised() const { return channels % vec_size == 0 && is_vector_aligned(grad_x) && is_vector_aligned(grad_y); }

  template <Block B>
  MG_HD void serial(B& block) const {
    const T* g = grad_y + block.id() * channels;
    for (i64 p = 0; p < positions; ++p) {
      T* pixel = grad_x + (block.id() * positions + p) * channels;
#pragma GCC ivdep
      for (i64 c = 0; c < channels; ++c) pixel[c] = T(scale * float(g[c]));
    }
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    T* out = grad_x + block.id() * positions * channels;
    const ColumnTeam<V> team(block, int(channels));
    for (int c = team.first; c < channels; c += team.step) {
      float value[V];
      load<V>(value, grad_y + block.id() * channels + c);
      for (int j = 0; j < V; ++j) value[j] *= scale;
      for (int p = team.slice; p < positions; p += team.slices) store<V>(out + p * channels + c, value);
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
