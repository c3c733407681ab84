// Layer norm of rows, y = (x - mean) * rstd * gamma + beta with mean and rstd of each row, and gradients.
//
//   LayerNorm            reads x, writes y                2 sizeof(T) bytes an element
//   LayerNormBackward    reads grad_y and x, writes grad_x, and the sums of its rows for gamma and beta
//                                                         3 sizeof(T), and 8 / rows_per_block for the sums
//
// Rows that lie thousands of deviations from zero are corrected for the rounding of their mean (lies_far, rows.hpp).
//
// With h = (x - mean) * rstd and means over the row:
//   grad_x = rstd (g gamma - mean(g gamma) - h mean(g gamma h))      grad_gamma = sum over rows of g h, grad_beta of g
//
// On a GPU a team of threads (rows.hpp) holds a row in registers between its passes; in the backward the threads' sums for
// gamma and beta stay in registers over all rows of a block as well. On the CPU, and for rows too long for that, a row stays in
// the first-level cache over its passes.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/columns.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

template <class T>
struct LayerNorm {
  T* y;                // [rows, cols]; may be x
  float* mean;         // [rows]
  float* rstd;         // [rows]
  const T* x;          // [rows, cols]
  const float* gamma;  // [cols]
  const float* beta;   // [cols]
  RowTeams teams;      // of at most team_threads
  float eps;

  static constexpr int teams_at_once = 4;

  template <Block B>
  MG_HD void team(B& block) const {
    if (!with_register_rows<T>(
            block, teams, is_vector_aligned(x) && is_vector_aligned(y) && is_vector_aligned(gamma) && is_vector_aligned(beta),
            [&](auto width, auto elements) { register_rows<width, elements>(block); }))
      serial(block);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 cols = teams.cols;
    for_block_rows(block, teams.whole_blocks(), [&](auto& team, i64 r, i64 n) {
      const T* in = x + r * cols;
      T* out = y + r * cols;
      const float first = row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return float(in[c]); }) / float(cols);
      const float square = row_reduce(team, n, 0.f, Sum{}, [=](i64 c) {
        const float d = float(in[c]) - first;
        return d * d;
      });
      Pair moments{first, square};
      if (lies_far(first, square, float(cols), eps))
        moments = corrected(moments, row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return float(in[c]) - first; }));
      const float m = moments.first, s = reciprocal_deviation(moments.second);
#pragma GCC ivdep
      for (i64 c = team.rank(); c < n; c += team.size()) out[c] = T((float(in[c]) - m) * (s * gamma[c]) + beta[c]);
      if (team.rank() == 0) mean[r] = m, rstd[r] = s;
    });
  }

 private:
  // A row's mean and m2, from the sum of what is left without that mean.
  MG_HD Pair corrected(Pair moments, float sum) const {
    const float shift = sum / float(teams.cols);
    return {moments.first + shift, Max{}(moments.second - sum * shift, 0.f)};
  }
  MG_HD float reciprocal_deviation(float square) const { return 1.f / sqrtf(square / float(teams.cols) + eps); }

  template <int V, int Elements, class B>
  MG_HD void register_rows(B& block) const {
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const RegisterRow<T, V, Elements> in(team, x + r * teams.cols, n);
      float sum = 0.f;
      Pair rest{0.f, 0.f};  // sums of what is left without the mean, and of its squares
      for_own<V, Elements>(team, n, [&](auto k, int) {
        for (int j = 0; j < V; ++j) sum += in[k + j];
      });
      const float first = team.reduce(sum, Sum{}) / float(teams.cols);
      for_own<V, Elements>(team, n, [&](auto k, int) {
        for (int j = 0; j < V; ++j) rest.first += in[k + j] - first, rest.second += (in[k + j] - first) * (in[k + j] - first);
      });
      rest = team.reduce(rest, AddPairs{});
      Pair moments{first, rest.second};
      if (lies_far(first, rest.second, float(teams.cols), eps)) moments = corrected(moments, rest.first);
      const float m = moments.first, s = reciprocal_deviation(moments.second);
      for_own<V, Elements>(team, n, [&](auto k, int c) {
        float weight[V], bias[V], out[V];
        load<V>(weight, gamma + c);
        load<V>(bias, beta + c);
        for (int j = 0; j < V; ++j) out[j] = (in[k + j] - m) * (s * weight[j]) + bias[j];
        store<V>(y + r * teams.cols + c, out);
      });
      if (team.rank() == 0 && n) mean[r] = m, rstd[r] = s;
    });
  }
};

