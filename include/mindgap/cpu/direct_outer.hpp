// Gradients of a convolution's weights and bias as sums of outer products over pixels. f32, AVX2.
//
//   grad_w[o, u, v, c] = sum over pixels p of  grad_y[p, o] * x[pixel p shifted by (u, v), c]
//
// Work is cut into units of about a hundred output pixels, whose inputs fit the first caches: the unit's grad_y is packed
// into [c_out / 4][pixel][4]; x is copied with zeros around it. For each tile of columns (u, v, c) the inputs of all
// pixels are then read once a tile of four output channels. Where many such tiles reuse them, they are packed first.
//
// The batch is cut into a number of parts that follows from the geometry alone; each part has its own partial sum, and
// these are added in order: the result does not depend on the number of threads. Partial sums also keep rounding small.
// Bytes: x and grad_y once a block of output channels and group of columns, parts * grad_w twice.
#pragma once

#include <mindgap/cpu/pixel_units.hpp>

namespace mindgap::cpu::direct {
inline namespace MINDGAP_SET {

// grad_y of a unit's pixels as [channels / 4][pixel][4], with zeros in the last four.
[[gnu::target("avx2,fma")]] inline void pack_fours(float* to, const float* from, i64 from_row, i64 channels, i64 pixels) {
  const i64 whole = channels / outer_rows * outer_rows;
  for (i64 p = 0; p < pixels; ++p, from += from_row, to += outer_rows) {
    for (i64 c = 0; c < whole; c += outer_rows) _mm_store_ps(to + c * pixels, _mm_loadu_ps(from + c));
    if (whole < channels)
      for (i64 i = 0; i < outer_rows; ++i) to[whole * pixels + i] = whole + i < channels ? from[whole + i] : 0;
  }
}

// sum[c] += the sum over pixels, for up to four channels of which four can be read.
[[gnu::target("avx2,fma")]] inline void add_pixels(float* sum, const float* a, i64 a_row, i64 channels, i64 pixels) {
  __m128 total = _mm_setzero_ps();
  for (i64 p = 0; p < pixels; ++p) total = _mm_add_ps(total, _mm_loadu_ps(a + p * a_row));
  alignas(16) float each[outer_rows];
  _mm_store_ps(each, total);
  for (i64 i = 0; i < channels; ++i) sum[i] += each[i];
}

// One tile of C, `rows` <= 4 by `columns` <= 24.
[[gnu::target("avx2,fma")]] inline void outer(const float* a, i64 a_row, const float* b, const i32* b_offset, i64 pixels,
                                              float* c, i64 c_row, i64 rows, i64 columns, bool add) {
  const bool whole = rows == outer_rows && columns % lanes == 0;
  alignas(32) float tile[outer_rows * outer_vectors * lanes] = {};
  float* to = whole ? c : tile;
  const i64 to_row = whole ? c_row : outer_vectors * lanes;
  if (!whole && add)
    for (i64 i = 0; i < rows; ++i) std::memcpy(tile + i * to_row, c + i * c_row, size_t(columns) * sizeof(float));
  if (columns > 2 * lanes) outer_tile<outer_rows, 3>(a, a_row, b, b_offset, pixels, to, to_row, add);
  else if (columns > lanes) outer_tile<outer_rows, 2>(a, a_row, b, b_offset, pixels, to, to_row, add);
  else outer_tile<outer_rows, 1>(a, a_row, b, b_offset, pixels, to, to_row, add);
  if (!whole)
    for (i64 i = 0; i < rows; ++i) std::memcpy(c + i * c_row, tile + i * to_row, size_t(columns) * sizeof(float));
}

// Columns begin..begin + columns of the patches (kh segments of kw * c, one after the other) of a unit's pixels, as
// to[pixel][24]. Reads and writes up to 7 numbers too many after each piece; the surplus is overwritten or never stored.
[[gnu::target("avx2,fma")]] inline void pack_patches(float* to, const float* x, const i32* offset, i64 pixels, i64 begin,
                                                     i64 columns, i64 segment, i64 segment_stride) {
  constexpr i64 wide = outer_vectors * lanes;
  struct Piece {
    i64 to, from;
  } pieces[wide];
  i64 count = 0;
  for (i64 j = 0; j < columns;) {
    const i64 s = (begin + j) / segment, l = (begin + j) % segment, length = std::min(segment - l, columns - j);
    for (i64 i = 0; i < length; i += lanes) pieces[count++] = {j + i, s * segment_stride + l + i};
    j += length;
  }
  for (i64 p = 0; p < pixels; ++p, to += wide) {
    const float* from = x + offset[p];
    for (i64 i = 0; i < count; ++i) _mm256_storeu_ps(to + pieces[i].to, _mm256_loadu_ps(from + pieces[i].from));
  }
}

inline void conv2d_backward_weights(const ConvGeometry& g, float* grad_w, float* grad_bias, const float* x, const float* grad_y) {
  constexpr i64 wide = outer_vectors * lanes, channels_a_block = 64;
  const i64 segment = g.kw * g.c_in, columns = g.kh * segment;

  // Where many output channels share the inputs of a tile they are packed first; where not, a unit is small enough for the
  // first cache to hold them as they lie.
  const bool packs = segment < lanes || (g.c_out >= 64 && g.c_in >= 128);
  // x is read in place where no zeros are wanted and vectors end where rows do.
  const PixelUnits units(g, !packs && g.c_in >= 32 ? 120 : 200, segment % lanes != 0);
  const bool packs_y = g.c_out > 16 || g.c_out % outer_rows != 0;
  std::vector<i32> packed_offset;
  for (i64 p = 0; p < units.most_pixels(); ++p) packed_offset.push_back(i32(p * wide));

  // Tiles of columns; where they are not packed, none crosses the end of a segment.
  struct Tile {
    i64 column, count;
  };
  std::vector<Tile> tiles;
  const i64 run = packs ? columns : segment;
  for (i64 s = 0; s < columns; s += run)
    for (i64 l = 0; l < run; l += wide) tiles.push_back({s + l, std::min(wide, run - l)});

  // Tasks: parts of the batch of six units or more, times blocks of output channels, times groups of column tiles. Only
  // the parts touch rounding, and only the groups depend on the number of threads.
  const i64 blocks = divide_up(g.c_out, channels_a_block), size = g.weight_size(), threads = omp_get_max_threads();
  i64 parts = std::clamp<i64>(std::min(units.count / 6, (4 << 20) / size), 1, divide_up(16, blocks));
  if (parts > 1) parts = parts / 2 * 2;
  const i64 groups = std::min<i64>(divide_up(4 * threads, blocks * parts), i64(tiles.size()));
  PartialSums sums(grad_w, grad_bias, size, g.c_out, parts);

  const i64 x_size = units.copy_size(wide);
  const i64 y_size = round_up((channels_a_block + outer_rows) * units.most_pixels(), 16),
            tile_size = round_up(units.most_pixels() * wide + wide, 16);
  const Scratch scratch(threads * (x_size + y_size + tile_size));
#pragma omp parallel
  {
    float* packed_y = scratch.data() + omp_get_thread_num() * (x_size + y_size + tile_size);
    float *packed_tile = packed_y + y_size, *padded = packed_tile + tile_size;
#pragma omp for schedule(dynamic, 1)
    for (i64 task = 0; task < parts * blocks * groups; ++task) {
      const i64 part = task / (blocks * groups), block = task / groups % blocks, group = task % groups;
      const i64 channel = g.c_out * block / blocks / outer_rows * outer_rows;
      const i64 channel_end = block + 1 == blocks ? g.c_out : g.c_out * (block + 1) / blocks / outer_rows * outer_rows;
      float* sum = sums.weights(part) + channel * columns;
      float* sum_bias = sums.bias(part);
      bool add = false;
      for (i64 u = units.count * part / parts; u < units.count * (part + 1) / parts; ++u, add = true) {
        const auto [y_pixel, pixels] = units.pixels(u);
        const float* x_here = units.source(u, x, padded);
        // Four channels c of pixel p are at a + (c - channel) * a_channel + p * a_row.
        const float* a = grad_y + y_pixel * g.c_out + channel;
        const i64 a_row = packs_y ? outer_rows : g.c_out, a_channel = packs_y ? pixels : 1;
        if (packs_y) {
          pack_fours(packed_y, a, g.c_out, channel_end - channel, pixels);
          a = packed_y;
        }
        if (grad_bias && group == 0)
          for (i64 c = channel; c < channel_end; c += outer_rows)
            add_pixels(sum_bias + c, a + (c - channel) * a_channel, a_row, std::min<i64>(outer_rows, channel_end - c), pixels);
        for (size_t t = tiles.size() * size_t(group) / size_t(groups); t < tiles.size() * size_t(group + 1) / size_t(groups);
             ++t) {
          const auto [column, count] = tiles[t];
          const float* b = packed_tile;
          const i32* b_offset = packed_offset.data();
          if (packs) {
            pack_patches(packed_tile, x_here, units.offset.data(), pixels, column, count, segment, units.row_size);
          } else {
            b = x_here + column / segment * units.row_size + column % segment;
            b_offset = units.offset.data();
          }
          for (i64 c = channel; c < channel_end; c += outer_rows)
            outer(a + (c - channel) * a_channel, a_row, b, b_offset, pixels, sum + (c - channel) * columns + column, columns,
                  std::min<i64>(outer_rows, channel_end - c), count, add);
        }
      }
    }
  }
  sums.finish();
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu::direct
