// Layer norm of rows, y = (x - mean) * rstd * gamma + beta with mean and rstd of each row, and gradients.
//
//   LayerNorm            reads x, writes y; a row stays in the first-level cache over its three passes
//   LayerNormBackward    reads grad_y and x, writes grad_x, and the sums of its rows for gamma and beta
//
// With h = (x - mean) * rstd and means over the row:
//   grad_x = rstd (g gamma - mean(g gamma) - h mean(g gamma h))      grad_gamma = sum over rows of g h, grad_beta of g
#pragma once

#include <mindgap/kernels/softmax.hpp>

namespace mindgap {

template <class T>
struct LayerNorm {
  static constexpr i64 rows_per_block = 8;

  T* y;                // [rows, cols]; may be x
  float* mean;         // [rows]
  float* rstd;         // [rows]
  const T* x;          // [rows, cols]
  const float* gamma;  // [cols]
  const float* beta;   // [cols]
  i64 rows, cols;
  float eps;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * rows_per_block;
    for (i64 r = begin; r < begin + rows_per_block && r < rows; ++r) {
      const T* in = x + r * cols;
      T* out = y + r * cols;
      const float m = detail::row_reduce(block, cols, 0.f, Sum{}, [=](i64 c) { return float(in[c]); }) / float(cols);
      const float square = detail::row_reduce(block, cols, 0.f, Sum{}, [=](i64 c) {
        const float d = float(in[c]) - m;
        return d * d;
      });
      const float s = 1.f / sqrtf(square / float(cols) + eps);
#pragma GCC ivdep
      for (i64 c = block.rank(); c < cols; c += block.size()) out[c] = T((float(in[c]) - m) * (s * gamma[c]) + beta[c]);
      if (block.rank() == 0) mean[r] = m, rstd[r] = s;
    }
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
  i64 rows, cols, rows_per_block;

  MG_HD i64 shared_bytes() const { return 2 * shared_size(cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* __restrict__ for_gamma = block.template shared<float>(cols);  // each thread owns its columns
    float* __restrict__ for_beta = block.template shared<float>(cols);
    for (i64 c = block.rank(); c < cols; c += block.size()) for_gamma[c] = for_beta[c] = 0.f;
    const i64 begin = block.id() * rows_per_block;
    for (i64 r = begin; r < begin + rows_per_block && r < rows; ++r) {
      const T *g = grad_y + r * cols, *in = x + r * cols;
      const float m = mean[r], s = rstd[r];
#pragma GCC ivdep
      for (i64 c = block.rank(); c < cols; c += block.size()) {
        for_gamma[c] += float(g[c]) * ((float(in[c]) - m) * s);
        for_beta[c] += float(g[c]);
      }
      if (!grad_x) continue;
      const float *weight = gamma, scale = 1.f / float(cols);
      const float level = scale * detail::row_reduce(block, cols, 0.f, Sum{}, [=](i64 c) { return float(g[c]) * weight[c]; });
      const float slope = scale * detail::row_reduce(block, cols, 0.f, Sum{},
                                                     [=](i64 c) { return float(g[c]) * weight[c] * ((float(in[c]) - m) * s); });
      T* out = grad_x + r * cols;
#pragma GCC ivdep
      for (i64 c = block.rank(); c < cols; c += block.size())
        out[c] = T(s * (float(g[c]) * weight[c] - level - (float(in[c]) - m) * s * slope));
    }
    for (i64 c = block.rank(); c < cols; c += block.size()) {
      sum_gamma[block.id() * cols + c] = for_gamma[c];
      sum_beta[block.id() * cols + c] = for_beta[c];
    }
  }
};

}  // namespace mindgap
