// The functions of lambdas: values against the C library in double, at the ends of their ranges too, and gradients.
#include <mindgap/autograd/gradcheck.hpp>
#include <mindgap/autograd/linear.hpp>
#include <mindgap/cpu/library.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();

template <class F>
std::vector<float> values_of(F f, const std::vector<float>& at) {
  return pointwise(f, Tensor<float, 1>::from(at, Shape<1>(i64(at.size())))).to_vector();
}
template <class F, class Expected>
void check_values(F f, Expected expected, const std::vector<float>& at) {
  const std::vector<float> got = values_of(f, at);
  for (size_t i = 0; i < at.size(); ++i) {
    const double wanted = expected(double(at[i]));
    BOOST_TEST_CONTEXT("at " << at[i] << ": " << got[i] << ", wanted " << wanted) {
      if (std::isfinite(wanted)) BOOST_TEST(std::abs(got[i] - wanted) <= 4e-7 * std::max(1., std::abs(wanted)));
      else BOOST_TEST((std::isnan(wanted) ? std::isnan(got[i]) : got[i] == float(wanted)));
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(expression)

BOOST_AUTO_TEST_CASE(values) {
  const std::vector<float> at = {-9.f, -2.5f, -1.f, -0.5f, -1e-3f,   0.f,       1e-3f,
                                 0.5f, 1.f,   2.5f, 9.f,   infinity, -infinity, not_a_number};
  const std::vector<float> finite(at.begin(), at.end() - 3);
  check_values([](auto x) { return sin(x); }, [](double x) { return std::sin(x); }, at);
  check_values([](auto x) { return cos(x); }, [](double x) { return std::cos(x); }, at);
  check_values([](auto x) { return erf(x); }, [](double x) { return std::erf(x); }, at);
  check_values([](auto x) { return gelu(x); }, [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.))); }, finite);
  check_values([](auto x) { return quick_gelu(x); }, [](double x) { return x / (1 + std::exp(-1.702 * x)); }, finite);
  check_values([](auto x) { return gelu_tanh(x); },
               [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }, finite);
  check_values([](auto x) { return clamp(x, -1.f, 2.f); }, [](double x) { return x < -1 ? -1 : x > 2 ? 2 : x; }, at);
  check_values([](auto x) { return pow(x, 3.f); }, [](double x) { return std::pow(x, 3); }, at);
  check_values([](auto x) { return pow(x, 0.5f); }, [](double x) { return std::pow(x, 0.5); }, at);
  check_values([](auto x) { return where(x < 0.5f, -x, 2.f); }, [](double x) { return x < 0.5 ? -x : 2.; }, at);
  check_values([](auto x) { return (x >= 0.5f) + 2.f * (x <= 0.5f) + 4.f * (x > 0.5f); },
               [](double x) { return (x >= 0.5) + 2. * (x <= 0.5) + 4. * (x > 0.5); }, at);
}

BOOST_AUTO_TEST_CASE(erf_to_the_last_bits) {
  double worst = 0;  // in units in the last place
  for (int i = -60000; i <= 60000; ++i) {
    const float x = 1e-4f * float(i);
    const double exact = std::erf(double(x)), ulp = std::ldexp(1., std::max(std::ilogb(exact == 0 ? 1. : exact), -126) - 23);
    worst = std::max(worst, std::abs(double(erf_f32(x)) - exact) / ulp);
  }
  BOOST_TEST(worst < 2);
}

// log gave -88 for 0 and numbers for negative ones.
BOOST_AUTO_TEST_CASE(log_at_the_ends_of_its_range) {
  check_values([](auto x) { return log(x); }, [](double x) { return std::log(x); },
               {0.f, -0.f, -1.f, -infinity, infinity, not_a_number, 1e-45f, 1e-40f, 1.17549435e-38f, 3.4e38f, 1.f, 0.7f});
}

