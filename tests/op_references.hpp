// The ops as plain loops in double: what tests/op_cases.hpp compares values with. Written for clarity, from the definitions.
//
// A Reference takes the inputs in the order of the case and returns the result, all flat in our order (channels innermost).
#pragma once

#include <mindgap/core/shape.hpp>
#include <mindgap/ops/conv.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <vector>

namespace mindgap::test {

using Values = std::vector<double>;
using Reference = std::function<Values(const std::vector<Values>&)>;
using Scalar = double (*)(double);
using ScalarPair = double (*)(double, double);

inline double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
inline double silu_of(double x) { return x * sigmoid_of(x); }

// x, w [O, kh, kw, C], bias
inline Reference conv2d_reference(Shape<4> x, Shape<4> w, ConvOptions o) {
  return [=](const std::vector<Values>& in) {
    const ConvGeometry g = detail::conv_geometry(x, w, o);
    Values y;
    for (i64 n = 0; n < g.n; ++n)
      for (i64 i = 0; i < g.out_h(); ++i)
        for (i64 j = 0; j < g.out_w(); ++j)
          for (i64 k = 0; k < g.c_out; ++k) {
            double sum = in.size() > 2 ? in[2][size_t(k)] : 0;
            for (i64 u = 0; u < g.kh; ++u)
              for (i64 v = 0; v < g.kw; ++v) {
                const i64 row = i * o.stride + u - o.padding, column = j * o.stride + v - o.padding;
                if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
                for (i64 c = 0; c < g.c_in; ++c)
                  sum += in[0][size_t(((n * g.h + row) * g.w + column) * g.c_in + c)] *
                         in[1][size_t(((k * g.kh + u) * g.kw + v) * g.c_in + c)];
              }
            y.push_back(sum);
          }
    return y;
  };
}

// a [batch, m, k] b [batch, k, n], or b [n, k] for all if `transposed`
inline Values product(const Values& a, const Values& b, i64 batch, i64 m, i64 n, i64 k, bool transposed) {
  Values c;
  for (i64 s = 0; s < batch; ++s)
    for (i64 i = 0; i < m; ++i)
      for (i64 j = 0; j < n; ++j) {
        double sum = 0;
        for (i64 l = 0; l < k; ++l)
          sum += a[size_t((s * m + i) * k + l)] * (transposed ? b[size_t(j * k + l)] : b[size_t((s * k + l) * n + j)]);
        c.push_back(sum);
      }
  return c;
}
// x [rows, in], w [out, in], bias [out]
inline Values linear_values(const Values& x, const Values& w, const Values& bias, i64 in) {
  Values y = product(x, w, 1, i64(x.size()) / in, i64(w.size()) / in, in, true);
  for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i % bias.size()];
  return y;
}

// Rows of a and b side by side.
inline Values side_by_side(const Values& a, const Values& b, i64 a_cols, i64 b_cols) {
  Values y;
  for (size_t row = 0; row < a.size() / size_t(a_cols); ++row) {
    for (i64 c = 0; c < a_cols; ++c) y.push_back(a[row * size_t(a_cols) + size_t(c)]);
    for (i64 c = 0; c < b_cols; ++c) y.push_back(b[row * size_t(b_cols) + size_t(c)]);
  }
  return y;
}

inline Values softmax_values(Values x, i64 cols) {
  for (size_t row = 0; row < x.size(); row += size_t(cols)) {
    double sum = 0;
    for (size_t i = row; i < row + size_t(cols); ++i) sum += x[i] = std::exp(x[i]);
    for (size_t i = row; i < row + size_t(cols); ++i) x[i] /= sum;
  }
  return x;
}

