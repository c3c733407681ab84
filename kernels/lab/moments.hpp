// Mean and sum of squared deviations of each column of a chunk of rows, the first step of batch norm's statistics, in four
// versions, each with one idea more. x [rows, cols] has its channels last: a column's values are `cols` elements apart.
// All should read x once, sizeof(T) bytes an element, and write 8 bytes a chunk and column. README.md says how to read them.
#pragma once

#include <mindgap/kernels/norm_batch.hpp>

namespace mindgap::kernel::lab {
inline namespace MINDGAP_SET {

// What all versions are given. One chunk of rows is one block's, or the blocks' of each of its columns.
template <class T>
struct Moments {
  float* mean;  // [chunks, cols]
  float* m2;    // [chunks, cols]
  const T* x;   // [rows, cols]
  i64 rows, cols, rows_per_chunk;

  MG_HD i64 chunks() const { return (rows + rows_per_chunk - 1) / rows_per_chunk; }
  MG_HD i64 chunk_rows(i64 chunk) const {
    const i64 left = rows - chunk * rows_per_chunk;
    return left < rows_per_chunk ? left : rows_per_chunk;
  }
};

// v1, plain: a block does a column of a chunk, its threads share the rows. Each element lies in a sector of its own, of which 2
// or 4 bytes of 32 are used.
template <class T>
struct MomentsPlain : Moments<T> {
  Grid grid() const { return {this->chunks() * this->cols, 128}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 chunk = block.id() / this->cols, c = block.id() % this->cols, n = this->chunk_rows(chunk);
    const T* in = this->x + chunk * this->rows_per_chunk * this->cols + c;
    float sum = 0.f, m2 = 0.f;
    for (i64 r = block.rank(); r < n; r += block.size()) sum += float(in[r * this->cols]);
    const float m = block.reduce(sum, Sum{}) / float(n);
    for (i64 r = block.rank(); r < n; r += block.size()) {
      const float d = float(in[r * this->cols]) - m;
      m2 += d * d;
    }
    m2 = block.reduce(m2, Sum{});
    if (block.rank() == 0) this->mean[block.id()] = m, this->m2[block.id()] = m2;
  }
};

// v2, coalesced: a thread does a column of a chunk, so that a warp reads neighbouring elements. No reduction is left, but with
// few columns few threads have work.
template <class T>
struct MomentsCoalesced : Moments<T> {
  Grid grid() const { return {this->chunks(), 256}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 n = this->chunk_rows(block.id());
    const T* in = this->x + block.id() * this->rows_per_chunk * this->cols;
    for (i64 c = block.rank(); c < this->cols; c += block.size()) {
      float sum = 0.f, m2 = 0.f;
      for (i64 r = 0; r < n; ++r) sum += float(in[r * this->cols + c]);
      const float m = sum / float(n);
      for (i64 r = 0; r < n; ++r) {
        const float d = float(in[r * this->cols + c]) - m;
        m2 += d * d;
      }
      this->mean[block.id() * this->cols + c] = m;
      this->m2[block.id() * this->cols + c] = m2;
    }
  }
};

// v3, vectors: a thread does a vector of columns, and the threads that this leaves deal the rows among themselves; their sums
// meet in shared memory, once a pass.
template <class T>
struct MomentsVectorised : Moments<T> {
  static constexpr int vec_size = vector_size<T>;

  Grid grid() const { return {this->chunks(), team_threads}; }
  MG_HD i64 shared_bytes() const { return team_bytes<vec_size>(1, this->cols) + shared_size(this->cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    with_width<vec_size>(this->cols % vec_size == 0 && is_vector_aligned(this->x), [&](auto width) { run<width>(block); });
  }

 private:
  template <int V, class B>
  MG_HD void run(B& block) const {
    const int n = int(this->chunk_rows(block.id())), cols = int(this->cols);
    const T* in = this->x + block.id() * this->rows_per_chunk * cols;
    const ColumnTeam<V> team(block, cols);
    float *sums = team.sums(block, cols), *center = block.template shared<float>(cols);
    // The sum of term(value, column) over the rows of each column.
    const auto add_rows = [&](auto term) {
      for (int c = team.first; c < cols; c += team.step) {
        float sum[V] = {};
        for (int r = team.slice; r < n; r += team.slices) {
          float v[V];
          load<V>(v, in + r * cols + c);
          for (int j = 0; j < V; ++j) sum[j] += term(v[j], c + j);
        }
        team.put(sums, cols, c, sum);
      }
      block.sync();
    };
    add_rows([](float v, int) { return v; });
    for (int c = block.rank(); c < cols; c += block.size()) center[c] = fold_wide(sums, c, cols, team.slices) / float(n);
    block.sync();
    add_rows([=](float v, int c) { return (v - center[c]) * (v - center[c]); });
    for (int c = block.rank(); c < cols; c += block.size()) {
      this->mean[block.id() * cols + c] = center[c];
      this->m2[block.id() * cols + c] = fold_wide(sums, c, cols, team.slices);
    }
  }
};

// v4, one pass: x is read once, four rows ahead, and both sums are kept in registers, of x - p with p a value of the column, so
// that nothing cancels. That is team_moments() of kernels/columns.hpp, as the library's kernel calls it.
template <class T>
struct MomentsOnePass : BatchMoments<T> {
  MomentsOnePass(const Moments<T>& m)
      : BatchMoments<T>{m.mean, m.m2, m.x, {m.rows, m.cols, 1, m.cols, 1, m.rows_per_chunk, m.chunks()}} {}
  Grid grid() const { return {BatchMoments<T>::grid.blocks(), team_threads}; }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel::lab
