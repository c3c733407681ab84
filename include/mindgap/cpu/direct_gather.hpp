// Products whose left rows lie anywhere: C = A B (+ bias) with B in packed panels. The loops around gather_tile, and their
// user convolution, forward and by data. f32, AVX2.
//
// Convolution as an implicit GEMM, without a patch matrix: zeros are put around a copy of a few images (or rows of one) that fits
// the second cache, then an output pixel's inputs are kh segments of kw * c contiguous numbers. Backward by data is the same
// convolution over grad_y with the window mirrored; with stride s the pixels of grad_x fall into s * s phases, each of
// which sees its own subset of the window at stride 1, so that no product with an inserted zero is made.
//
// Bytes: x once, y once, weights twice (packing), padded copies in cache.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/core/memory.hpp>
#include <mindgap/cpu/microkernel.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <omp.h>
#include <vector>

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

// The kernels here need AVX2 with FMA.
inline bool runs_here() {
  static const bool runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return runs;
}

// With AVX-512, oneDNN's convolutions are quicker.
inline bool convolves_best_here() {
  static const bool best = runs_here() && !__builtin_cpu_supports("avx512f");
  return best;
}

// Uninitialised floats from the tensor pool.
class Scratch {
 public:
  explicit Scratch(i64 size) : memory_(Pool<Cpu>::current().allocate(size * i64(sizeof(float)))) {
    prefer_huge_pages(memory_.get(), size * i64(sizeof(float)));
  }
  float* data() const { return static_cast<float*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
};

constexpr i64 divide_up(i64 a, i64 b) { return (a + b - 1) / b; }
constexpr i64 round_up(i64 a, i64 b) { return divide_up(a, b) * b; }

// Where the rows of A and C start, as offsets from a base.
struct RowTable {
  std::vector<i32> a, c;
};

template <int Rows>
[[gnu::target("avx2,fma")]] void gather_columns(const float* a, const i32* a_offset, Segments k, const float* b, float* c,
                                                const i32* c_offset, i64 columns, Start start, const float* bias) {
  if (columns == panel) return gather_tile<Rows, 2>(a, a_offset, k, b, c, c_offset, start, bias);
  // The last columns by way of a whole tile.
  alignas(32) float tile[gather_rows * panel] = {}, whole_bias[panel] = {};
  static constexpr i32 tile_offset[gather_rows] = {0, panel, 2 * panel, 3 * panel, 4 * panel, 5 * panel};
  if (bias && start == Start::bias) std::memcpy(whole_bias, bias, size_t(columns) * sizeof(float));
  if (start == Start::sum)
    for (int i = 0; i < Rows; ++i) std::memcpy(tile + i * panel, c + c_offset[i], size_t(columns) * sizeof(float));
  if (columns <= lanes) gather_tile<Rows, 1>(a, a_offset, k, b, tile, tile_offset, start, whole_bias);
  else gather_tile<Rows, 2>(a, a_offset, k, b, tile, tile_offset, start, whole_bias);
  for (int i = 0; i < Rows; ++i) std::memcpy(c + c_offset[i], tile + i * panel, size_t(columns) * sizeof(float));
}

// Rows 0..count of C, columns of the panels panel_begin..panel_end; n columns in all. packed: [n / 16][k][16].
inline void gather_panels(const float* a, const i32* a_offset, Segments k, const float* packed, float* c, const i32* c_offset,
                          i64 count, i64 n, i64 panel_begin, i64 panel_end, Start start, const float* bias) {
  // A block of K whose panel stays in the first cache.
  constexpr i64 block = 384;
  const bool splits = k.length > block;
  const i64 blocks_a_segment = splits ? divide_up(k.length, block) : 1;
  const i64 segments_a_block = splits ? 1 : std::max<i64>(1, block / std::max<i64>(1, k.length));
  const i64 tiles = divide_up(count, gather_rows);
  for (i64 s = 0; s == 0 || s < k.count; s += segments_a_block)
    for (i64 part = 0; part < blocks_a_segment; ++part) {
      const i64 begin = k.length * part / blocks_a_segment, end = k.length * (part + 1) / blocks_a_segment;
      const Segments here{std::min(segments_a_block, k.count - s), end - begin, k.stride, k.step};
      const float* a_here = a + s * k.stride + begin * k.step;
      const Start start_here = s + part > 0 ? Start::sum : start;
      for (i64 p = panel_begin; p < panel_end; ++p) {
        const float* b = packed + (p * k.size() + s * k.length + begin) * panel;
        const i64 columns = std::min<i64>(panel, n - p * panel);
        float* c_here = c + p * panel;
        const float* bias_here = bias ? bias + p * panel : nullptr;
        // Tiles of equal height, give or take one: a tile of one row costs nearly as much as one of four.
        for (i64 t = 0; t < tiles; ++t) {
          const i64 row = count * t / tiles, rows = count * (t + 1) / tiles - row;
          const i32 *ao = a_offset + row, *co = c_offset + row;
          switch (rows) {
            case 1:
              gather_columns<1>(a_here, ao, here, b, c_here, co, columns, start_here, bias_here);
              break;
            case 2:
              gather_columns<2>(a_here, ao, here, b, c_here, co, columns, start_here, bias_here);
              break;
            case 3:
              gather_columns<3>(a_here, ao, here, b, c_here, co, columns, start_here, bias_here);
              break;
            case 4:
              gather_columns<4>(a_here, ao, here, b, c_here, co, columns, start_here, bias_here);
              break;
            case 5:
              gather_columns<5>(a_here, ao, here, b, c_here, co, columns, start_here, bias_here);
              break;
            default:
              gather_columns<6>(a_here, ao, here, b, c_here, co, columns, start_here, bias_here);
              break;
          }
        }
      }
    }
}

// The same, a few rows at a time where all of B fits the second cache.
inline void gather(const float* a, const i32* a_offset, Segments k, const float* packed, float* c, const i32* c_offset, i64 count,
                   i64 n, i64 panel_begin, i64 panel_end, Start start, const float* bias) {
  const i64 chunks = k.size() * n <= 48 * 1024 ? divide_up(count, 8 * gather_rows) : 1;
  for (i64 i = 0; i < chunks; ++i) {
    const i64 row = count * i / chunks;
    gather_panels(a, a_offset + row, k, packed, c, c_offset + row, count * (i + 1) / chunks - row, n, panel_begin, panel_end,
                  start, bias);
  }
}

// A convolution with at most this many outputs reads its weights as they are, [n][k], and sums along K.
constexpr i64 few_columns = 4;

inline void gather_few(const float* a, const i32* a_offset, Segments k, const float* b, float* c, const i32* c_offset, i64 count,
                       i64 n, const float* bias) {
  for (i64 row = 0; row < count; row += dot_rows)
    for (i64 j = 0; j < n; ++j)
      gather_dots(a, a_offset + row, k, b + j * k.size(), c + j, c_offset + row, std::min<i64>(dot_rows, count - row),
                  bias ? bias[j] : 0);
}

// --- convolution -----------------------------------------------------------------------------------------------------

// One axis of one phase: output i = 0..count sits at i * out_step + out_offset and sees source positions
// i * step + first + (0..taps); its tap t is number tap_first + t * tap_step of the window.
struct AxisPhase {
  i64 count, out_step, out_offset, step, first, taps, tap_first, tap_step;
};

inline std::vector<AxisPhase> forward_axis(i64 out, i64 kernel, i64 stride, i64 padding) {
  return {{out, 1, 0, stride, -padding, kernel, 0, 1}};
}

// grad_x[y] sums grad_y[(y + padding - t) / stride] over the taps t that divide. For y = i * stride + phase these are
// t = first_tap, first_tap + stride, ...; mirrored, so that the source position ascends.
inline std::vector<AxisPhase> backward_axis(i64 size, i64 kernel, i64 stride, i64 padding) {
  std::vector<AxisPhase> phases;
  for (i64 phase = 0; phase < std::min(stride, size); ++phase) {
    const i64 first_tap = (phase + padding) % stride;
    const i64 taps = first_tap < kernel ? divide_up(kernel - first_tap, stride) : 0;
    const i64 last_tap = first_tap + (taps - 1) * stride;
    phases.push_back({divide_up(size - phase, stride), stride, phase, 1, taps ? (phase + padding - last_tap) / stride : 0, taps,
                      last_tap, -stride});
  }
  return phases;
}

struct Image {
  i64 n, h, w, c;
};

// The part of an axis that any phase reads, positions before `from` of the source and from `size` on being zeros.
struct Reach {
  i64 low = 0, high;
  Reach(const std::vector<AxisPhase>& phases, i64 size) : high(size) {
    for (const AxisPhase& p : phases)
      if (p.taps) {
        low = std::min(low, p.first);
        high = std::max(high, (p.count - 1) * p.step + p.first + p.taps);
      }
  }
};

// Rows row_low..row_high of `images` images with zeros where they lie outside, and columns as wide as `columns` reaches.
template <class T>
void copy_padded(T* to, const T* from, const Image& source, i64 images, i64 row_low, i64 row_high, Reach columns) {
  const i64 left = -columns.low * source.c, middle = source.w * source.c, right = (columns.high - source.w) * source.c;
  for (i64 image = 0; image < images; ++image)
    for (i64 row = row_low; row < row_high; ++row) {
      if (row < 0 || row >= source.h) {
        std::fill_n(to, left + middle + right, T(0.f));
      } else {
        std::fill_n(to, left, T(0.f));
        std::memcpy(to + left, from + (image * source.h + row) * middle, size_t(middle) * sizeof(T));
        std::fill_n(to + left + middle, right, T(0.f));
      }
      to += left + middle + right;
    }
}

// How many images, or rows of one image, are worked on at a time.
struct Unit {
  i64 images, rows;
};

// target = convolution of source with the packed weights of each pair of phases (vertical outermost), one after the other.
// packed is plain [n][k] if target has few_columns or less and there is but one phase.
inline void convolve(float* target, const Image& out, const float* source, const Image& in,
                     const std::vector<AxisPhase>& vertical, const std::vector<AxisPhase>& horizontal, const float* packed,
                     const float* bias) {
  const Reach rows_reach(vertical, in.h), columns_reach(horizontal, in.w);
  const bool pads = rows_reach.low < 0 || columns_reach.low < 0 || rows_reach.high > in.h || columns_reach.high > in.w;
  const i64 width = columns_reach.high - columns_reach.low, row_size = width * in.c;
  const i64 threads = omp_get_max_threads(), panels = divide_up(out.c, panel);
  const bool few = out.c <= few_columns && vertical.size() * horizontal.size() == 1;

  // A unit's source fits half a second cache, and there are enough units to go round.
  constexpr i64 budget = 40 * 1024;
  i64 most_rows = 0, step = 1, window = 1;
  for (const AxisPhase& v : vertical) {
    most_rows = std::max(most_rows, v.count);
    step = v.step;
    window = std::max(window, v.taps);
  }
  Unit unit{1, most_rows};
  const i64 image_size = (rows_reach.high - rows_reach.low) * row_size;
  if (image_size > budget) unit.rows = std::clamp<i64>((budget / row_size - window) / step + 1, 1, most_rows);
  else unit.images = std::clamp<i64>(std::min(budget / image_size, divide_up(in.n, 4 * threads)), 1, in.n);
  if (in.n < 4 * threads)
    unit.rows = std::min(unit.rows, std::max<i64>(divide_up(24, horizontal[0].count), divide_up(most_rows * in.n, 4 * threads)));
  // Offsets within a unit are of 32 bits.
  constexpr i64 reach = std::numeric_limits<i32>::max();
  unit.rows = std::min(unit.rows, std::max<i64>(1, reach / std::max<i64>(1, vertical[0].out_step * out.w * out.c)));
  unit.images = std::min(unit.images, std::max<i64>(1, reach / std::max<i64>(1, out.h * out.w * out.c)));
  unit.rows = divide_up(most_rows, divide_up(most_rows, unit.rows));
  const i64 units_an_image = divide_up(most_rows, unit.rows);
  const i64 units = unit.rows < most_rows ? in.n * units_an_image : divide_up(in.n, unit.images);
  const i64 slices = std::min(panels, units < 4 * threads ? divide_up(4 * threads, units) : 1);

  // Row tables: the same for every unit; the last may use less of them.
  i64 lowest = 0, highest = 0;  // source rows of a unit that starts at output row 0
  for (const AxisPhase& v : vertical)
    if (v.taps) {
      lowest = std::min(lowest, v.first);
      highest = std::max(highest, (unit.rows - 1) * v.step + v.first + v.taps);
    }
  const i64 unit_rows = highest - lowest;
  const i64 image_rows = pads ? unit_rows : in.h;
  std::vector<RowTable> tables;
  std::vector<i64> weights_at;
  i64 packed_size = 0;
  for (const AxisPhase& v : vertical)
    for (const AxisPhase& h : horizontal) {
      RowTable table;
      for (i64 image = 0; image < unit.images; ++image)
        for (i64 i = 0; i < std::min(unit.rows, v.count); ++i)
          for (i64 j = 0; j < h.count; ++j) {
            table.a.push_back(i32(((image * image_rows + i * v.step + v.first - (pads ? lowest : 0)) * width + j * h.step +
                                   h.first - columns_reach.low) *
                                  in.c));
            table.c.push_back(
                i32(((image * out.h + i * v.out_step + v.out_offset) * out.w + j * h.out_step + h.out_offset) * out.c));
          }
      tables.push_back(std::move(table));
      weights_at.push_back(packed_size);
      packed_size += panels * panel * v.taps * h.taps * in.c;
    }

  const i64 padded_size = pads ? round_up(unit.images * unit_rows * row_size, 16) : 0;
  const Scratch padded(threads * padded_size);
#pragma omp parallel
  {
    float* mine = padded.data() + omp_get_thread_num() * padded_size;
    i64 held = -1;  // the unit whose padded copy `mine` holds
#pragma omp for schedule(dynamic, 1)
    for (i64 task = 0; task < units * slices; ++task) {
      const i64 u = task / slices, slice = task % slices;
      const bool by_rows = unit.rows < most_rows;
      const i64 image = by_rows ? u / units_an_image : u * unit.images, row = by_rows ? u % units_an_image * unit.rows : 0;
      const i64 images = by_rows ? 1 : std::min(unit.images, in.n - image);
      const float* from = source + image * in.h * in.w * in.c;
      const float* a = pads ? mine : from + row * step * row_size;
      if (pads && held != u) {
        copy_padded(mine, from, in, images, row * step + lowest, row * step + highest, columns_reach);
        held = u;
      }
      size_t phase = 0;
      for (const AxisPhase& v : vertical)
        for (const AxisPhase& h : horizontal) {
          const RowTable& table = tables[phase];
          const Segments k{v.taps, h.taps * in.c, row_size};
          const i64 rows = std::min(unit.rows, v.count - row) * h.count * images;
          float* c = target + (image * out.h + row * v.out_step) * out.w * out.c;
          if (rows > 0 && few) gather_few(a, table.a.data(), k, packed, c, table.c.data(), rows, out.c, bias);
          else if (rows > 0)
            gather(a, table.a.data(), k, packed + weights_at[phase], c, table.c.data(), rows, out.c, panels * slice / slices,
                   panels * (slice + 1) / slices, bias ? Start::bias : Start::zero, bias);
          ++phase;
        }
    }
  }
}

inline void conv2d_forward(const ConvGeometry& g, float* y, const float* x, const float* w, const float* bias) {
  const i64 k = g.kh * g.kw * g.c_in, panels = divide_up(g.c_out, panel);
  const bool few = g.c_out <= few_columns;
  const Scratch scratch(few ? 0 : panels * panel * k);
  if (!few)
#pragma omp parallel for if (panels * k > 2048)
    for (i64 p = 0; p < panels; ++p)
      pack_rows(scratch.data() + p * panel * k, w + p * panel * k, k, std::min<i64>(panel, g.c_out - p * panel), k, 1);
  const float* packed = few ? w : scratch.data();
  if (g.kh * g.kw * g.stride_h * g.stride_w == 1 && g.pad_h + g.pad_w == 0) {  // a product: all pixels in one column
    const i64 pixels = g.n * g.h * g.w;
    return convolve(y, {1, pixels, 1, g.c_out}, x, {1, pixels, 1, g.c_in}, forward_axis(pixels, 1, 1, 0),
                    forward_axis(1, 1, 1, 0), packed, bias);
  }
  convolve(y, {g.n, g.out_h(), g.out_w(), g.c_out}, x, {g.n, g.h, g.w, g.c_in},
           forward_axis(g.out_h(), g.kh, g.stride_h, g.pad_h), forward_axis(g.out_w(), g.kw, g.stride_w, g.pad_w), packed, bias);
}

inline void conv2d_backward_data(const ConvGeometry& g, float* grad_x, const float* grad_y, const float* w) {
  std::vector<AxisPhase> vertical = backward_axis(g.h, g.kh, g.stride_h, g.pad_h);
  std::vector<AxisPhase> horizontal = backward_axis(g.w, g.kw, g.stride_w, g.pad_w);
  const i64 panels = divide_up(g.c_in, panel), window = g.kh * g.kw;
  const bool few = g.c_in <= few_columns && vertical.size() * horizontal.size() == 1;
  const Scratch packed(panels * panel * window * g.c_out);
  i64 at = 0;
  for (const AxisPhase& v : vertical)
    for (const AxisPhase& h : horizontal) {
      const i64 taps = v.taps * h.taps;
#pragma omp parallel for collapse(2) if (panels * taps * g.c_out > 2048)
      for (i64 p = 0; p < panels; ++p)
        for (i64 t = 0; t < taps; ++t) {
          const i64 tap = (v.tap_first + t / h.taps * v.tap_step) * g.kw + h.tap_first + t % h.taps * h.tap_step;
          if (few)
            for (i64 c = 0; c < g.c_in; ++c)
              for (i64 o = 0; o < g.c_out; ++o) packed.data()[(c * taps + t) * g.c_out + o] = w[(o * window + tap) * g.c_in + c];
          else
            pack_columns(packed.data() + at + (p * taps + t) * g.c_out * panel, w + tap * g.c_in + p * panel, window * g.c_in,
                         std::min<i64>(panel, g.c_in - p * panel), g.c_out, 1);
        }
      at += panels * panel * taps * g.c_out;
    }
  if (window * g.stride_h * g.stride_w == 1 && g.pad_h + g.pad_w == 0) {
    const i64 pixels = g.n * g.h * g.w;
    return convolve(grad_x, {1, pixels, 1, g.c_in}, grad_y, {1, pixels, 1, g.c_out}, forward_axis(pixels, 1, 1, 0),
                    forward_axis(1, 1, 1, 0), packed.data(), nullptr);
  }
  convolve(grad_x, {g.n, g.h, g.w, g.c_in}, grad_y, {g.n, g.out_h(), g.out_w(), g.c_out}, vertical, horizontal, packed.data(),
           nullptr);
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
