// Softmax of rows, y = exp(x - max) / sum, and its gradient; one block does a few rows.
//
//   forward    reads x, writes y                                       grad_x = y (g - sum(g y))
//   backward   reads y and g, writes grad_x
//
// On the CPU a reduction over the row would not vectorise (g++ does not reassociate floats), so each thread keeps `lanes`
// partial results side by side; they are combined in a fixed order. A GPU's threads have one lane each.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/block.hpp>

namespace mindgap {
namespace detail {

// op over f(i), i < n, by one thread in 16 interleaved lanes.
template <class Op, class F>
MG_HD float lane_reduce(i64 n, float start, Op op, F f) {
  constexpr int lanes = 16;
  float part[lanes];
  for (int j = 0; j < lanes; ++j) part[j] = start;
  i64 i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int j = 0; j < lanes; ++j) part[j] = op(part[j], f(i + j));
  for (; i < n; ++i) part[0] = op(part[0], f(i));
  float result = part[0];
  for (int j = 1; j < lanes; ++j) result = op(result, part[j]);
  return result;
}

// op over the row in the block: lanes where a block is one thread, strided and combined where it is many.
template <class B, class Op, class F>
MG_HD float row_reduce(B& block, i64 n, float start, Op op, F f) {
  if (block.size() == 1) return lane_reduce(n, start, op, f);
  float result = start;
  for (i64 i = block.rank(); i < n; i += block.size()) result = op(result, f(i));
  return block.reduce(result, op);
}

}  // namespace detail

// Rows that one block does.
inline constexpr i64 softmax_rows_per_block = 8;
inline Grid softmax_grid(i64 rows) { return {(rows + softmax_rows_per_block - 1) / softmax_rows_per_block, 128}; }

// f(r) for the rows of this block.
template <class B, class F>
MG_HD void for_block_rows(B& block, i64 rows, F f) {
  const i64 begin = block.id() * softmax_rows_per_block, end = begin + softmax_rows_per_block;
  for (i64 r = begin; r < end && r < rows; ++r) f(r);
}

template <class T>
struct Softmax {
  T* y;        // [rows, cols]; may be x
  const T* x;  // [rows, cols]
  i64 rows, cols;

  MG_HD i64 shared_bytes() const { return shared_size(cols * i64(sizeof(float))); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    float* e = block.template shared<float>(cols);  // each thread owns its columns
    for_block_rows(block, rows, [&](i64 r) {
      const T* in = x + r * cols;
      T* out = y + r * cols;
      const float top = detail::row_reduce(block, cols, -INFINITY, Max{}, [=](i64 c) { return float(in[c]); });
      for (i64 c = block.rank(); c < cols; c += block.size()) e[c] = exp_f32(float(in[c]) - top);
      const float sum = detail::row_reduce(block, cols, 0.f, Sum{}, [=](i64 c) { return e[c]; });
      const float scale = 1.f / sum;
      for (i64 c = block.rank(); c < cols; c += block.size()) out[c] = T(e[c] * scale);
    });
  }
};

template <class T>
struct SoftmaxBackward {
  T* grad_x;        // [rows, cols]; may be grad_y
  const T* grad_y;  // [rows, cols]
  const T* y;       // [rows, cols]
  i64 rows, cols;

  template <Block B>
  MG_HD void operator()(B& block) const {
    for_block_rows(block, rows, [&](i64 r) {
      const T *g = grad_y + r * cols, *p = y + r * cols;
      T* out = grad_x + r * cols;
      const float dot = detail::row_reduce(block, cols, 0.f, Sum{}, [=](i64 c) { return float(g[c]) * float(p[c]); });
#pragma GCC ivdep
      for (i64 c = block.rank(); c < cols; c += block.size()) out[c] = T(float(p[c]) * (float(g[c]) - dot));
    });
  }
};

}  // namespace mindgap
