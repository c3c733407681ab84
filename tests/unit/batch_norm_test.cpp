// Batch norm: statistics, epilogues, and gradients under batch and running statistics.
#include <mindgap/ops/batch_norm.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr double eps = 1e-5;

// Columns of x as a plain reference: mean and biased variance.
struct Moments {
  std::vector<double> mean, variance;
};
Moments moments(const std::vector<double>& x, i64 cols) {
  const i64 rows = i64(x.size()) / cols;
  Moments m{std::vector<double>(size_t(cols)), std::vector<double>(size_t(cols))};
  for (i64 i = 0; i < rows * cols; ++i) m.mean[size_t(i % cols)] += x[size_t(i)] / double(rows);
  for (i64 i = 0; i < rows * cols; ++i)
    m.variance[size_t(i % cols)] += std::pow(x[size_t(i)] - m.mean[size_t(i % cols)], 2) / double(rows);
  return m;
}

// y = epilogue(normalised x, residual), all in double; `m` null means batch statistics.
using DoubleTail = double (*)(double z, double residual);
std::vector<double> reference(DoubleTail epilogue, const std::vector<double>& x, const std::vector<double>& gamma,
                              const std::vector<double>& beta, const std::vector<double>& residual,
                              const Moments* constant = nullptr) {
  const i64 cols = i64(gamma.size());
  const Moments m = constant ? *constant : moments(x, cols);
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i % size_t(cols);
    y[i] = epilogue((x[i] - m.mean[c]) / std::sqrt(m.variance[c] + eps) * gamma[c] + beta[c], residual[i]);
  }
  return y;
}

const Shape<4> shapes[] = {{1, 2, 1, 1},  {1, 3, 3, 3},   {2, 5, 7, 16},   {3, 4, 5, 17},
                           {1, 1, 2, 64}, {2, 3, 1, 520}, {4, 28, 28, 16}, {2, 1, 1, 1200}};

template <class T>
void check_statistics() {
  for (const auto& shape : shapes) {
    const auto x = random_tensor<T>(shape, 1, 3.f, 2.f);
    const Moments m = moments(doubles(x), x.cols());
    auto running = RunningAverages<Cpu>{random_tensor(Shape<1>(x.cols()), 2), random_tensor(Shape<1>(x.cols()), 3)};
    const auto mean_before = doubles(running.mean), variance_before = doubles(running.variance);
    const auto s = batch_statistics(x, float(eps), running);
    BOOST_TEST(relative_error(s.mean, m.mean) < 2e-7);
    std::vector<double> rstd, running_mean, running_variance;
    const double n = double(x.rows());
    for (size_t c = 0; c < m.mean.size(); ++c) {
      rstd.push_back(1 / std::sqrt(m.variance[c] + eps));
      running_mean.push_back(0.9 * mean_before[c] + 0.1 * m.mean[c]);
      running_variance.push_back(0.9 * variance_before[c] + 0.1 * m.variance[c] * n / (n - 1));
    }
    BOOST_TEST(relative_error(s.rstd, rstd) < 2e-6);
    BOOST_TEST(relative_error(running.mean, running_mean) < 1e-6);
    BOOST_TEST(relative_error(running.variance, running_variance) < 1e-6);
  }
}

template <class T, int K, class F>
void check_values(F epilogue, DoubleTail double_tail) {
  for (const auto& shape : shapes) {
    const auto x = random_tensor<T>(shape, 1, 1.f, 2.f), residual = random_tensor<T>(shape, 2);
    const auto gamma = random_tensor(Shape<1>(x.cols()), 3, 1.f), beta = random_tensor(Shape<1>(x.cols()), 4);
    const auto s = batch_statistics(x, float(eps));
    Tensor<T, 4> y;
    if constexpr (K == 1) y = batch_norm(epilogue, x, s.mean, s.rstd, gamma, beta, residual);
    else y = batch_norm(epilogue, x, s.mean, s.rstd, gamma, beta);
    const auto expected = reference(double_tail, doubles(x), doubles(gamma), doubles(beta), doubles(residual));
    BOOST_TEST(relative_error(y, expected) < 10 * epsilon<T>);
  }
}