BOOST_AUTO_TEST_CASE(gradients) {
  const auto x = random_tensor(Shape<1>(40), 1), y = random_tensor(Shape<1>(40), 2);
  const auto positive = pointwise([](auto a) { return abs(a) + 0.5f; }, x);
  const double worst = std::max({
      gradcheck([](auto a) { return pointwise([](auto v) { return sin(v) + cos(2.f * v); }, a); }, x),
      gradcheck([](auto a) { return pointwise([](auto v) { return erf(v); }, a); }, x),
      gradcheck([](auto a) { return pointwise([](auto v) { return gelu(v); }, a); }, x),
      gradcheck([](auto a) { return pointwise([](auto v) { return gelu_tanh(v); }, a); }, x),
      gradcheck([](auto a) { return pointwise([](auto v) { return quick_gelu(v); }, a); }, x),
      gradcheck([](auto a) { return pointwise([](auto v) { return clamp(v, -0.6f, 0.7f) * v; }, a); }, x),
      gradcheck([](auto a, auto b) { return pointwise([](auto v, auto w) { return pow(v, w); }, a, b); }, positive, y),
      gradcheck([](auto a, auto b) { return pointwise([](auto v, auto w) { return where(v < w, v * w, v + 2.f * w); }, a, b); },
                x, y),
  });
  BOOST_TEST(worst < 2e-3);
}

// The gradient of the one that is not taken is not looked at: no 0 times infinity.
BOOST_AUTO_TEST_CASE(where_takes_one_gradient) {
  Tape tape;
  const auto x = variable(tape, Tensor<float, 1>::from({0.f, 4.f}, Shape<1>(2)));
  const auto y = pointwise([](auto v) { return where(v > 0.f, sqrt(v), 3.f * v); }, x);
  backward(reshape(linear(reshape(y, Shape(1, 2)), constant(tape, Tensor<float, 2>::full(Shape(1, 2), 1.f))), Shape<1>(1)));
  BOOST_TEST(x.gradient().to_vector() == std::vector<float>({3.f, 0.25f}), boost::test_tools::per_element());
}

// As torch.maximum and torch.minimum: what diverges must not look healthy, on either side.
BOOST_AUTO_TEST_CASE(the_larger_of_a_number_and_none) {
  for (const float got : values_of([](auto x) { return max(0.f, x); }, {not_a_number})) BOOST_TEST(std::isnan(got));
  for (const float got : values_of([](auto x) { return min(0.f, x); }, {not_a_number})) BOOST_TEST(std::isnan(got));
  for (const float got : values_of([](auto x) { return max(x, 0.f); }, {not_a_number})) BOOST_TEST(std::isnan(got));
  for (const float got : values_of([](auto x) { return min(x, 0.f); }, {not_a_number})) BOOST_TEST(std::isnan(got));
}

// y * y is infinite or 0 long before x / y is.
BOOST_AUTO_TEST_CASE(the_gradient_of_a_quotient_of_far_numbers) {
  using Quotient = Traced<decltype([](auto x, auto y) { return x / y; }), 2>;
  const auto slope = [](float x, float y) {
    const float in[] = {x, y};
    float grads[] = {0.f, 0.f};
    Quotient::vjp(in, 1.f, grads);
    return grads[1];
  };
  BOOST_TEST(slope(0.f, 1e-30f) == 0.f);
  BOOST_TEST(std::abs(slope(1e30f, 1e25f) + 1e-20f) < 1e-26f);
  BOOST_TEST(std::abs(slope(1e-30f, 1e-25f) + 1e20f) < 1e14f);
}

BOOST_AUTO_TEST_CASE(equality) {
  const std::vector<float> at = {-1.f, 0.f, 1.f, not_a_number};
  BOOST_TEST(values_of([](auto x) { return where(x == 1.f, 2.f, 3.f); }, at) == (std::vector<float>{3, 3, 2, 3}),
             boost::test_tools::per_element());
  BOOST_TEST(values_of([](auto x) { return where(x != 1.f, 2.f, 3.f); }, at) == (std::vector<float>{2, 2, 3, 2}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
