// Losses of rows and of whole tensors.
//
// Cross-entropy with label smoothing (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7), as torch:
//   q = (1 - smoothing) target + smoothing / K,    loss = -sum_k q_k log p_k,    log p_k = x_k - log sum_j exp x_j
//   d loss / d x_k = p_k sum_j q_j - q_k
// The target of a row is a class (labels) or a distribution (targets).
#pragma once

#include <mindgap/kernels/softmax.hpp>

namespace mindgap {

// What both directions share. Exactly one of labels and targets is given.
template <class T>
struct ClassTargets {
  const i64* labels;  // [rows] or null
  const T* targets;   // [rows, classes] or null
  float smoothing;

  // q of class k in row r.
  MG_HD float at(i64 r, i64 k, i64 classes) const {
    const float target = labels ? (labels[r] == k ? 1.f : 0.f) : float(targets[r * classes + k]);
    return (1.f - smoothing) * target + smoothing / float(classes);
  }
};

// loss[r] and normaliser[r] = (max x, log sum_j exp(x[r, j] - max x)), with log p_k = (x_k - max) - log: kept apart, for their
// sum would round to the digits of the larger one.                 one block does a few rows
template <class T>
struct CrossEntropy {
  float* loss;        // [rows]
  float* normaliser;  // [rows, 2]
  const T* x;         // [rows, classes]
  ClassTargets<T> q;
  i64 rows, classes;

  template <Block B>
  MG_HD void operator()(B& block) const {
    for_block_rows(block, rows, [&](i64 r) {
      const T* in = x + r * classes;
      const float top = detail::row_reduce(block, classes, -INFINITY, Max{}, [=](i64 k) { return float(in[k]); });
      const float sum = detail::row_reduce(block, classes, 0.f, Sum{}, [=](i64 k) { return exp_f32(float(in[k]) - top); });
      const float log_total = log_f32(sum);
      const float value = detail::row_reduce(block, classes, 0.f, Sum{}, [=, this](i64 k) {
        const float weight = q.at(r, k, classes);
        return weight > 0.f ? weight * (log_total - (float(in[k]) - top)) : 0.f;  // 0 * infinity is 0 here
      });
      if (block.rank() == 0) {
        loss[r] = value;
        normaliser[2 * r] = top;
        normaliser[2 * r + 1] = log_total;
      }
    });
  }
};

// grad_x = scale * grad_loss * (p sum q - q)
template <class T>
struct CrossEntropyBackward {
  T* grad_x;                // [rows, classes]
  const float* grad_loss;   // one element
  const float* normaliser;  // [rows, 2]
  const T* x;               // [rows, classes]
  ClassTargets<T> q;
  i64 rows, classes;
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float g = scale * grad_loss[0];
    for_block_rows(block, rows, [&](i64 r) {
      const float mass = detail::row_reduce(block, classes, 0.f, Sum{}, [=, this](i64 k) { return q.at(r, k, classes); });
      const float top = normaliser[2 * r], log_total = normaliser[2 * r + 1];
      for (i64 k = block.rank(); k < classes; k += block.size()) {
        const float p = exp_f32((float(x[r * classes + k]) - top) - log_total);
        grad_x[r * classes + k] = T(g * (p * mass - q.at(r, k, classes)));
      }
    });
  }
};

// partial[block] = sum of (x - y)^2 over the block's elements
template <class T>
struct SquaredError {
  static constexpr i64 elements_per_block = 8192;

  float* partial;  // [blocks]
  const T* x;      // [n]
  const T* y;      // [n]
  i64 n;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * elements_per_block, left = n - begin;
    const T *a = x + begin, *b = y + begin;
    const float sum = detail::row_reduce(block, left < elements_per_block ? left : elements_per_block, 0.f, Sum{}, [=](i64 i) {
      const float d = float(a[i]) - float(b[i]);
      return d * d;
    });
    if (block.rank() == 0) partial[block.id()] = sum;
  }
};

// index[r] = the first largest of x[r]
template <class T>
struct ArgMax {
  i64* index;  // [rows]
  const T* x;  // [rows, classes], below 2^24 of them
  i64 rows, classes;

  template <Block B>
  MG_HD void operator()(B& block) const {
    for_block_rows(block, rows, [&](i64 r) {
      const T* in = x + r * classes;
      const float top = detail::row_reduce(block, classes, -INFINITY, Max{}, [=](i64 k) { return float(in[k]); });
      const float none = -float(classes);  // the first index is the largest negative one
      const float first =
          detail::row_reduce(block, classes, none, Max{}, [=](i64 k) { return float(in[k]) == top ? -float(k) : none; });
      if (block.rank() == 0) index[r] = first > none ? i64(-first) : 0;
    });
  }
};

// rank[r] = how many classes come before the label's when x[r] is sorted downwards: 0 is right, below 5 is among the top 5.
// Equal values count in the order of their classes; a NaN comes before everything, so that it is never counted as right.
template <class T>
struct LabelRank {
  i32* rank;          // [rows]
  const T* x;         // [rows, classes], below 2^24 of them
  const i64* labels;  // [rows]
  i64 rows, classes;

  template <Block B>
  MG_HD void operator()(B& block) const {
    for_block_rows(block, rows, [&](i64 r) {
      const T* in = x + r * classes;
      const i64 label = labels[r];
      const float mine = float(in[label]);
      const float before = detail::row_reduce(block, classes, 0.f, Sum{}, [=](i64 k) {
        const bool behind = k < label ? float(in[k]) < mine : float(in[k]) <= mine;
        return behind ? 0.f : 1.f;
      });
      if (block.rank() == 0) rank[r] = before < float(classes) ? i32(before) : i32(classes - 1);
    });
  }
};

}  // namespace mindgap