// Gradients of every operand against finite differences.
template <int K, class F>
void check_gradients(F epilogue, DoubleTail double_tail, Shape<4> shape, bool batch, bool relu_kink) {
  using Rule = Epilogue<F, K>;
  auto x = random_tensor(shape, 1, 1.f, 2.f), residual = random_tensor(shape, 2), weight = random_tensor(shape, 5);
  const auto gamma = random_tensor(Shape<1>(x.cols()), 3, 1.f), beta = random_tensor(Shape<1>(x.cols()), 4);
  const auto xd = doubles(x), rd = doubles(residual), gd = doubles(gamma), bd = doubles(beta);
  auto wd = doubles(weight);
  Moments m = moments(xd, x.cols());
  if (!batch)
    for (size_t c = 0; c < m.mean.size(); ++c) m.mean[c] = float(m.mean[c] + 0.3), m.variance[c] = float(m.variance[c] * 1.5);
  if (relu_kink) {  // elements that finite differences could push over the kink get no weight
    const auto z = reference([](double z, double r) { return z + r; }, xd, gd, bd, K ? rd : std::vector<double>(rd.size()),
                             batch ? nullptr : &m);
    for (size_t i = 0; i < z.size(); ++i)
      if (std::abs(z[i]) < 1e-3) wd[i] = 0, weight.data()[i] = 0;
  }

  BatchNormInputs<float, 4, Cpu, K> in;
  in.x = x, in.gamma = gamma, in.beta = beta, in.batch_statistics = batch;
  if (batch) {
    const auto s = batch_statistics(x, float(eps));
    in.mean = s.mean, in.rstd = s.rstd;
  } else {
    in.mean = Tensor<float, 1>::from({m.mean.begin(), m.mean.end()}, {x.cols()});
    in.rstd = running_rstd(Tensor<float, 1>::from({m.variance.begin(), m.variance.end()}, {x.cols()}), float(eps));
  }
  Tensor<float, 4> y;
  if constexpr (K == 1) y = batch_norm(epilogue, x, in.mean, in.rstd, gamma, beta, residual);
  else y = batch_norm(epilogue, x, in.mean, in.rstd, gamma, beta);
  if (Rule::reads_y) in.y = y;
  if constexpr (K == 1)
    if (Rule::reads_extra(0)) in.extras[0] = residual;

  const Moments* constant = batch ? nullptr : &m;
  const auto fx = finite_differences([&](auto& v) { return reference(double_tail, v, gd, bd, rd, constant); }, xd, wd);
  const auto fg = finite_differences([&](auto& v) { return reference(double_tail, xd, v, bd, rd, constant); }, gd, wd);
  const auto fb = finite_differences([&](auto& v) { return reference(double_tail, xd, gd, v, rd, constant); }, bd, wd);
  const auto fr = finite_differences([&](auto& v) { return reference(double_tail, xd, gd, bd, v, constant); }, rd, wd);
  // Each choice of wanted gradients takes another path through the kernels.
  for (unsigned wanted = 0; wanted < 16; ++wanted) {
    BatchNormGradients<float, 4, Cpu, K> grads;
    if (wanted & 1) grads.x = Tensor<float, 4>(shape);
    if (wanted & 2) grads.gamma = Tensor<float, 1>(Shape(x.cols()));
    if (wanted & 4) grads.beta = Tensor<float, 1>(Shape(x.cols()));
    if constexpr (K == 1)
      if (wanted & 8) grads.extras[0] = Tensor<float, 4>(shape);
    batch_norm_backward(epilogue, weight, in, grads);
    if (wanted & 1) BOOST_TEST(relative_error(grads.x, fx) < 2e-5);
    if (wanted & 2) BOOST_TEST(relative_error(grads.gamma, fg) < 2e-5);
    if (wanted & 4) BOOST_TEST(relative_error(grads.beta, fb) < 2e-5);
    if constexpr (K == 1)
      if (wanted & 8) BOOST_TEST(relative_error(grads.extras[0], fr) < 2e-5);
  }
}

double double_relu(double z) { return z > 0 ? z : 0; }
double double_silu(double z) { return z / (1 + std::exp(-z)); }

constexpr auto gated = [](auto z, auto residual) { return z * sigmoid(residual); };

}  // namespace

BOOST_AUTO_TEST_SUITE(batch_norm_op)

BOOST_AUTO_TEST_CASE(statistics) {
  check_statistics<float>();
  check_statistics<bf16>();
}

