// How a grid covers rows of channels, [rows, cols], where every column has parameters or sums of its own.
//
// Rows of few channels are read as one wide row of `repeat` of them (16 channels: 16 rows, 256 wide), so that a loop
// over the columns is long enough for vectors on the CPU and for a whole block on the GPU. Rows of many channels are
// cut into tiles of columns, which bounds the shared memory of a block. Sums of a block's rows stay in its shared memory;
// each thread owns its wide columns, so that a loop over rows needs no barrier.
//
// The division depends on the shape alone, never on the number of threads.
#pragma once

#include <mindgap/kernels/block.hpp>

namespace mindgap {

struct ColumnGrid {
  i64 rows, cols;
  i64 repeat;          // rows in a wide row; 1 where there are several tiles
  i64 tile, tiles;     // columns of a block (the last tile may be narrower), number of tiles
  i64 rows_per_chunk;  // a multiple of repeat
  i64 chunks;

  i64 blocks() const { return chunks * tiles; }
  MG_HD i64 width() const { return tile * repeat; }

  // What block `id` covers.
  MG_HD i64 chunk(i64 id) const { return id / tiles; }
  MG_HD i64 first_column(i64 id) const { return id % tiles * tile; }
  MG_HD i64 columns(i64 id) const { return least(tile, cols - first_column(id)); }
  MG_HD i64 first_row(i64 id) const { return chunk(id) * rows_per_chunk; }
  MG_HD i64 chunk_rows(i64 id) const { return least(rows_per_chunk, rows - first_row(id)); }

  // Its wide rows: where they begin, and how many columns they have.
  MG_HD i64 wide_rows(i64 id) const { return (chunk_rows(id) + repeat - 1) / repeat; }
  MG_HD i64 offset(i64 id, i64 wide_row) const { return (first_row(id) + wide_row * repeat) * cols + first_column(id); }
  MG_HD i64 length(i64 id, i64 wide_row) const {
    return repeat == 1 ? columns(id) : least(repeat, chunk_rows(id) - wide_row * repeat) * cols;
  }

 private:
  MG_HD static i64 least(i64 a, i64 b) { return a < b ? a : b; }
};

inline ColumnGrid column_grid(i64 rows, i64 cols) {
  constexpr i64 narrow = 256, wide = 512;            // aim for wide rows, bound of a tile
  constexpr i64 smallest = 4096, largest = 1 << 15;  // elements of a chunk: 128 KiB of f32 stay in the second-level cache
  ColumnGrid grid{rows, cols, 1, cols, 1, 1, 0};
  if (rows <= 0 || cols <= 0) return grid;
  if (cols <= wide) {
    grid.repeat = std::clamp<i64>(narrow / cols, 1, rows);
  } else {
    const i64 tiles = (cols + wide - 1) / wide;
    grid.tile = ((cols + tiles - 1) / tiles + 15) / 16 * 16;
    grid.tiles = (cols + grid.tile - 1) / grid.tile;
  }
  const i64 elements = std::clamp<i64>(rows * cols / 64, smallest, largest);
  grid.rows_per_chunk = std::max<i64>(1, elements / grid.width()) * grid.repeat;
  grid.chunks = (rows + grid.rows_per_chunk - 1) / grid.rows_per_chunk;
  return grid;
}

// wide[j, c] = f(c) for c < columns, j < repeat; the caller synchronises before it is read.
template <class B, class F>
MG_HD void fill_wide(B& block, float* wide, i64 columns, i64 repeat, F f) {
  for (i64 c = block.rank(); c < columns; c += block.size()) wide[c] = f(c);
  if (repeat == 1) return;
  block.sync();
  for (i64 j = 1; j < repeat; ++j)
    for (i64 c = block.rank(); c < columns; c += block.size()) wide[j * columns + c] = wide[c];
}

// The sum of wide[j, c] over j < repeat.
MG_HD float fold_wide(const float* wide, i64 c, i64 columns, i64 repeat) {
  float sum = wide[c];
  for (i64 j = 1; j < repeat; ++j) sum += wide[j * columns + c];
  return sum;
}

}  // namespace mindgap
