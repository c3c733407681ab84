// What a library that only multiplies leaves to do: add a bias to rows, and change an element type.
#pragma once

#include <mindgap/kernels/columns.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

inline constexpr i64 bias_rows_per_block = 32;

// y[r, c] += bias[c]                      one block does a few rows; reads and writes every element once
template <class T>
struct AddBias {
  static constexpr int vec_size = vector_size<T>;

  T* y;               // [rows, cols], rows `stride` apart
  const float* bias;  // [cols]
  i64 rows, cols, stride;

  MG_HD bool vectorised() const {
    return cols % vec_size == 0 && stride % vec_size == 0 && is_vector_aligned(y) && is_vector_aligned(bias);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    T* y_rows = y + block.id() * bias_rows_per_block * stride;
    for (int r = 0; r < row_count(block.id()); ++r)
      for (i64 c = 0; c < cols; ++c) y_rows[r * stride + c] = T(float(y_rows[r * stride + c]) + bias[c]);
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    T* y_rows = y + block.id() * bias_rows_per_block * stride;
    const int n = row_count(block.id());
    const ColumnTeam<V> team(block, int(cols));
    for (int c = team.first; c < cols; c += team.step) {
      float add[V];
      load<V>(add, bias + c);
      for_loads<4>(
          team.slice, n, team.slices, [&](int r) { return load_vector<V>(y_rows + r * stride + c); },
          [&](int r, const AlignedVector<T, V>& row) {
            float values[V];
            widen<V>(values, row);
            for (int j = 0; j < V; ++j) values[j] += add[j];
            store<V>(y_rows + r * stride + c, values);
          });
    }
  }

 private:
  MG_HD int row_count(i64 id) const {
    const i64 left = rows - id * bias_rows_per_block;
    return int(left < bias_rows_per_block ? left : bias_rows_per_block);
  }
};

// to[i] = from[i]                         one block does `per_block` elements; reads and writes every element once
template <class To, class From>
struct Convert {
  static constexpr i64 per_block = 4096;

  To* to;            // [n]
  const From* from;  // [n]
  i64 n;

  i64 blocks() const { return (n + per_block - 1) / per_block; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    part(block, block.id());
  }
  template <class B>
  MG_HD void part(B& block, i64 id) const {
    const i64 begin = id * per_block, left = n - begin;
    To* y = to + begin;
    const From* x = from + begin;
    for_vectors<vector_size<To, From>>(block, left < per_block ? left : per_block, is_vector_aligned(y) && is_vector_aligned(x),
                                       [=](auto width, i64 i) {
                                         float values[width];
                                         load<width>(values, x + i);
                                         store<width>(y + i, values);
                                       });
  }
};

// Several conversions in one launch, which takes a GPU as long as a small one.
template <class To, class From>
struct ConvertAll {
  static constexpr int most = 64;

  Convert<To, From> each[most];
  i64 end[most] = {};  // the block after the last one of each
  int count = 0;

  void add(const Convert<To, From>& more) {
    end[count] = blocks() + more.blocks();
    each[count++] = more;
  }
  i64 blocks() const { return count ? end[count - 1] : 0; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    int k = 0;
    while (end[k] <= block.id()) ++k;
    each[k].part(block, block.id() - (k ? end[k - 1] : 0));
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