// A mean far above the deviation: what one pass of sums of squares gets wrong.
BOOST_AUTO_TEST_CASE(statistics_far_from_zero) {
  const auto x = random_tensor(Shape<2>(20'000, 3), 7, 1000.f, 0.01f);
  const Moments m = moments(doubles(x), 3);
  std::vector<double> rstd;
  for (double v : m.variance) rstd.push_back(1 / std::sqrt(v + 1e-12));
  BOOST_TEST(relative_error(batch_statistics(x, 1e-12f).rstd, rstd) < 5e-4);
}

// Offsets that leave few digits or none for the fraction of a mean: the mean to its last digit, deviations to four, or to what
// the means of the chunks, rounded by half such a digit, add to the variance.
BOOST_AUTO_TEST_CASE(statistics_of_large_offsets) {
  for (const Shape<4>& shape : {Shape<4>{1, 16, 16, 1}, Shape<4>{2, 40, 40, 5}, Shape<4>{1, 30, 30, 600}})
    for (float offset : {1e5f, 1e6f, 1e7f}) {
      const Tensor<float, 4> x(shape);
      for (i64 i = 0; i < x.size(); ++i) x.data()[i] = (i % x.cols() ? 1.f : offset) + float(i / x.cols() % 7);
      const Moments m = moments(doubles(x), x.cols());
      const auto s = batch_statistics(x, float(eps));
      const double digit = std::nextafter(offset, 2 * offset) - offset;
      BOOST_TEST(std::abs(s.mean.data()[0] - m.mean[0]) <= digit, shape.str() << offset);
      for (i64 c = 0; c < std::min<i64>(x.cols(), 2); ++c)
        BOOST_TEST(std::abs(s.rstd.data()[c] * std::sqrt(m.variance[size_t(c)] + eps) - 1) <
                       1e-4 + (c ? 0 : digit * digit / 8 / m.variance[0]),
                   shape.str() << offset);
    }
}

BOOST_AUTO_TEST_CASE(momenta_that_make_no_average) {
  const auto x = random_tensor(Shape<2>(4, 2), 1);
  for (float wrong : {NAN, -0.1f, 1.5f, INFINITY}) {
    const auto mean = Tensor<float, 1>::zeros({2}), variance = Tensor<float, 1>::full({2}, 1.f);
    BOOST_CHECK_EXCEPTION(batch_statistics(x, 1e-5f, RunningAverages<Cpu>{mean, variance, wrong}), Error, [](const Error& e) {
      return std::string(e.what()).find("batch norm: a momentum of ") != std::string::npos;
    });
    BOOST_TEST(mean.data()[0] == 0.f);
  }
}

BOOST_AUTO_TEST_CASE(statistics_do_not_depend_on_threads) {
  const auto x = random_tensor(Shape<4>(8, 28, 28, 16), 1);
  const int threads = Runtime<Cpu>::threads();
  Runtime<Cpu>::set_threads(1);
  const auto one = batch_statistics(x, 1e-5f);
  Runtime<Cpu>::set_threads(3);
  const auto three = batch_statistics(x, 1e-5f);
  Runtime<Cpu>::set_threads(threads);
  BOOST_TEST(same_bits(one.mean, three.mean));
  BOOST_TEST(same_bits(one.rstd, three.rstd));
}

BOOST_AUTO_TEST_CASE(one_value_per_channel_is_an_error) {
  BOOST_CHECK_EXCEPTION(batch_statistics(Tensor<float, 4>::zeros({1, 1, 1, 8}), 1e-5f), Error, [](const Error& e) {
    return std::string(e.what()).find("more than one value per channel") != std::string::npos;
  });
  BOOST_CHECK_THROW(batch_statistics(Tensor<float, 4>::zeros({0, 4, 4, 8}), 1e-5f), Error);
  for (float wrong : {-1e-5f, NAN}) {
    BOOST_CHECK_THROW(batch_statistics(Tensor<float, 4>::zeros({2, 4, 4, 8}), wrong), Error);
    BOOST_CHECK_THROW(running_rstd(Tensor<float, 1>::zeros({8}), wrong), Error);
  }
}

BOOST_AUTO_TEST_CASE(values) {
  check_values<float, 0>(identity, [](double z, double) { return z; });
  check_values<float, 0>(epilogues::relu, [](double z, double) { return double_relu(z); });
  check_values<bf16, 0>(epilogues::silu, [](double z, double) { return double_silu(z); });
  check_values<float, 1>(relu_add, [](double z, double r) { return double_relu(z + r); });
  check_values<bf16, 1>(relu_add, [](double z, double r) { return double_relu(z + r); });
  check_values<f16, 1>(epilogues::add, [](double z, double r) { return z + r; });
}

BOOST_AUTO_TEST_CASE(gradients) {
  for (const Shape<4>& shape : {Shape<4>{1, 3, 2, 1}, Shape<4>{2, 3, 2, 3}, Shape<4>{1, 5, 1, 17}})
    for (bool batch : {true, false}) {
      check_gradients<0>(
          identity, [](double z, double) { return z; }, shape, batch, false);
      check_gradients<0>(
          epilogues::relu, [](double z, double) { return double_relu(z); }, shape, batch, true);
      check_gradients<0>(
          epilogues::silu, [](double z, double) { return double_silu(z); }, shape, batch, false);
      check_gradients<1>(
          relu_add, [](double z, double r) { return double_relu(z + r); }, shape, batch, true);
      check_gradients<1>(
          gated, [](double z, double r) { return z / (1 + std::exp(-r)); }, shape, batch, false);
    }
}

BOOST_AUTO_TEST_CASE(mismatched_channels_are_an_error) {
  const auto x = Tensor<float, 4>::zeros({1, 2, 2, 8});
  const auto row = Tensor<float, 1>::zeros({8}), short_row = Tensor<float, 1>::zeros({7});
  BOOST_CHECK_THROW(batch_norm(identity, x, row, row, short_row, row), Error);
  BOOST_CHECK_THROW(batch_norm(relu_add, x, row, row, row, row, Tensor<float, 4>::zeros({1, 2, 2, 4})), Error);
}

BOOST_AUTO_TEST_SUITE_END()
