// Layer norm against a plain loop and finite differences.
#include <mindgap/nn/layers.hpp>
#include <mindgap/ops/layer_norm.hpp>

#include <boost/test/unit_test.hpp>
#include <string>
#include <tests/values.hpp>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr double eps = 1e-5;

std::vector<double> reference(const std::vector<double>& x, const std::vector<double>& gamma, const std::vector<double>& beta) {
  const size_t cols = gamma.size();
  std::vector<double> y(x.size());
  for (size_t r = 0; r < x.size(); r += cols) {
    double mean = 0, variance = 0;
    for (size_t c = 0; c < cols; ++c) mean += x[r + c] / double(cols);
    for (size_t c = 0; c < cols; ++c) variance += (x[r + c] - mean) * (x[r + c] - mean) / double(cols);
    for (size_t c = 0; c < cols; ++c) y[r + c] = (x[r + c] - mean) / std::sqrt(variance + eps) * gamma[c] + beta[c];
  }
  return y;
}

template <class T>
void check_values() {
  for (const Shape<3>& shape : {Shape<3>{1, 1, 3}, Shape<3>{2, 5, 16}, Shape<3>{3, 7, 17}, Shape<3>{1, 2, 770}}) {
    const auto x = random_tensor<T>(shape, 1, 2.f, 3.f);
    const auto gamma = random_tensor(Shape(x.cols()), 2, 1.f), beta = random_tensor(Shape(x.cols()), 3);
    BOOST_TEST(relative_error(layer_norm(x, gamma, beta, float(eps)).y, reference(doubles(x), doubles(gamma), doubles(beta))) <
               10 * epsilon<T>);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(layer_norm_op)

BOOST_AUTO_TEST_CASE(values) {
  check_values<float>();
  check_values<bf16>();
}

BOOST_AUTO_TEST_CASE(one_channel_is_beta) {
  const auto x = random_tensor(Shape<2>(5, 1), 1);
  const auto gamma = Tensor<float, 1>::full(Shape(1), 2.f), beta = Tensor<float, 1>::full(Shape(1), 0.25f);
  for (float value : layer_norm(x, gamma, beta, 1e-5f).y.to_vector()) BOOST_TEST(value == 0.25f);
}

// Offsets that leave few digits or none for the fraction of a mean: the mean to its last digit, deviations to four.
BOOST_AUTO_TEST_CASE(values_far_from_zero) {
  for (i64 cols : {64, 67, 700, 5000})
    for (float offset : {1e5f, 1e6f, 1e7f}) {
      std::vector<float> values;
      for (i64 i = 0; i < 2 * cols; ++i) values.push_back(offset + float(i % 7) * (i < cols ? 1.f : 2.f));
      const auto x = Tensor<float, 2>::from(values, Shape(i64(2), cols));
      const auto got = layer_norm(x, Tensor<float, 1>::full(Shape(cols), 1.f), Tensor<float, 1>::zeros(Shape(cols)), float(eps));
      for (i64 r = 0; r < 2; ++r) {
        double mean = 0, variance = 0;
        for (i64 c = 0; c < cols; ++c) mean += double(values[size_t(r * cols + c)]) / double(cols);
        for (i64 c = 0; c < cols; ++c) variance += std::pow(double(values[size_t(r * cols + c)]) - mean, 2) / double(cols);
        BOOST_TEST(std::abs(got.mean.data()[r] - mean) <= std::nextafter(offset, 2 * offset) - offset, cols << " of " << offset);
        BOOST_TEST(std::abs(got.rstd.data()[r] * std::sqrt(variance + eps) - 1) < 1e-4, cols << " of " << offset);
      }
    }
}

BOOST_AUTO_TEST_CASE(gradients) {
  for (const Shape<2>& shape : {Shape<2>{1, 3}, Shape<2>{20, 16}, Shape<2>{9, 17}}) {
    const auto x = random_tensor(shape, 1, 2.f, 3.f), weight = random_tensor(shape, 4);
    const auto gamma = random_tensor(Shape(x.cols()), 2, 1.f), beta = random_tensor(Shape(x.cols()), 3);
    const auto result = layer_norm(x, gamma, beta, float(eps));
    const auto xd = doubles(x), gd = doubles(gamma), bd = doubles(beta), wd = doubles(weight);
    const auto fx = finite_differences([&](auto& v) { return reference(v, gd, bd); }, xd, wd);
    const auto fg = finite_differences([&](auto& v) { return reference(xd, v, bd); }, gd, wd);
    const auto fb = finite_differences([&](auto& v) { return reference(xd, gd, v); }, bd, wd);
    for (unsigned wanted = 1; wanted < 8; ++wanted) {
      LayerNormGradients<float, 2, Cpu> grads;
      if (wanted & 1) grads.x = Tensor<float, 2>(shape);
      if (wanted & 2) grads.gamma = Tensor<float, 1>(gamma.shape());
      if (wanted & 4) grads.beta = Tensor<float, 1>(beta.shape());
      layer_norm_backward(weight, x, result.mean, result.rstd, gamma, grads);
      if (wanted & 1) BOOST_TEST(relative_error(grads.x, fx) < 2e-5);
      if (wanted & 2) BOOST_TEST(relative_error(grads.gamma, fg) < 2e-5);
      if (wanted & 4) BOOST_TEST(relative_error(grads.beta, fb) < 2e-5);
    }
  }
}

BOOST_AUTO_TEST_CASE(mismatched_channels_are_an_error) {
  const auto x = Tensor<float, 2>::zeros({2, 8});
  BOOST_CHECK_THROW(layer_norm(x, Tensor<float, 1>::zeros(Shape(7)), Tensor<float, 1>::zeros(Shape(8)), 1e-5f), Error);
}

// The layer: torch.nn's names and initial values, the same for a tensor and a variable.
BOOST_AUTO_TEST_CASE(layer) {
  LayerNorm<Cpu, Precision<float>> norm(5);
  std::vector<std::string> names;
  for_each_parameter(norm, [&](const std::string& name, auto&) { names.push_back(name); });
  BOOST_TEST(names == std::vector<std::string>({"weight", "bias"}), boost::test_tools::per_element());
  init::normal(norm.weight, 1.f, 1, "weight");
  init::normal(norm.bias, 1.f, 1, "bias");
  const auto x = random_tensor(Shape(3, 5), 1);
  const auto expected = layer_norm(x, norm.weight.value, norm.bias.value, 1e-5f).y;
  Tape tape;
  BOOST_TEST(same_bits(norm(x), expected));
  BOOST_TEST(same_bits(norm(constant(tape, x)).value(), expected));
}

BOOST_AUTO_TEST_SUITE_END()
