// How a grid covers rows of channels, [rows, cols], where every column has parameters or sums of its own.
//
// Rows of few channels are read as one wide row of `repeat` of them (16 channels: 16 rows, 256 wide), so that a loop
// over the columns is long enough for vectors on the CPU and for a whole block on the GPU. Rows of many channels are
// cut into tiles of columns, which bounds the shared memory of a block. Sums of a block's rows stay in its shared memory;
// each thread owns its wide columns, so that a loop over rows needs no barrier.
//
// A team of threads (a GPU's block) needs no wide rows: ColumnTeam deals its threads over columns and rows, so that each keeps
// a vector of columns, with their parameters and sums, in registers for all its rows.
//
// The division depends on the shape and on the kind of device alone, never on the number of threads or the card.
//
// Where a norm passes over its data twice, teams go through the blocks, and through the rows of each, from the last to the first
// in the first pass and forwards in the second: what was read last is then read first, while the second-level cache (50 MB on an
// H100) still has it. And what the first pass reads first is what the convolution before it wrote last.
#pragma once

#include <mindgap/kernels/vectorised.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

struct ColumnGrid {
  i64 rows, cols;
  i64 repeat;          // rows in a wide row; 1 where there are several tiles
  i64 tile, tiles;     // columns of a block (the last tile may be narrower), number of tiles
  i64 rows_per_chunk;  // a multiple of repeat
  i64 chunks;

  MG_HD i64 blocks() const { return chunks * tiles; }
  MG_HD i64 width() const { return tile * repeat; }

  // Whether vectors of V columns begin at multiples of V in every row.
  template <int V>
  MG_HD bool in_vectors() const {
    return cols % V == 0 && tile % V == 0;
  }

