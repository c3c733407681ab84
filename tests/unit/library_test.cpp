// What ops make of a library that computes in one go what they otherwise put together: attention, and a convolution with its
// epilogue. A device of this test has such a library, in loops; with it, without it and on the CPU the results agree.
#include <mindgap/autograd/linear.hpp>
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/pointwise.hpp>

#include "tests/values.hpp"
#include <algorithm>
#include <boost/test/unit_test.hpp>

namespace mindgap {

template <>
struct Runtime<Emulated> : Runtime<Cpu> {};

template <>
struct Library<Emulated> : Library<Cpu> {
  static inline bool has_forward = true, has_backward = true, has_epilogue = true, has_sum = true;

  template <class T>
  static constexpr bool fuses_attention = true;

  static bool attention(const AttentionGeometry& g, float* y, float* statistics, const float* q, const float* k, const float* v) {
    if (!has_forward) return false;
    std::fill_n(y, g.n * g.l * g.heads * g.d, 0.f);
    for_each_row(g, [&](i64 row, i64 query, i64 key0) {
      double sum = 0;
      for (i64 j = 0; j < g.m; ++j) sum += std::exp(score(g, q + query, k + key(g, key0, j)));
      statistics[row] = float(std::log(sum));
      for (i64 j = 0; j < g.m; ++j) {
        const double p = std::exp(score(g, q + query, k + key(g, key0, j))) / sum;
        for (i64 c = 0; c < g.d; ++c) y[query + c] += float(p * v[key(g, key0, j) + c]);
      }
    });
    return true;
  }

  static bool attention_backward(const AttentionGeometry& g, float* grad_q, float* grad_k, float* grad_v, const float* grad_y,
                                 const float* y, const float* statistics, const float* q, const float* k, const float* v) {
    if (!has_backward) return false;
    const auto clear = [&](float* grad, i64 length) {
      if (grad) std::fill_n(grad, g.n * length * g.heads * g.d, 0.f);
    };
    clear(grad_q, g.l), clear(grad_k, g.m), clear(grad_v, g.m);
    for_each_row(g, [&](i64 row, i64 query, i64 key0) {
      const double sum = dot(g, grad_y + query, y + query);
      for (i64 j = 0; j < g.m; ++j) {
        const i64 at = key(g, key0, j);
        const double p = std::exp(score(g, q + query, k + at) - statistics[row]);
        const double grad_score = p * (dot(g, grad_y + query, v + at) - sum) / std::sqrt(double(g.d));
        for (i64 c = 0; c < g.d; ++c) {
          if (grad_q) grad_q[query + c] += float(grad_score * k[at + c]);
          if (grad_k) grad_k[at + c] += float(grad_score * q[query + c]);
          if (grad_v) grad_v[at + c] += float(p * grad_y[query + c]);
        }
      }
    });
    return true;
  }

  static bool conv2d_bias_relu(const ConvGeometry& g, float* y, const float* x, const float* w, const float* bias,
                               const float* residual) {
    if (!has_epilogue) return false;
    cpu::conv2d_forward(g, y, x, w, bias);
    for (i64 i = 0; i < g.y_size(); ++i) y[i] = std::max(0.f, y[i] + (residual ? residual[i] : 0.f));
    return true;
  }

  static bool conv2d_backward_data_sum(const ConvGeometry& g, float* grad_x, const float* grad_y, const float* w,
                                       const float* before) {
    if (!has_sum) return false;
    cpu::conv2d_backward_data(g, grad_x, grad_y, w);
    for (i64 i = 0; i < g.x_size(); ++i) grad_x[i] += before[i];
    return true;
  }

 private:
  // f(row of the statistics, where its query begins, where the first key of its head begins)
  template <class F>
  static void for_each_row(const AttentionGeometry& g, const F& f) {
    for (i64 n = 0; n < g.n; ++n)
      for (i64 h = 0; h < g.heads; ++h)
        for (i64 i = 0; i < g.l; ++i)
          f((n * g.heads + h) * g.l + i, ((n * g.l + i) * g.heads + h) * g.d, (n * g.m * g.heads + h) * g.d);
  }
  static i64 key(const AttentionGeometry& g, i64 first, i64 j) { return first + j * g.heads * g.d; }
  static double dot(const AttentionGeometry& g, const float* a, const float* b) {
    double sum = 0;
    for (i64 c = 0; c < g.d; ++c) sum += double(a[c]) * b[c];
    return sum;
  }
  static double score(const AttentionGeometry& g, const float* q, const float* k) {
    return dot(g, q, k) / std::sqrt(double(g.d));
  }
};

}  // namespace mindgap

using namespace mindgap;

