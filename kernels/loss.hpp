// Losses of rows and of whole tensors.
//
// Cross-entropy with label smoothing (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7), as torch:
//   q = (1 - smoothing) target + smoothing / K,    loss = -sum_k q_k log p_k,    log p_k = x_k - log sum_j exp x_j
//   d loss / d x_k = p_k sum_j q_j - q_k
// The target of a row is a class (labels) or a distribution (targets). A label that is no class makes the row's loss and gradient
// NaN, so that the check of the loss that every training has finds it; no kernel reads beyond a row because of it.
//
//   CrossEntropy            reads x                     sizeof(T) bytes an element; twice more from the first-level cache
//   CrossEntropyBackward    reads x, writes grad_x      2 sizeof(T)
//   SquaredError            reads x and y               2 sizeof(T)
//   ArgMax, LabelRank       read x                      sizeof(T)
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/rows.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

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
  MG_HD bool has_class(i64 r, i64 classes) const { return !labels || (labels[r] >= 0 && labels[r] < classes); }
};

// loss[r] and normaliser[r] = (max x, log sum_j exp(x[r, j] - max x)), with log p_k = (x_k - max) - log: kept apart, for their
// sum would round to the digits of the larger one.                 one block does a few rows
template <class T>
struct CrossEntropy {
  float* loss;        // [rows]
  float* normaliser;  // [rows, 2]
  const T* x;         // [rows, classes]
  ClassTargets<T> q;
  RowTeams teams;  // of [rows, classes]

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 classes = teams.cols;
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const T* in = x + r * classes;
      const float top = row_reduce(team, n, -INFINITY, Max{}, [=](i64 k) { return float(in[k]); });
      const float sum = row_reduce(team, n, 0.f, Sum{}, [=](i64 k) { return exp_f32(float(in[k]) - top); });
      const float log_total = log_f32(sum);
      const float value = row_reduce(team, n, 0.f, Sum{}, [=, this](i64 k) {
        const float weight = q.at(r, k, classes);
        return weight > 0.f ? weight * (log_total - (float(in[k]) - top)) : 0.f;  // 0 * infinity is 0 here
      });
      if (team.rank() == 0 && n) {
        loss[r] = q.has_class(r, classes) ? value : NAN;
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
  RowTeams teams;  // of [rows, classes]
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 classes = teams.cols;
    const float slope = scale * grad_loss[0];
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const float mass = row_reduce(team, n, 0.f, Sum{}, [=, this](i64 k) { return q.at(r, k, classes); });
      const float top = normaliser[2 * r], log_total = normaliser[2 * r + 1];
      const float g = q.has_class(r, classes) ? slope : NAN;
      for (i64 k = team.rank(); k < n; k += team.size()) {
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
  MG_HD void serial(B& block) const {
    const T *a = x + block.id() * elements_per_block, *b = y + block.id() * elements_per_block;
    partial[block.id()] = lane_reduce(count(block.id()), 0.f, Sum{}, [=](i64 i) { return square(float(a[i]) - float(b[i])); });
  }

  template <Block B>
  MG_HD void team(B& block) const {
    const T *a = x + block.id() * elements_per_block, *b = y + block.id() * elements_per_block;
    float sum = 0.f;
    for_vectors<vector_size<T>>(block, count(block.id()), is_vector_aligned(a) && is_vector_aligned(b), [&](auto width, i64 i) {
      float u[width], v[width];
      load<width>(u, a + i);
      load<width>(v, b + i);
      for (int j = 0; j < width; ++j) sum += square(u[j] - v[j]);
    });
    sum = block.reduce(sum, Sum{});
    if (block.rank() == 0) partial[block.id()] = sum;
  }

 private:
  MG_HD static float square(float d) { return d * d; }
  MG_HD i64 count(i64 id) const {
    const i64 left = n - id * elements_per_block;
    return left < elements_per_block ? left : elements_per_block;
  }
};

// index[r] = the first largest of x[r]
template <class T>
struct ArgMax {
  i64* index;      // [rows]
  const T* x;      // [rows, classes], below 2^24 of them
  RowTeams teams;  // of [rows, classes]

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 classes = teams.cols;
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const T* in = x + r * classes;
      const float top = row_reduce(team, n, -INFINITY, Max{}, [=](i64 k) { return float(in[k]); });
      const float none = -float(classes);  // the first index is the largest negative one
      const float first = row_reduce(team, n, none, Max{}, [=](i64 k) { return float(in[k]) == top ? -float(k) : none; });
      if (team.rank() == 0 && n) index[r] = first > none ? i64(-first) : 0;
    });
  }
};

// rank[r] = how many classes come before the label's when x[r] is sorted downwards: 0 is right, below 5 is among the top 5.
// Equal values count in the order of their classes; a NaN comes before everything, so that it is never counted as right. A label
// that is no class comes after all of them: its rank is the number of classes.
template <class T>
struct LabelRank {
  i32* rank;          // [rows]
  const T* x;         // [rows, classes], below 2^24 of them
  const i64* labels;  // [rows]
  RowTeams teams;     // of [rows, classes]

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 classes = teams.cols;
    for_block_rows(block, teams, [&](auto& team, i64 r, i64 n) {
      const T* in = x + r * classes;
      const bool is_class = labels[r] >= 0 && labels[r] < classes;
      const i64 label = is_class ? labels[r] : 0;
      const float mine = float(in[label]);
      const float before = row_reduce(team, n, 0.f, Sum{}, [=](i64 k) {
        const bool behind = k < label ? float(in[k]) < mine : float(in[k]) <= mine;
        return behind ? 0.f : 1.f;
      });
      if (team.rank() == 0 && n) rank[r] = !is_class ? i32(classes) : before < float(classes) ? i32(before) : i32(classes - 1);
    });
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