template <class T>
struct LayerNormBackward {
  T* grad_x;           // [rows, cols] or null: not wanted; may be grad_y
  float* sum_gamma;    // [blocks, cols]
  float* sum_beta;     // [blocks, cols]
  const T* grad_y;     // [rows, cols]
  const T* x;          // [rows, cols]
  const float* mean;   // [rows]
  const float* rstd;   // [rows]
  const float* gamma;  // [cols]
  RowTeams teams;

  MG_HD i64 shared_bytes() const { return 2 * shared_size(teams.cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void team(B& block) const {
    if (!with_register_rows<T>(
            block, teams,
            is_vector_aligned(x) && is_vector_aligned(grad_y) && is_vector_aligned(grad_x) && is_vector_aligned(gamma),
            [&](auto width, auto elements) { register_rows<width, elements>(block); }))
      serial(block);
  }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 cols = teams.cols;
    float* __restrict__ for_gamma = block.template shared<float>(cols);  // each thread owns its columns
    float* __restrict__ for_beta = block.template shared<float>(cols);
    for (i64 c = block.rank(); c < cols; c += block.size()) for_gamma[c] = for_beta[c] = 0.f;
    for_block_rows(block, teams.whole_blocks(), [&](auto& team, i64 r, i64 n) {
      const T *g = grad_y + r * cols, *in = x + r * cols;
      const float m = mean[r], s = rstd[r];
#pragma GCC ivdep
      for (i64 c = team.rank(); c < n; c += team.size()) {
        for_gamma[c] += float(g[c]) * ((float(in[c]) - m) * s);
        for_beta[c] += float(g[c]);
      }
      if (!grad_x) return;
      const float *weight = gamma, scale = 1.f / float(cols);
      const float level = scale * row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return float(g[c]) * weight[c]; });
      const float slope =
          scale * row_reduce(team, n, 0.f, Sum{}, [=](i64 c) { return float(g[c]) * weight[c] * ((float(in[c]) - m) * s); });
      T* out = grad_x + r * cols;
#pragma GCC ivdep
      for (i64 c = team.rank(); c < n; c += team.size())
        out[c] = T(s * (float(g[c]) * weight[c] - level - (float(in[c]) - m) * s * slope));
    });
    for (i64 c = block.rank(); c < cols; c += block.size()) {
      sum_gamma[block.id() * cols + c] = for_gamma[c];
      sum_beta[block.id() * cols + c] = for_beta[c];
    }
  }

 private:
  template <int V, int Elements, class B>
  MG_HD void register_rows(B& block) const {
    const i64 cols = teams.cols;
    float* for_gamma = block.template shared<float>(cols);
    float* for_beta = block.template shared<float>(cols);
    float of_gamma[Elements] = {}, of_beta[Elements] = {};  // of the thread's columns, over the rows of its team
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const RegisterRow<T, V, Elements> g(team, grad_y + r * cols, n), in(team, x + r * cols, n);
      const float m = mean[r], s = rstd[r], scale = 1.f / float(cols);
      Pair sums{0.f, 0.f};
      for_own<V, Elements>(team, n, [&](auto k, int c) {
        float weight[V];
        load<V>(weight, gamma + c);
        for (int j = 0; j < V; ++j) {
          const float h = (in[k + j] - m) * s;
          of_gamma[k + j] += g[k + j] * h;
          of_beta[k + j] += g[k + j];
          sums.first += g[k + j] * weight[j];
          sums.second += g[k + j] * weight[j] * h;
        }
      });
      if (!grad_x) return;
      sums = team.reduce(sums, AddPairs{});
      const float level = scale * sums.first, slope = scale * sums.second;
      for_own<V, Elements>(team, n, [&](auto k, int c) {
        float weight[V], d[V];
        load<V>(weight, gamma + c);
        for (int j = 0; j < V; ++j) d[j] = s * (g[k + j] * weight[j] - level - (in[k + j] - m) * s * slope);
        store<V>(grad_x + r * cols + c, d);
      });
    });
    // The teams add their sums one after the other.
    const RowTeam<B> team(block, teams.lanes);
    for (int turn = 0; turn < team.count(); ++turn) {
      if (team.index() == turn)
        for_own<V, Elements>(team, cols, [&](auto k, int c) {
          for (int j = 0; j < V; ++j) {
            for_gamma[c + j] = (turn ? for_gamma[c + j] : 0.f) + of_gamma[k + j];
            for_beta[c + j] = (turn ? for_beta[c + j] : 0.f) + of_beta[k + j];
          }
        });
      block.sync();
    }
    for (i64 c = block.rank(); c < cols; c += block.size()) {
      sum_gamma[block.id() * cols + c] = for_gamma[c];
      sum_beta[block.id() * cols + c] = for_beta[c];
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