namespace {

// The values and all gradients of attention, by variables.
template <Device D>
std::vector<std::vector<double>> attended(const AttentionGeometry& g) {
  const i64 c = g.heads * g.d;
  const auto on = [](const auto& x) { return x.template to<D>(); };
  Tape tape;
  const auto q = variable(tape, on(test::random_tensor(Shape(g.n, g.l, c), 1)));
  const auto k = variable(tape, on(test::random_tensor(Shape(g.n, g.m, c), 2)));
  const auto v = variable(tape, on(test::random_tensor(Shape(g.n, g.m, c), 3)));
  const auto y = attend(q, k, v, g.heads);
  backward(mse_loss(y, on(test::random_tensor(Shape(g.n, g.l, c), 4))));
  std::vector<std::vector<double>> out;
  for (const auto& x : {y.value(), q.gradient(), k.gradient(), v.gradient()}) out.push_back(test::doubles(x.template to<Cpu>()));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(library)

BOOST_AUTO_TEST_CASE(attention_in_one_pass_or_in_products) {
  using Fused = Library<Emulated>;
  for (const AttentionGeometry& g : {AttentionGeometry{2, 3, 5, 7, 8}, AttentionGeometry{1, 1, 9, 1, 4}}) {
    const auto expected = attended<Cpu>(g);
    for (const bool forward : {false, true})
      for (const bool backward : {false, true}) BOOST_TEST_CONTEXT("forward " << forward << ", backward " << backward) {
          Fused::has_forward = forward, Fused::has_backward = backward;
          const auto found = attended<Emulated>(g);
          for (size_t i = 0; i < expected.size(); ++i) BOOST_TEST(test::relative_error(found[i], expected[i]) < 1e-5);
        }
  }
}

// Each way saves what its own backward reads and nothing else.
BOOST_AUTO_TEST_CASE(attention_saves_what_its_backward_reads) {
  const auto x = test::random_tensor(Shape<3>(2, 5, 8), 1).to<Emulated>();
  for (const bool fused : {false, true}) {
    Library<Emulated>::has_forward = fused;
    const auto saved = attention(x, x, x, 2).saved();
    BOOST_TEST(saved.statistics.defined() == fused);
    BOOST_TEST(saved.y.defined() == fused);
    BOOST_TEST(saved.probabilities.defined() == !fused);
  }
}

BOOST_AUTO_TEST_CASE(convolution_with_its_tail) {
  const auto x = test::random_tensor(Shape<4>(2, 6, 7, 3), 1), w = test::random_tensor(Shape<4>(5, 3, 3, 3), 2, 0.f, 0.3f);
  const auto bias = test::random_tensor(Shape<1>(5), 3);
  for (const bool with_residual : {false, true}) {
    const auto plain = conv2d(x, w, bias, {2, 1});
    const auto residual = with_residual ? test::random_tensor(plain.shape(), 4) : Tensor<float, 4>();
    std::vector<double> expected = test::doubles(plain);
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] = std::max(0., expected[i] + (with_residual ? double(residual.data()[i]) : 0.));
    BOOST_TEST(test::relative_error(conv2d_bias_relu(x, w, bias, {2, 1}, residual), expected) < 1e-6);
    for (const bool epilogue : {false, true}) {
      Library<Emulated>::has_epilogue = epilogue;
      const auto on = [](const auto& t) {
        return t.defined() ? t.template to<Emulated>() : decltype(t.template to<Emulated>())();
      };
      const auto y = conv2d_bias_relu(on(x), on(w), on(bias), {2, 1}, on(residual));
      BOOST_TEST(test::relative_error(y.to<Cpu>(), expected) < 1e-6);
    }
  }
  BOOST_CHECK_THROW(conv2d_bias_relu(x, w, bias, {1, 1}, test::random_tensor(Shape<4>(2, 3, 4, 5), 4)), Error);
  BOOST_CHECK_THROW(conv2d_bias_relu(x, w, test::random_tensor(Shape<1>(4), 3)), Error);
}

// The input of two convolutions, as a residual block's: the second gradient is added to the first, which somebody else may hold.
template <Device D>
std::vector<std::vector<double>> joined() {
  const auto on = [](const auto& t) { return t.template to<D>(); };
  Tape tape;
  const auto x = variable(tape, on(test::random_tensor(Shape<4>(2, 6, 7, 3), 1)));
  const auto w = variable(tape, on(test::random_tensor(Shape<4>(3, 3, 3, 3), 2)));
  const auto v = variable(tape, on(test::random_tensor(Shape<4>(3, 1, 1, 3), 3)));
  const auto same = reshape(x, x.shape());  // passes its gradient on as it is
  const auto y = conv2d(x, w, {}, {1, 1}), z = conv2d(x, v);
  constexpr auto sum = [](auto a, auto b, auto c) { return a + b + c; };
  backward(mse_loss(pointwise(sum, y, z, same), on(test::random_tensor(y.shape(), 4))));
  std::vector<std::vector<double>> out;
  for (const auto& t : {x.gradient(), w.gradient(), v.gradient(), same.gradient(), y.gradient()})
    out.push_back(test::doubles(t.template to<Cpu>()));
  return out;
}

BOOST_AUTO_TEST_CASE(gradients_of_data_are_added) {
  const auto expected = joined<Cpu>();
  for (const bool sum : {false, true}) {
    Library<Emulated>::has_sum = sum;
    const auto found = joined<Emulated>();
    for (size_t i = 0; i < expected.size(); ++i) BOOST_TEST(test::relative_error(found[i], expected[i]) < 1e-5);
  }
  const auto x = test::random_tensor(Shape<4>(1, 3, 3, 2), 5), before = test::random_tensor(x.shape(), 6);
  const auto w = test::random_tensor(Shape<4>(2, 3, 3, 2), 7), grad_y = test::random_tensor(x.shape(), 8);
  Tensor<float, 4> alone(x.shape()), sum(x.shape());
  conv2d_backward_data(alone, grad_y, w, {1, 1});
  conv2d_backward_data(sum, grad_y, w, {1, 1}, before);
  for (i64 i = 0; i < x.size(); ++i) BOOST_TEST(sum.data()[i] == before.data()[i] + alone.data()[i]);
}

BOOST_AUTO_TEST_SUITE_END()
