// Sums over rows in a fixed order: every element is read once.
#pragma once

#include <mindgap/core/memory.hpp>
#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// out[o, k, c] = scale * sum of x[o, r, c] over chunk k of the rows       one block an outer index, a chunk and a tile of
// columns
template <class TO, class T>
struct ReduceRows {
  static constexpr int vec_size = vector_size<T>;

  TO* out;     // [outer, chunks, cols]
  const T* x;  // [outer, rows, cols]
  i64 rows, cols;
  float scale;
  i64 chunks = 1, tiles = 1;

  MG_HD i64 shared_bytes() const {
    const i64 totals = rows_per_chunk() > longest_sum ? shared_size(tile() * i64(sizeof(double))) : 0;
    return team_bytes<vec_size>(1, tile()) + totals;
  }

  MG_HD bool vectorised() const { return cols % vec_size == 0 && is_vector_aligned(x); }

  template <Block B>
  MG_HD void serial(B& block) const {
    const auto [y, slice, n, columns] = part(block.id());
    float* sum = block.template shared<float>(columns);
    double* total = n > longest_sum ? block.template shared<double>(columns) : nullptr;
    for (i64 begin = 0; begin == 0 || begin < n; begin += longest_sum) {
      const i64 end = least(n, begin + longest_sum);
      for (i64 c = block.rank(); c < columns; c += block.size()) sum[c] = 0.f;
      for (i64 r = begin; r < end; ++r)
        for (i64 c = block.rank(); c < columns; c += block.size()) sum[c] += float(slice[r * cols + c]);
      if (total)
        for (i64 c = block.rank(); c < columns; c += block.size()) total[c] = (begin ? total[c] : 0) + double(sum[c]);
    }
    for (i64 c = block.rank(); c < columns; c += block.size()) y[c] = TO(scale * (total ? float(total[c]) : sum[c]));
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    const Part part = this->part(block.id());
    TO* y = part.out;
    const T* slice = part.slice;
    const int n = int(part.rows), columns = int(part.columns);
    const ColumnTeam<V> team(block, columns);
    float* sums = team.sums(block, columns);
    for (int c = team.first; c < columns; c += team.step) {
      float sum[V] = {};
      for_loads<4>(
          team.slice, n, team.slices, [&](int r) { return load_vector<V>(slice + r * cols + c); },
          [&](int, const AlignedVector<T, V>& row) {
            float value[V];
            widen<V>(value, row);
            for (int j = 0; j < V; ++j) sum[j] += value[j];
          });
      team.put(sums, columns, c, sum);
    }
    block.sync();
    for (int c = block.rank(); c < columns; c += block.size()) y[c] = TO(scale * fold_wide(sums, c, columns, team.slices));
  }

 private:
  // What a block does: rows [rows, columns] of slice, cols apart, become out [columns].
  struct Part {
    TO* out;
    const T* slice;
    i64 rows, columns;
  };
  MG_HD Part part(i64 block) const {
    const u32 id = u32(block), part = id / u32(tiles), outer = part / u32(chunks);
    const i64 begin = part % u32(chunks) * rows_per_chunk(), first = id % u32(tiles) * tile();
    return {out + part * cols + first, x + (outer * rows + begin) * cols + first, least(rows_per_chunk(), rows - begin),
            least(tile(), cols - first)};
  }
  MG_HD static i64 least(i64 a, i64 b) { return a < b ? a : b; }
  MG_HD i64 rows_per_chunk() const { return chunks == 1 ? rows : (rows + chunks - 1) / chunks; }
  MG_HD i64 tile() const { return tiles == 1 ? cols : ((cols + tiles - 1) / tiles + vec_size - 1) / vec_size * vec_size; }
};

// out[o, c] = scale * sum over r < rows of x[o, r, c]. On a GPU in tiles of columns (512 bytes of a row, 64 where there is little
// to read), and in chunks of rows where those are too few blocks; the sums of the chunks are added in their order.
template <Device D, class TO, class T>
void reduce_rows(TO* out, const T* x, i64 outer, i64 rows, i64 cols, float scale) {
  if constexpr (has_teams<D>) {
    const auto pieces = [](i64 whole, i64 piece) { return std::max<i64>(1, (whole + piece - 1) / piece); };
    const bool large = outer * rows * cols >= 1 << 22;
    const i64 tiles = pieces(cols, (large ? 512 : 64) / i64(sizeof(T)));
    const i64 wanted = std::min(1024 / std::max<i64>(1, outer * tiles), rows / 64);
    if (wanted > 1) {
      const i64 chunks = pieces(rows, pieces(rows, wanted));
      const auto partial = Pool<D>::current().allocate(outer * chunks * cols * i64(sizeof(float)));
      float* sums = static_cast<float*>(partial.get());
      Runtime<D>::launch(Grid{outer * chunks * tiles, team_threads},
                         ReduceRows<float, T>{sums, x, rows, cols, 1.f, chunks, tiles});
      const i64 narrow = pieces(cols, 64 / i64(sizeof(float)));
      Runtime<D>::launch(Grid{outer * narrow, team_threads}, ReduceRows<TO, float>{out, sums, chunks, cols, scale, 1, narrow});
    } else {
      Runtime<D>::launch(Grid{outer * tiles, team_threads}, ReduceRows<TO, T>{out, x, rows, cols, scale, 1, tiles});
    }
  } else {
    Runtime<D>::launch(Grid{outer}, ReduceRows<TO, T>{out, x, rows, cols, scale});
  }
}

// sum[c] = the sum of x[r, c] over the rows, in a fixed order: in chunks first, which run side by side and round less than one
// long sum, then over the chunks.
template <Device D, class T>
void sum_rows(float* sum, const T* x, i64 rows, i64 cols) {
  if constexpr (has_teams<D>) {
    reduce_rows<D>(sum, x, 1, rows, cols, 1.f);
  } else {
    constexpr i64 chunk = 64;
    const i64 whole = rows / chunk, rest = rows % chunk, chunks = whole + (rest ? 1 : 0);
    const auto memory = Pool<D>::current().allocate(chunks * cols * i64(sizeof(float)));
    float* partial = static_cast<float*>(memory.get());
    if (whole) reduce_rows<D>(partial, x, whole, chunk, cols, 1.f);
    if (rest) reduce_rows<D>(partial + whole * cols, x + whole * chunk * cols, 1, rest, cols, 1.f);
    reduce_rows<D>(sum, static_cast<const float*>(partial), 1, chunks, cols, 1.f);
  }
}

// out[o] = scale * sum over i < n of x[o, i]                     one block an outer index
template <class TO, class T>
struct SumAll {
  TO* out;     // [outer]
  const T* x;  // [outer, n]
  i64 n;
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T* slice = x + block.id() * n;
    double total = 0;
    const i64 piece = longest_sum * block.size();
    for (i64 begin = 0; begin < n; begin += piece) {
      float sum = 0.f;
      for_vectors<vector_size<T>>(block, n - begin < piece ? n - begin : piece, is_vector_aligned(slice), [&](auto width, i64 i) {
        float values[width];
        load<width>(values, slice + begin + i);
        for (float value : values) sum += value;
      });
      total += double(sum);
    }
    const float sum = block.reduce(float(total), Sum{});
    if (block.rank() == 0) out[block.id()] = TO(scale * sum);
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