// q [n, l, heads * d], k and v [n, m, heads * d]
inline Reference attention_reference(i64 n, i64 l, i64 m, i64 heads, i64 d, bool causal = false) {
  return [=](const std::vector<Values>& in) {
    Values y(in[0].size());
    const auto at = [&](const Values& x, i64 rows, i64 s, i64 row, i64 h, i64 c) {
      return x[size_t(((s * rows + row) * heads + h) * d + c)];
    };
    for (i64 s = 0; s < n; ++s)
      for (i64 h = 0; h < heads; ++h)
        for (i64 i = 0; i < l; ++i) {
          Values scores;
          for (i64 j = 0; j < m; ++j) {
            double sum = 0;
            for (i64 c = 0; c < d; ++c) sum += at(in[0], l, s, i, h, c) * at(in[1], m, s, j, h, c);
            scores.push_back(causal && j > i ? -std::numeric_limits<double>::infinity() : sum / std::sqrt(double(d)));
          }
          const Values p = softmax_values(scores, m);
          for (i64 j = 0; j < m; ++j)
            for (i64 c = 0; c < d; ++c) y[size_t(((s * l + i) * heads + h) * d + c)] += p[size_t(j)] * at(in[2], m, s, j, h, c);
        }
    return y;
  };
}

// (x - mean) / sqrt(variance + eps) over the elements of one group.
template <class GroupOf>
Values normalised(Values x, GroupOf group_of, double eps = 1e-5) {
  std::map<i64, std::pair<double, double>> count_and_sum, squares;
  for (size_t i = 0; i < x.size(); ++i) {
    auto& [count, sum] = count_and_sum[group_of(i64(i))];
    count += 1, sum += x[i];
  }
  const auto centre = [&](size_t i) {
    const auto& [count, sum] = count_and_sum[group_of(i64(i))];
    return x[i] - sum / count;
  };
  for (size_t i = 0; i < x.size(); ++i) squares[group_of(i64(i))].first += centre(i) * centre(i);
  Values y;
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(centre(i) / std::sqrt(squares[group_of(i64(i))].first / count_and_sum[group_of(i64(i))].first + eps));
  return y;
}
// x gamma + beta, then the epilogue.
inline Values scaled(Values x, const Values& gamma, const Values& beta, Scalar epilogue) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = epilogue(x[i] * gamma[i % gamma.size()] + beta[i % beta.size()]);
  return x;
}

// fold(values of the window inside the image) for each window and channel
template <class Fold>
Values windows(const Values& x, Shape<4> shape, i64 kernel, i64 stride, i64 padding, Fold fold) {
  Values y;
  for (i64 n = 0; n < shape[0]; ++n)
    for (i64 top = -padding; top + kernel <= shape[1] + padding; top += stride)
      for (i64 left = -padding; left + kernel <= shape[2] + padding; left += stride)
        for (i64 c = 0; c < shape[3]; ++c) {
          Values inside;
          for (i64 i = std::max<i64>(top, 0); i < std::min(top + kernel, shape[1]); ++i)
            for (i64 j = std::max<i64>(left, 0); j < std::min(left + kernel, shape[2]); ++j)
              inside.push_back(x[size_t(((n * shape[1] + i) * shape[2] + j) * shape[3] + c)]);
          y.push_back(fold(inside));
        }
  return y;
}

inline Values upsampled(const Values& x, Shape<4> shape, i64 height, i64 width) {
  Values y;
  for (i64 n = 0; n < shape[0]; ++n)
    for (i64 i = 0; i < height; ++i)
      for (i64 j = 0; j < width; ++j)
        for (i64 c = 0; c < shape[3]; ++c)
          y.push_back(x[size_t(((n * shape[1] + i * shape[1] / height) * shape[2] + j * shape[2] / width) * shape[3] + c)]);
  return y;
}

// The mean over rows of -sum_k q_k log p_k, q = (1 - smoothing) target + smoothing / classes; targets [rows, classes].
inline Values cross_entropy_values(const Values& logits, const Values& targets, i64 classes, double smoothing) {
  const Values p = softmax_values(logits, classes);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum -= ((1 - smoothing) * targets[i] + smoothing / double(classes)) * std::log(p[i]);
  return {sum / double(i64(logits.size()) / classes)};
}

}  // namespace mindgap::test
