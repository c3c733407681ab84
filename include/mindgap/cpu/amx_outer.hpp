// Gradients of a convolution's weights and bias in bf16 on CPUs with AMX.
//
//   grad_w[o, u, v, c] = sum over pixels p of  grad_y[p, o] * x[pixel p shifted by (u, v), c]
//
// The sum runs over pixels, so a left tile is 16 output channels of 32 pixels, grad_y transposed, and a right tile 16 inputs of
// 32 pixels, two pixels side by side in each 32 bits. A unit of about 512 pixels is packed into such tiles: grad_y once, x
// once for each position of the window, from a copy with zeros around it. Then two by two accumulators take a pair of left
// and a pair of right tiles at a time, so that loading tiles takes half as long as multiplying them.
//
// Why not oneDNN: its kernel (2.6) sums along one row of an image, and a tile's 32 pixels are mostly zeros when a row has 4, 7 or
// 14; here they run on over rows and images. Two cores of a Xeon with AMX: see bench/README.md.
//
// Parts of the batch are summed by themselves, then in order (PartialSums): the number of threads changes no bit.
// Bytes: x and grad_y once a group of columns, parts * grad_w twice. Channels come in sixteens.
#pragma once

#include <mindgap/cpu/amx_tiles.hpp>
#include <mindgap/cpu/pixel_units.hpp>

namespace mindgap::cpu::amx {
inline namespace MINDGAP_SET {

using namespace direct;

// Is this kernel the better one? Long rows fill oneDNN's tiles, and few output channels do not pay for packing x.
inline bool takes(const ConvGeometry& g) {
  const bool suits_onednn = g.out_w() >= 24 && g.c_out <= 32;
  return runs_here() && g.c_in % edge == 0 && g.c_out % edge == 0 && !suits_onednn;
}

// takes(g) must hold.
inline void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const bf16* x, const bf16* grad_y) {
  const i64 segment = g.kw * g.c_in, columns = g.kh * segment, size = g.weight_size(), threads = omp_get_max_threads();
  const PixelUnits units(g, 512, false);
  // Tiles, and how many right ones are packed at a time.
  const i64 lefts = g.c_out / edge, rights = columns / edge, run = lefts == 1 ? 4 : 2;
  // Parts of the batch only where weights are few: a part reads and writes all of them. Column tiles then go round the threads.
  const i64 parts = std::clamp<i64>(std::min(units.count / 4, (1 << 18) / size), 1, 16);
  const i64 runs = divide_up(rights, run), groups = std::min(divide_up(4 * threads, parts), runs);
  PartialSums sums(grad_w, grad_bias, size, g.c_out, parts);

  const i64 most_steps = divide_up(units.most_pixels(), depth), left_size = lefts * most_steps * tile_size;
  const i64 right_size = run * most_steps * tile_size, copy_size = units.copy_size(0);
  const Scratch scratch(threads * (left_size + right_size + copy_size) / 2);
#pragma omp parallel
  {
    const Tiles tiles;
    bf16* left = reinterpret_cast<bf16*>(scratch.data()) + omp_get_thread_num() * (left_size + right_size + copy_size);
    bf16 *right = left + left_size, *copy = right + right_size;
#pragma omp for schedule(dynamic, 1)
    for (i64 task = 0; task < parts * groups; ++task) {
      const i64 part = task / groups, group = task % groups;
      const i64 first = runs * group / groups * run, last = std::min(rights, runs * (group + 1) / groups * run);
      bool add = false;
      for (i64 u = units.count * part / parts; u < units.count * (part + 1) / parts; ++u, add = true) {
        const auto [y_pixel, pixels] = units.pixels(u);
        const bf16* source = units.source(u, x, copy);
        const i64 steps = divide_up(pixels, depth);
        // Left tiles in pairs, [pair][step][2].
        for (i64 i = 0; i < lefts; ++i) {
          const i64 pair_width = std::min<i64>(2, lefts - i / 2 * 2);
          pack_left(left + (i / 2 * 2 * steps + i % 2) * tile_size, grad_y + y_pixel * g.c_out + i * edge, g.c_out, pixels,
                    pair_width * tile_size, grad_bias && group == 0 ? sums.bias(part) + i * edge : nullptr);
        }
        for (i64 j = first; j < last; j += run) {
          const i64 here = std::min(run, last - j);
          for (i64 k = 0; k < here; ++k) {
            const i64 column = (j + k) * edge;
            pack_right(right + k * tile_size, source + column / segment * units.row_size + column % segment, units.offset.data(),
                       pixels, here * tile_size);
          }
          for (i64 i = 0; i < lefts; i += 2) {
            const bf16* from = left + i * steps * tile_size;
            float* c = sums.weights(part) + i * edge * columns + j * edge;
            if (i + 1 < lefts && here == 2) multiply<2, 2>(from, right, steps, c, columns, add);
            else if (i + 1 < lefts) multiply<2, 1>(from, right, steps, c, columns, add);
            else if (here == 4) multiply<1, 4>(from, right, steps, c, columns, add);
            else if (here == 3) multiply<1, 3>(from, right, steps, c, columns, add);
            else if (here == 2) multiply<1, 2>(from, right, steps, c, columns, add);
            else multiply<1, 1>(from, right, steps, c, columns, add);
          }
        }
      }
    }
  }
  sums.finish();
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::amx
