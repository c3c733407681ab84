// Rows of a table by id, their gradient, and the sinusoidal embedding of timesteps.
//
// The gradient of a table is gathered, not scattered: a block owns a row of the table and adds the gradients of the places
// that named it, in their order, so that the sum is the same on every device and for every number of threads.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/copy.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// y[i, c] = table[ids[i], c], or NaN for an id outside the table     one block an id; reads and writes every element of y once
template <class T>
struct EmbeddingRows {
  T* y;            // [n, cols]
  const T* table;  // [rows, cols]
  const i64* ids;  // [n]
  i64 rows, cols;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 id = ids[block.id()];
    T* out = y + block.id() * cols;
    if (id >= 0 && id < rows) copy_row(block, out, table + id * cols, cols);
    else
      for (i64 c = block.rank(); c < cols; c += block.size()) out[c] = T(NAN);
  }
};

// grad_table[r, c] = sum of grad_y[i, c] over all i with ids[i] = r       one block a row of the table; reads the ids, and of
// grad_y the rows that name it, once
template <class T>
struct EmbeddingBackward {
  static constexpr int vec_size = vector_size<T>;

  float* grad_table;  // [rows, cols]
  const T* grad_y;    // [n, cols]
  const i64* ids;     // [n]
  i64 n, cols;

  MG_HD i64 shared_bytes() const { return team_bytes<vec_size>(1, cols); }

  MG_HD bool vectorised() const { return cols % vec_size == 0 && is_vector_aligned(grad_y); }

  template <Block B>
  MG_HD void serial(B& block) const {
    float* out = grad_table + block.id() * cols;
    for (i64 c = 0; c < cols; ++c) out[c] = 0.f;
    for (i64 i = 0; i < n; ++i)
      if (ids[i] == block.id())
        for (i64 c = 0; c < cols; ++c) out[c] += float(grad_y[i * cols + c]);
  }

  template <int V, Block B>
  MG_HD void team(B& block) const {
    float* out = grad_table + block.id() * cols;
    const ColumnTeam<V> team(block, int(cols));
    float* sums = team.sums(block, int(cols));
    for (int c = team.first; c < cols; c += team.step) {
      float sum[V] = {};
      for (i64 i = team.slice; i < n; i += team.slices) {
        if (ids[i] != block.id()) continue;
        float row[V];
        load<V>(row, grad_y + i * cols + c);
        for (int j = 0; j < V; ++j) sum[j] += row[j];
      }
      team.put(sums, int(cols), c, sum);
    }
    block.sync();
    for (int c = block.rank(); c < cols; c += block.size()) out[c] = fold_wide(sums, c, cols, team.slices);
  }
};

// y[i, :] = [sin(t_i w), cos(t_i w)] or the other way round, w_j = 10000^(-j / (half - shift)), half = cols / 2.
// Angles reach a thousand turns, so they are formed in f64; exponents and angles are those of diffusers'
// get_timestep_embedding.                                         one block a timestep
template <class T>
struct TimestepEmbedding {
  T* y;                    // [n, cols]
  const float* timesteps;  // [n]
  i64 cols;
  bool cosine_first;
  float shift;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 half = cols / 2;
    for (i64 j = block.rank(); j < half; j += block.size()) {
      const float exponent = -9.210340371976184f * float(j) / (float(half) - shift);  // ln 10000
      const float angle = timesteps[block.id()] * float(exp(double(exponent)));       // a GPU's expf is off by an ulp, times t
      const float s = float(sin(double(angle))), c = float(cos(double(angle)));
      T* out = y + block.id() * cols + j;
      out[0] = T(cosine_first ? c : s);
      out[half] = T(cosine_first ? s : c);
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
