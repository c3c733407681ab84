// Softmax of rows, y = exp(x - max) / sum, and its gradient, grad_x = y (g - sum(g y)).
//
//   Softmax            reads x, writes y                     2 sizeof(T) bytes an element
//   SoftmaxBackward    reads y and g, writes grad_x          3 sizeof(T)
//   CausalMask         writes half of the scores             1/2 sizeof(T)
//
// Rows that a team of threads can hold in registers (rows.hpp) are read once; longer ones are read again, from a cache.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// exp(x) for x <= 0. A GPU has an instruction for it; with the twenty of exp_f32 an element its instructions, not its memory,
// would set the pace of rows of two-byte elements. The relative error is below 1.2e-7 (2 - 1.2 x), and where that is large exp(x)
// is small.
MG_HD float exp_of_row(float x) {
#if defined(__CUDA_ARCH__)
  return __expf(x);
#else
  return exp_f32(x);
#endif
}

template <class T>
struct Softmax {
  T* y;        // [rows, cols]; may be x
  const T* x;  // [rows, cols]
  RowTeams teams;

  MG_HD i64 shared_bytes() const { return shared_size(teams.cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void team(B& block) const {
    if (!with_register_rows<T>(block, teams, is_vector_aligned(x) && is_vector_aligned(y),
                               [&](auto width, auto elements) { register_rows<width, elements>(block); }))
      serial(block);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 cols = teams.cols;
    float* e = block.template shared<float>(cols);  // each thread owns its columns
    for_block_rows(block, teams.whole_blocks(), [&](auto& team, i64 r, i64 n) {
      const T* in = x + r * cols;
      T* out = y + r * cols;
      const float top = row_reduce(team, n, -INFINITY, Max{}, [=](i64 c) { return float(in[c]); });
      for (i64 c = team.rank(); c < n; c += team.size()) e[c] = exp_f32(float(in[c]) - top);
      const float sum = row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return e[c]; });
      const float scale = 1.f / sum;
      for (i64 c = team.rank(); c < n; c += team.size()) out[c] = T(e[c] * scale);
    });
  }

 private:
  template <int V, int Elements, class B>
  MG_HD void register_rows(B& block) const {
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const RegisterRow<T, V, Elements> in(team, x + r * teams.cols, n);
      float e[Elements], top = -INFINITY, sum = 0.f;
      for_own<V, Elements>(team, n, [&](auto k, int) {
        for (int j = 0; j < V; ++j) top = Max{}(top, in[k + j]);
      });
      top = team.reduce(top, Max{});
      for_own<V, Elements>(team, n, [&](auto k, int) {
        for (int j = 0; j < V; ++j) sum += e[k + j] = exp_of_row(in[k + j] - top);
      });
      const float scale = 1.f / team.reduce(sum, Sum{});
      for_own<V, Elements>(team, n, [&](auto k, int c) {
        for (int j = 0; j < V; ++j) e[k + j] *= scale;
        store<V>(y + r * teams.cols + c, e + k);
      });
    });
  }
};

// scores[matrix, i, j] = -infinity for j > first + i: keys that a causal query does not see.           one block does one row
template <class T>
struct CausalMask {
  T* scores;  // [matrices, rows, cols]
  i64 rows, cols;
  i64 first;  // the place of a matrix's first row among the queries

  template <Block B>
  MG_HD void operator()(B& block) const {
    T* row = scores + block.id() * cols;
    for (i64 j = first + block.id() % rows + 1 + block.rank(); j < cols; j += block.size()) row[j] = T(-INFINITY);
  }
};

template <class T>
struct SoftmaxBackward {
  T* grad_x;        // [rows, cols]; may be grad_y
  const T* grad_y;  // [rows, cols]
  const T* y;       // [rows, cols]
  RowTeams teams;

  template <Block B>
  MG_HD void team(B& block) const {
    if (!with_register_rows<T>(block, teams, is_vector_aligned(y) && is_vector_aligned(grad_y) && is_vector_aligned(grad_x),
                               [&](auto width, auto elements) { register_rows<width, elements>(block); }))
      serial(block);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 cols = teams.cols;
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const T *g = grad_y + r * cols, *p = y + r * cols;
      T* out = grad_x + r * cols;
      const float dot = row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return float(g[c]) * float(p[c]); });
#pragma GCC ivdep
      for (i64 c = team.rank(); c < n; c += team.size()) out[c] = T(value(float(p[c]), float(g[c]), dot));
    });
  }

 private:
  MG_HD static float value(float p, float g, float dot) { return p * (g - dot); }

  template <int V, int Elements, class B>
  MG_HD void register_rows(B& block) const {
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const RegisterRow<T, V, Elements> g(team, grad_y + r * teams.cols, n), p(team, y + r * teams.cols, n);
      float dot = 0.f;
      for_own<V, Elements>(team, n, [&](auto k, int) {
        for (int j = 0; j < V; ++j) dot += g[k + j] * p[k + j];
      });
      dot = team.reduce(dot, Sum{});
      for_own<V, Elements>(team, n, [&](auto k, int c) {
        float d[V];
        for (int j = 0; j < V; ++j) d[j] = value(p[k + j], g[k + j], dot);
        store<V>(grad_x + r * teams.cols + c, d);
      });
    });
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
