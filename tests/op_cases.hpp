// The table of ops: one line a case. Every op on variables is here or in its second part, tests/unit/op_cases_arrays.cpp;
// tests/unit/op_cases_test.cpp checks each case in every mode.
//
// Above the table: per op, a function that makes a case of its shapes. The number is the tolerance of the value in f32;
// gradients, bf16 and emulation have common ones.
#pragma once

#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/gated.hpp>
#include <mindgap/autograd/layer_norm.hpp>
#include <mindgap/autograd/linear.hpp>
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/norm.hpp>
#include <mindgap/autograd/pad.hpp>
#include <mindgap/autograd/pool.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/autograd/resize.hpp>
#include <mindgap/autograd/softmax.hpp>

#include "tests/op_case.hpp"

namespace mindgap::test {

// ---- convolution and products -----------------------------------------------------------------------------------------
inline OpCase conv2d_case(const std::string& what, Shape<4> x, Shape<4> w, ConvOptions o) {
  return op_case(
      "conv2d", what, 1e-6, conv2d_reference(x, w, o), [o](auto x, auto w, auto b) { return conv2d(x, w, b, o); }, activation(x),
      weight(w), vector(w[0]));
}
inline OpCase conv2d_without_bias_case(const std::string& what, Shape<4> x, Shape<4> w, ConvOptions o) {
  return op_case(
      "conv2d", what, 1e-6, conv2d_reference(x, w, o), [o](auto x, auto w) { return conv2d(x, w, {}, o); }, activation(x),
      weight(w));
}
inline OpCase linear_case(const std::string& what, Shape<3> x, i64 out) {
  return op_case(
      "linear", what, 1e-6, [=](auto& in) { return linear_values(in[0], in[1], in[2], x[2]); },
      [](auto x, auto w, auto b) { return linear(x, w, b); }, activation(x), weight(Shape(out, x[2])), vector(out));
}
inline OpCase linear_pair_case(const std::string& what, i64 rows, i64 first, i64 second, i64 out) {
  return op_case(
      "linear_pair", what, 1e-6,
      [=](auto& in) { return linear_values(side_by_side(in[0], in[1], first, second), in[2], in[3], first + second); },
      [](auto x, auto skip, auto w, auto b) { return linear_pair(x, skip, w, b); }, activation(Shape(rows, first)),
      activation(Shape(rows, second)), weight(Shape(out, first + second)), vector(out));
}
inline OpCase matmul_case(const std::string& what, i64 batch, i64 m, i64 n, i64 k) {
  return op_case(
      "matmul", what, 1e-6, [=](auto& in) { return product(in[0], in[1], batch, m, n, k, false); },
      [](auto a, auto b) { return matmul(a, b); }, activation(Shape(batch, m, k)), activation(Shape(batch, k, n)));
}
inline OpCase attend_case(const std::string& what, i64 n, i64 l, i64 m, i64 heads, i64 d, bool causal = false) {
  return op_case(
      "attend", what, 2e-6, attention_reference(n, l, m, heads, d, causal),
      [=](auto q, auto k, auto v) { return attend(q, k, v, heads, causal); }, activation(Shape(n, l, heads * d)),
      activation(Shape(n, m, heads * d)), activation(Shape(n, m, heads * d)));
}

// ---- norms ------------------------------------------------------------------------------------------------------------
template <class F>
OpCase batch_norm_case(const std::string& what, F epilogue, Scalar double_tail, Shape<4> shape) {
  const i64 c = shape[3];
  return op_case(
      "batch_norm", "batch statistics, " + what, 5e-6,
      [=](auto& in) { return scaled(normalised(in[0], [=](i64 i) { return i % c; }), in[1], in[2], double_tail); },
      [epilogue](auto x, auto gamma, auto beta) {
        const auto s = batch_statistics(x.value(), 1e-5f);
        return batch_norm(epilogue, x, s.mean, s.rstd, true, gamma, beta);
      },
      activation(shape, 1.f, 2.f), vector(c, 1.f), vector(c));
}
inline OpCase batch_norm_residual_case(const std::string& what, Shape<4> shape) {
  const i64 c = shape[3];
  return op_case(
      "batch_norm", "batch statistics, " + what, 5e-6,
      [=](auto& in) {
        Values y = scaled(normalised(in[0], [=](i64 i) { return i % c; }), in[1], in[2], [](double z) { return z; });
        for (size_t i = 0; i < y.size(); ++i) y[i] = std::max(y[i] + in[3][i], 0.);
        return y;
      },
      [](auto x, auto gamma, auto beta, auto residual) {
        const auto s = batch_statistics(x.value(), 1e-5f);
        return batch_norm(relu_add, x, s.mean, s.rstd, true, gamma, beta, residual);
      },
      activation(shape, 1.f, 2.f), vector(c, 1.f), vector(c), activation(shape));
}
inline OpCase batch_norm_running_case(const std::string& what, Shape<4> shape) {
  const i64 c = shape[3];
  const auto mean = random_tensor(Shape<1>(c), 50), rstd = random_tensor(Shape<1>(c), 51, 0.7f, 0.1f);
  return op_case(
      "batch_norm", "running statistics, " + what, 5e-6,
      [=](auto& in) {
        Values x = in[0];
        for (size_t i = 0; i < x.size(); ++i) x[i] = (x[i] - mean.data()[i % size_t(c)]) * rstd.data()[i % size_t(c)];
        return scaled(x, in[1], in[2], [](double z) { return std::max(z, 0.); });
      },
      [=](auto x, auto gamma, auto beta) {
        return batch_norm(epilogues::relu, x, like(x, mean), like(x, rstd), false, gamma, beta);
      },
      activation(shape, 1.f, 2.f), vector(c, 1.f), vector(c));
}
// `second` channels in a skip and the row where asked for; an input that is not used has no gradient.
inline OpCase group_norm_case(const std::string& what, Shape<4> shape, i64 second, i64 groups, bool with_row) {
  const i64 samples = shape[0], first = shape[3], c = first + second, per_sample = shape[1] * shape[2] * c;
  Shape<4> skip = shape;
  skip[3] = std::max<i64>(second, 1);
  return op_case(
      "group_norm", what, 5e-6,
      [=](auto& in) {
        Values x = second ? side_by_side(in[0], in[1], first, second) : in[0];
        for (i64 i = 0; i < i64(x.size()) && with_row; ++i) x[size_t(i)] += in[2][size_t(i / per_sample * c + i % c)];
        return scaled(normalised(x, [=](i64 i) { return i / per_sample * groups + i % c / (c / groups); }), in[3], in[4],
                      silu_of);
      },
      [=](auto x, auto skip, auto row, auto gamma, auto beta) {
        return group_norm(epilogues::silu, x, second ? skip : decltype(skip)(), with_row ? row : decltype(row)(), groups, 1e-5f,
                          gamma, beta);
      },
      activation(shape, 1.f), activation(skip, -1.f), activation(Shape(samples, c)), vector(c, 1.f), vector(c));
}
inline OpCase layer_norm_case(const std::string& what, Shape<2> shape) {
  const i64 c = shape[1];
  return op_case(
      "layer_norm", what, 5e-6,
      [=](auto& in) { return scaled(normalised(in[0], [=](i64 i) { return i / c; }), in[1], in[2], [](double z) { return z; }); },
      [](auto x, auto gamma, auto beta) { return layer_norm(x, gamma, beta, 1e-5f); }, activation(shape, 2.f), vector(c, 1.f),
      vector(c));
}

// ---- images -----------------------------------------------------------------------------------------------------------
inline OpCase max_pool_case(const std::string& what, Shape<4> shape, i64 kernel, i64 stride, i64 padding) {
  return op_case(
      "max_pool2d", what, 0,
      [=](auto& in) {
        return windows(in[0], shape, kernel, stride, padding,
                       [](const Values& v) { return *std::max_element(v.begin(), v.end()); });
      },
      [=](auto x) { return max_pool2d(x, kernel, stride, padding); }, activation(shape));
}
inline OpCase avg_pool_case(const std::string& what, Shape<4> shape, i64 kernel, i64 stride, i64 padding) {
  return op_case(
      "avg_pool2d", what, 1e-6,
      [=](auto& in) {
        return windows(in[0], shape, kernel, stride, padding, [&](const Values& v) {
          double sum = 0;
          for (double x : v) sum += x / double(kernel * kernel);
          return sum;
        });
      },
      [=](auto x) { return avg_pool2d(x, kernel, stride, padding); }, activation(shape));
}
inline OpCase global_pool_case(const std::string& what, Shape<4> shape) {
  return op_case(
      "global_avg_pool", what, 1e-6,
      [=](auto& in) {
        Values y(size_t(shape[0] * shape[3]));
        const i64 positions = shape[1] * shape[2];
        for (i64 i = 0; i < i64(in[0].size()); ++i)
          y[size_t(i / (positions * shape[3]) * shape[3] + i % shape[3])] += in[0][size_t(i)] / double(positions);
        return y;
      },
      [](auto x) { return global_avg_pool(x); }, activation(shape));
}
inline OpCase upsample_case(const std::string& what, Shape<4> shape, i64 height, i64 width) {
  return op_case(
      "upsample_nearest", what, 0, [=](auto& in) { return upsampled(in[0], shape, height, width); },
      [=](auto x) { return upsample_nearest(x, height, width); }, activation(shape));
}
inline OpCase concat_case(const std::string& what, i64 rows, i64 first, i64 second) {
  return op_case(
      "concat_channels", what, 0, [=](auto& in) { return side_by_side(in[0], in[1], first, second); },
      [](auto a, auto b) { return concat_channels(a, b); }, activation(Shape(rows, first)), activation(Shape(rows, second)));
}

// ---- embeddings and losses --------------------------------------------------------------------------------------------
inline OpCase embedding_case(const std::string& what, const std::vector<i64>& ids, i64 rows, i64 cols) {
  return op_case(
      "embedding", what, 0,
      [=](auto& in) {
        Values y;
        for (i64 id : ids) y.insert(y.end(), in[0].begin() + id * cols, in[0].begin() + (id + 1) * cols);
        return y;
      },
      [=](auto table) { return embedding(like(table, Tensor<i64, 1>::from(ids, Shape(i64(ids.size())))), table); },
      weight(Shape(rows, cols)));
}
inline OpCase softmax_case(const std::string& what, Shape<2> shape) {
  return op_case(
      "softmax", what, 1e-6, [=](auto& in) { return softmax_values(in[0], shape[1]); }, [](auto x) { return softmax(x); },
      activation(shape, 0.f, 2.f));
}
inline OpCase geglu_case(const std::string& what, i64 rows, i64 cols) {
  return op_case(
      "geglu", what, 2e-6,
      [=](auto& in) {
        Values y;
        for (i64 r = 0; r < rows; ++r)
          for (i64 c = 0; c < cols; ++c) {
            const double gate = in[0][size_t(r * 2 * cols + cols + c)];
            y.push_back(in[0][size_t(r * 2 * cols + c)] * 0.5 * gate * std::erfc(-gate / std::sqrt(2.)));
          }
        return y;
      },
      [](auto x) { return geglu(x); }, activation(Shape(rows, 2 * cols)));
}
inline OpCase zero_pad_case(const std::string& what, Shape<4> shape, Padding2d padding) {
  return op_case(
      "zero_pad2d", what, 0,
      [=](auto& in) {
        const i64 h = padding.top + shape[1] + padding.bottom, w = padding.left + shape[2] + padding.right;
        Values y(size_t(shape[0] * h * w * shape[3]));
        for (i64 i = 0; i < shape.size(); ++i) {
          const i64 c = i % shape[3], column = i / shape[3] % shape[2], row = i / shape[3] / shape[2] % shape[1],
                    image = i / shape[3] / shape[2] / shape[1];
          y[size_t(((image * h + padding.top + row) * w + padding.left + column) * shape[3] + c)] = in[0][size_t(i)];
        }
        return y;
      },
      [=](auto x) { return zero_pad2d(x, padding); }, activation(shape));
}
inline OpCase cross_entropy_case(const std::string& what, Shape<2> shape, float smoothing) {
  std::vector<i64> labels;
  Values one_hot(size_t(shape.size()));
  for (i64 row = 0; row < shape[0]; ++row) {
    labels.push_back(row * 7 % shape[1]);
    one_hot[size_t(row * shape[1] + labels.back())] = 1;
  }
  const auto targets = Tensor<i64, 1>::from(labels, Shape(shape[0]));
  return op_case(
      "cross_entropy", "labels, " + what, 1e-6,
      [=](auto& in) { return cross_entropy_values(in[0], one_hot, shape[1], smoothing); },
      [=](auto x) { return cross_entropy(x, like(x, targets), smoothing); }, activation(shape, 0.f, 2.f));
}
inline OpCase soft_cross_entropy_case(const std::string& what, Shape<2> shape, float smoothing) {
  const auto targets = Tensor<float, 2>::zeros(shape);
  for (i64 row = 0; row < shape[0]; ++row)  // exact in bf16
    for (const auto& [k, share] : {std::pair(0, 0.5f), std::pair(1, 0.25f), std::pair(3, 0.25f)})
      targets.data()[row * shape[1] + (row + k) % shape[1]] = share;
  return op_case(
      "cross_entropy", "soft targets, " + what, 1e-6,
      [=](auto& in) { return cross_entropy_values(in[0], doubles(targets), shape[1], smoothing); },
      [=](auto x) { return cross_entropy(x, like(x, cast<typename decltype(x)::element>(targets)), smoothing); },
      activation(shape, 0.f, 2.f));
}
inline OpCase mse_case(const std::string& what, Shape<3> shape) {
  const auto target = cast<float>(random_tensor<bf16>(shape, 60));
  return op_case(
      "mse_loss", what, 1e-6,
      [=](auto& in) {
        double sum = 0;
        for (size_t i = 0; i < in[0].size(); ++i) sum += std::pow(in[0][i] - double(target.data()[i]), 2);
        return Values{sum / double(in[0].size())};
      },
      [=](auto x) { return mse_loss(x, like(x, cast<typename decltype(x)::element>(target))); }, activation(shape));
}

inline OpCase sum_case(bool mean_of, const std::string& what, Shape<2> shape) {
  return op_case(
      mean_of ? "mean" : "sum", what, 1e-6,
      [=](auto& in) {
        double sum = 0;
        for (double x : in[0]) sum += x;
        return Values{mean_of ? sum / double(in[0].size()) : sum};
      },
      [=](auto x) { return mean_of ? mean(x) : sum(x); }, activation(shape, 0.5f));
}

// ---- pointwise --------------------------------------------------------------------------------------------------------
// Every kind of operand: dense, a row for all, a row a sample, a scalar of the device, a number of the host.
inline OpCase operands_case(const std::string& what, Shape<3> shape) {
  const i64 c = shape[2];
  return op_case(
      "pointwise", what, 2e-6,
      [=](auto& in) {
        Values y;
        for (size_t i = 0; i < in[0].size(); ++i) {
          const double x = in[0][i], all = in[2][i % size_t(c)];
          const double sample = in[3][i / size_t(shape[1] * c) * size_t(c) + i % size_t(c)];
          y.push_back(silu_of(x * in[4][0] + all) * in[1][i] + std::max(sample, 0.5) * x);
        }
        return y;
      },
      [](auto x, auto dense, auto all, auto sample, auto one) {
        return pointwise([](auto x, auto d, auto r, auto n, auto s, auto v) { return silu(x * s + r) * d + max(n, v) * x; }, x,
                         dense, row(all), row(sample), scalar(one), value(0.5f));
      },
      activation(shape), activation(shape), activation(Shape<1>(c)), activation(Shape(shape[0], c)),
      activation(Shape<1>(1), 1.f));
}
// The first operand is a tensor; only the second has a gradient, and it is used twice.
inline OpCase tensor_operand_case(const std::string& what, i64 size) {
  const auto first = cast<float>(random_tensor<bf16>(Shape<1>(size), 70));
  return op_case(
      "pointwise", what, 2e-6,
      [=](auto& in) {
        Values y;
        for (size_t i = 0; i < in[0].size(); ++i) y.push_back(first.data()[i] * std::tanh(in[0][i]) + in[0][i] * in[0][i]);
        return y;
      },
      [=](auto x) {
        return pointwise([](auto a, auto b, auto c) { return a * tanh(b) + b * c; },
                         like(x, cast<typename decltype(x)::element>(first)), x, x);
      },
      activation(Shape<1>(size)));
}
inline OpCase add_case(const std::string& what, Shape<2> shape) {
  return op_case(
      "add", what, 1e-7,
      [](auto& in) {
        Values y = in[0];
        for (size_t i = 0; i < y.size(); ++i) y[i] += in[1][i];
        return y;
      },
      [](auto a, auto b) { return add(a, b); }, activation(shape), activation(shape));
}
inline OpCase reshape_case(const std::string& what, Shape<3> shape) {
  return op_case(
      "reshape", what, 0, [](auto& in) { return in[0]; },
      [=](auto x) { return reshape(x, Shape(shape[0] * shape[1], shape[2])); }, activation(shape));
}

// ---- the table --------------------------------------------------------------------------------------------------------
inline std::vector<OpCase> op_cases() {
  return {
      conv2d_case("3x3, padding", {2, 5, 4, 3}, {4, 3, 3, 3}, {1, 1}),
      conv2d_case("stride 2, odd sizes", {1, 7, 5, 2}, {3, 3, 3, 2}, {2, 1}),
      conv2d_case("7x7, stride 2", {1, 9, 8, 3}, {2, 7, 7, 3}, {2, 3}),
      conv2d_case("1x1", {2, 3, 3, 5}, {4, 1, 1, 5}, {1, 0}),
      conv2d_case("one channel in and out", {1, 4, 4, 1}, {1, 3, 3, 1}, {1, 1}),
      conv2d_without_bias_case("no bias", {1, 5, 5, 2}, {3, 3, 3, 2}, {1, 0}),
      conv2d_without_bias_case("1x1 of stride 2", {2, 5, 3, 4}, {3, 1, 1, 4}, {2, 0}),
      linear_case("3 x 5 to 4", {1, 3, 5}, 4),
      linear_case("rank 3, one feature", {2, 3, 1}, 7),
      linear_pair_case("3 and 5 features", 4, 3, 5, 6),
      matmul_case("a batch of 3", 3, 4, 5, 6),
      matmul_case("one row and column", 1, 1, 1, 9),
      attend_case("two heads of 4", 2, 5, 5, 2, 4),
      attend_case("3 heads of 2, other keys", 1, 4, 7, 3, 2),
      attend_case("causal", 2, 5, 5, 2, 4, true),
      attend_case("causal, other keys", 1, 6, 4, 2, 3, true),
      batch_norm_case("plain", identity, [](double z) { return z; }, {2, 3, 3, 5}),
      batch_norm_case("relu", epilogues::relu, [](double z) { return std::max(z, 0.); }, {3, 2, 4, 16}),
      batch_norm_residual_case("residual and relu", {2, 3, 2, 7}),
      batch_norm_running_case("relu", {2, 3, 3, 5}),
      group_norm_case("silu", {2, 3, 2, 8}, 0, 4, false),
      group_norm_case("a skip, a group across both parts", {2, 2, 2, 5}, 4, 3, false),
      group_norm_case("a skip and a row", {2, 2, 3, 4}, 4, 2, true),
      group_norm_case("a row, one group", {3, 2, 2, 7}, 0, 1, true),
      layer_norm_case("17 channels", {6, 17}),
      layer_norm_case("3 channels", {5, 3}),
      max_pool_case("3, stride 2, padding 1", {2, 7, 5, 3}, 3, 2, 1),
      max_pool_case("2", {1, 4, 6, 2}, 2, 2, 0),
      avg_pool_case("3, stride 2, padding 1", {2, 7, 5, 3}, 3, 2, 1),
      avg_pool_case("2", {1, 4, 6, 2}, 2, 2, 0),
      global_pool_case("7 channels", {3, 4, 5, 7}),
      global_pool_case("one position", {2, 1, 1, 9}),
      upsample_case("twice", {2, 3, 2, 5}, 6, 4),
      upsample_case("4 to 7", {1, 4, 4, 3}, 7, 7),
      concat_case("5 and 3 channels", 6, 5, 3),
      concat_case("1 and 9 channels", 4, 1, 9),
      embedding_case("ids that repeat", {3, 0, 3, 1}, 5, 7),
      geglu_case("an odd number of columns", 3, 7),
      geglu_case("whole vectors", 2, 64),
      zero_pad_case("right and bottom", {2, 3, 4, 5}, {0, 1, 0, 1}),
      zero_pad_case("all sides", {1, 2, 3, 8}, {1, 2, 3, 4}),
      softmax_case("49 columns", {3, 49}),
      softmax_case("one column", {5, 1}),
      cross_entropy_case("hard", {7, 5}, 0.f),
      cross_entropy_case("smoothed", {4, 10}, 0.1f),
      soft_cross_entropy_case("plain", {5, 6}, 0.f),
      soft_cross_entropy_case("smoothed", {3, 8}, 0.2f),
      mse_case("rank 3", {2, 5, 7}),
      sum_case(false, "one piece", {3, 7}),
      sum_case(true, "one piece", {3, 7}),
      operands_case("every kind of operand", {3, 4, 6}),
      operands_case("one sample, one channel", {1, 40, 1}),
      tensor_operand_case("a tensor first, a variable twice", 37),
      add_case("two variables", {5, 7}),
      reshape_case("rank 3 to 2", {2, 3, 5}),
  };
}

}  // namespace mindgap::test