  // What block `id` covers.
  MG_HD i64 chunk(i64 id) const { return u32(id) / u32(tiles); }  // 32 bits: a division of 64 takes a GPU a hundred cycles
  MG_HD i64 first_column(i64 id) const { return u32(id) % u32(tiles) * tile; }
  MG_HD i64 columns(i64 id) const { return least(tile, cols - first_column(id)); }
  MG_HD i64 first_row(i64 id) const { return chunk(id) * rows_per_chunk; }
  MG_HD i64 chunk_rows(i64 id) const { return rows_of_chunk(chunk(id)); }
  MG_HD i64 rows_of_chunk(i64 chunk) const { return least(rows_per_chunk, rows - chunk * rows_per_chunk); }

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

// For teams: whole rows of up to 256 columns, tiles of 128 of longer ones (256 bytes of bf16 next to each other are enough for
// the memory), and rows for about 2,048 blocks of at least 8,192 elements: a few waves on the largest GPUs, and partial sums that
// are a hundredth of the data.
inline ColumnGrid team_grid(i64 rows, i64 cols) {
  ColumnGrid grid{rows, cols, 1, cols, 1, 1, 0};
  if (rows <= 0 || cols <= 0) return grid;
  if (cols > 256) {
    grid.tile = 128;
    grid.tiles = (cols + grid.tile - 1) / grid.tile;
  }
  grid.rows_per_chunk = std::max<i64>(1, std::max<i64>(rows * cols / 2048, 8192) / grid.tile);
  grid.chunks = (rows + grid.rows_per_chunk - 1) / grid.rows_per_chunk;
  return grid;
}
template <Device D>
ColumnGrid column_grid(i64 rows, i64 cols) {
  if constexpr (has_teams<D>) return team_grid(rows, cols);
  else return column_grid(rows, cols);
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

// A kernel whose threads keep columns in registers may say how many blocks should find registers on a multiprocessor, as
// teams_at_once (cuda_block.hpp). That is not only about how many run: left alone, nvcc saves registers that nobody needs by
// issuing the later loads of for_loads() after the first are used. bench/README.md (Registers) has what is under way with each
// bound.
//
// How a team shares `columns` columns of some rows, in vectors of V: threads side by side make a row of the block, and what
// threads are left take other rows. A thread does columns first + [0, V), first + step + [0, V), ... below `columns`, of rows
// slice, slice + slices, ... A thread that is left over has first = columns.
template <int V>
struct ColumnTeam {
  int first, step, slice, slices;

  template <class B>
  MG_HD ColumnTeam(const B& block, int columns) {
    const int vectors = columns > V ? (columns + V - 1) / V : 1, lanes = vectors < block.size() ? vectors : block.size();
    slices = block.size() / lanes;
    slice = block.rank() / lanes;
    step = lanes * V;
    first = slice < slices ? block.rank() % lanes * V : columns;
  }

  // Room for one number a column and slice, as fold_wide() adds them: sums[slice, c].
  template <class B>
  MG_HD float* sums(B& block, int columns) const {
    return block.template shared<float>(i64(slices) * columns);
  }
  MG_HD void put(float* sums, int columns, int c, const float* values) const { store<V>(sums + (slice * columns + c), values); }
};

// Shared memory for `count` such sums of at most `columns` columns, in vectors of V or narrower ones.
template <int V>
MG_HD i64 team_bytes(int count, i64 columns) {
  const i64 narrow = team_threads * V;
  return count * shared_size((columns < narrow ? narrow : columns) * i64(sizeof(float)));
}

// What a thread adds up of V columns, with d = x - p for a value p of each column, the pivot. Over n rows
//   mean = p + sum d / n    sum of (x - mean)^2 = sum d^2 - (sum d)^2 / n
// p is one of the n values, so (mean - p)^2 is at most the latter: at worst n roundings are lost, never all.
template <int V>
struct PivotSums {
  float pivot[V], sum[V] = {}, square[V] = {};

  MG_HD void add(const float* value) {
    for (int j = 0; j < V; ++j) {
      const float d = value[j] - pivot[j];
      sum[j] += d;
      square[j] += d * d;
    }
  }
};

// mean[c] and m2[c], the sum of (x - mean)^2, of columns whose pivots are pivots[c]; sums and squares are what the slices of
// a team have put there, before a barrier.
template <class B, class T>
MG_HD void put_moments(B& block, float* mean, float* m2, const float* sums, const float* squares, const T* pivots, int rows,
                       int columns, int slices) {
  for (int c = block.rank(); c < columns; c += block.size()) {
    const float sum = fold_wide(sums, c, columns, slices), shift = sum / float(rows);
    mean[c] = float(pivots[c]) + shift;
    m2[c] = Max{}(fold_wide(squares, c, columns, slices) - sum * shift, 0.f);
  }
}

// mean[c] and m2[c] of the columns of x [rows, columns], whose rows are `stride` apart, by a team that reads x once. The
// pivots are the last row.
template <int V, class B, class T>
MG_HD void team_moments(B& block, float* mean, float* m2, const T* x, int rows, int columns, int stride) {
  const ColumnTeam<V> team(block, columns);
  float *sums = team.sums(block, columns), *squares = team.sums(block, columns);
  const T* last = x + i64(rows - 1) * stride;
  for (int c = team.first; c < columns; c += team.step) {
    PivotSums<V> of;
    load<V>(of.pivot, last + c);
    for_loads<4>(
        team.slice, rows, team.slices, [&](int r) { return load_vector<V>(last + (c - r * stride)); },
        [&](int, const AlignedVector<T, V>& row) {
          float value[V];
          widen<V>(value, row);
          of.add(value);
        });
    team.put(sums, columns, c, of.sum);
    team.put(squares, columns, c, of.square);
  }
  block.sync();
  put_moments(block, mean, m2, sums, squares, last, rows, columns, team.slices);
}

// Neighbouring columns of [chunks, cols] that one block adds up, and S sums of each in f64.
inline constexpr int columns_per_group = 4;
template <int S>
struct ColumnSums {
  double at[S][columns_per_group] = {};
  MG_HD friend ColumnSums operator+(ColumnSums a, const ColumnSums& b) {
    for (int s = 0; s < S; ++s)
      for (int j = 0; j < columns_per_group; ++j) a.at[s][j] += b.at[s][j];
    return a;
  }
};
inline i64 column_groups(i64 cols) { return (cols + columns_per_group - 1) / columns_per_group; }

// The sums over k < chunks of f(s, k, j, v), v[q] = x[q][k, c], for s < S and the columns c = columns_per_group * block.id() + j,
// in every thread; zeros for columns beyond the last. The threads share the chunks; their number, which orders the sum, is fixed.
template <int S, class B, int Q, class F>
MG_HD ColumnSums<S> sum_chunks(B& block, i64 chunks, i64 cols, const float* const (&x)[Q], F f) {
  const i64 first = block.id() * columns_per_group;
  bool vectorised = B::is_team && cols % columns_per_group == 0;
  for (const float* rows : x) vectorised &= is_vector_aligned(rows);
  ColumnSums<S> sums;
  with_width<columns_per_group>(vectorised, [&](auto width) {
    constexpr int V = width;
    struct Row {
      float at[Q][V];
    };
    for (int j = 0; j < columns_per_group && first + j < cols; j += V)
      for_loads<4>(
          block.rank(), int(chunks), block.size(),
          [&](int k) {
            Row row;
            for (int q = 0; q < Q; ++q) load<V>(row.at[q], x[q] + k * cols + first + j);
            return row;
          },
          [&](int k, const Row& row) {
            for (int i = 0; i < V; ++i) {
              float v[Q];
              for (int q = 0; q < Q; ++q) v[q] = row.at[q][i];
              for (int s = 0; s < S; ++s) sums.at[s][j + i] += f(s, k, j + i, v);
            }
          });
  });
  return block.reduce(sums, Sum{});
}

// f(c, j) for the columns of the block's group, each by one thread of a team. j is a constant in the unrolled loop, so that sums
// indexed by it stay in registers.
template <class B, class F>
MG_HD void for_group(B& block, i64 cols, F f) {
  for (int j = 0; j < columns_per_group; ++j) {
    const i64 c = block.id() * columns_per_group + j;
    if (c < cols && block.rank() == (j < block.size() ? j : 0)) f(c, j);
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
