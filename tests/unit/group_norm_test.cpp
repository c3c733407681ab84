// Group norm: one and two parts, an added row, epilogues, gradients.
#include <mindgap/autograd/norm.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/ops/group_norm.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr double eps = 1e-5;

struct Case {
  i64 samples, height, width, first, second, groups;
};
const Case cases[] = {{1, 1, 1, 2, 0, 1}, {1, 3, 3, 3, 0, 3},   {2, 5, 7, 16, 0, 4},  {3, 4, 5, 17, 0, 1},
                      {2, 3, 2, 5, 3, 2}, {2, 4, 4, 32, 16, 8}, {1, 2, 3, 300, 0, 30}};

struct Operands {
  std::vector<double> x, skip, row, gamma, beta;
};

// silu(normalised (x next to skip, + row)) in double
std::vector<double> reference(const Case& s, const Operands& o, bool silu_epilogue) {
  const i64 rows = s.height * s.width, channels = s.first + s.second, per_group = channels / s.groups;
  std::vector<double> y(size_t(s.samples * rows * channels));
  const auto at = [&](i64 n, i64 r, i64 c) -> double {
    const double v =
        c < s.first ? o.x[size_t((n * rows + r) * s.first + c)] : o.skip[size_t((n * rows + r) * s.second + c - s.first)];
    return v + o.row[size_t(n * channels + c)];
  };
  for (i64 n = 0; n < s.samples; ++n)
    for (i64 g = 0; g < s.groups; ++g) {
      double mean = 0, variance = 0;
      const double m = double(rows * per_group);
      for (i64 r = 0; r < rows; ++r)
        for (i64 c = g * per_group; c < (g + 1) * per_group; ++c) mean += at(n, r, c) / m;
      for (i64 r = 0; r < rows; ++r)
        for (i64 c = g * per_group; c < (g + 1) * per_group; ++c) variance += std::pow(at(n, r, c) - mean, 2) / m;
      for (i64 r = 0; r < rows; ++r)
        for (i64 c = g * per_group; c < (g + 1) * per_group; ++c) {
          const double z = (at(n, r, c) - mean) / std::sqrt(variance + eps) * o.gamma[size_t(c)] + o.beta[size_t(c)];
          y[size_t((n * rows + r) * channels + c)] = silu_epilogue ? z / (1 + std::exp(-z)) : z;
        }
    }
  return y;
}

template <class T>
struct Setup {
  GroupNormInput<T, 4, Cpu> in;
  Tensor<float, 1> gamma, beta;
  Operands o;
  Setup(const Case& s, bool with_row) {
    const i64 channels = s.first + s.second;
    in.x = random_tensor<T>(Shape<4>(s.samples, s.height, s.width, s.first), 1, 1.f, 2.f);
    if (s.second) in.skip = random_tensor<T>(Shape<4>(s.samples, s.height, s.width, s.second), 2, -1.f);
    if (with_row) in.row = random_tensor<T>(Shape<2>(s.samples, channels), 3);
    gamma = random_tensor(Shape(channels), 4, 1.f), beta = random_tensor(Shape(channels), 5);
    o = {doubles(in.x), s.second ? doubles(in.skip) : std::vector<double>{},
         with_row ? doubles(in.row) : std::vector<double>(size_t(s.samples * channels)), doubles(gamma), doubles(beta)};
  }
};

template <class T>
void check_values() {
  for (const Case& s : cases)
    for (bool with_row : {false, true}) {
      const Setup<T> setup(s, with_row);
      const auto y = group_norm(epilogues::silu, setup.in, s.groups, float(eps), setup.gamma, setup.beta).y;
      BOOST_TEST(relative_error(y, reference(s, setup.o, true)) < 10 * epsilon<T>);
      const auto z = group_norm(identity, setup.in, s.groups, float(eps), setup.gamma, setup.beta).y;
      BOOST_TEST(relative_error(z, reference(s, setup.o, false)) < 10 * epsilon<T>);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(group_norm_op)

BOOST_AUTO_TEST_CASE(values) {
  check_values<float>();
  check_values<bf16>();
  check_values<f16>();
}

BOOST_AUTO_TEST_CASE(gradients) {
  for (const Case& s :
       {Case{1, 2, 3, 1, 0, 1}, cases[1], Case{2, 3, 2, 6, 0, 2}, Case{2, 2, 2, 5, 3, 2}, Case{1, 3, 1, 17, 0, 1}})
    for (bool with_row : {false, true}) {
      const Setup<float> setup(s, with_row);
      const Operands& o = setup.o;
      const auto result = group_norm(epilogues::silu, setup.in, s.groups, float(eps), setup.gamma, setup.beta);
      const auto weight = random_tensor(result.y.shape(), 9);
      const auto w = doubles(weight);
      const auto difference = [&](std::vector<double> Operands::*member) {
        return finite_differences(
            [&](const std::vector<double>& v) {
              Operands changed = o;
              changed.*member = v;
              return reference(s, changed, true);
            },
            o.*member, w);
      };
      const auto fx = difference(&Operands::x), fs = difference(&Operands::skip), fr = difference(&Operands::row);
      const auto fg = difference(&Operands::gamma), fb = difference(&Operands::beta);
      for (unsigned wanted = 0; wanted < 32; ++wanted) {
        GroupNormGradients<float, 4, Cpu> grads;
        if (wanted & 1) grads.x = Tensor<float, 4>(setup.in.x.shape());
        if ((wanted & 2) && s.second) grads.skip = Tensor<float, 4>(setup.in.skip.shape());
        if ((wanted & 4) && with_row) grads.row = Tensor<float, 2>(setup.in.row.shape());
        if (wanted & 8) grads.gamma = Tensor<float, 1>(setup.gamma.shape());
        if (wanted & 16) grads.beta = Tensor<float, 1>(setup.beta.shape());
        group_norm_backward(epilogues::silu, weight, setup.in, result.mean, result.rstd, setup.gamma, setup.beta, grads);
        if (grads.x.defined()) BOOST_TEST(relative_error(grads.x, fx) < 2e-5);
        if (grads.skip.defined()) BOOST_TEST(relative_error(grads.skip, fs) < 2e-5);
        // where each channel is a group, an added row changes nothing, and its gradient is rounding
        if (grads.row.defined() && s.groups != s.first) BOOST_TEST(relative_error(grads.row, fr) < 2e-5);
        if (grads.gamma.defined()) BOOST_TEST(relative_error(grads.gamma, fg) < 2e-5);
        if (grads.beta.defined()) BOOST_TEST(relative_error(grads.beta, fb) < 2e-5);
      }
    }
}

BOOST_AUTO_TEST_CASE(samples_do_not_depend_on_their_batch) {
  const Setup<float> setup({4, 5, 5, 24, 0, 8}, false);
  const auto all = group_norm(epilogues::silu, setup.in, 8, float(eps), setup.gamma, setup.beta).y;
  GroupNormInput<float, 4, Cpu> last{setup.in.x.slice(3, 4)};
  BOOST_TEST(same_bits(group_norm(epilogues::silu, last, 8, float(eps), setup.gamma, setup.beta).y, all.slice(3, 4)));
}

// More rows than are summed one by one, and offsets that leave few digits or none for the fraction of a mean: the mean to its
// last digit, deviations to four.
BOOST_AUTO_TEST_CASE(many_rows_and_values_far_from_zero) {
  for (i64 channels : {6, 512})
    for (float offset : {1.f, 1e5f, 1e6f, 1e7f}) {
      const i64 rows = channels == 6 ? 60 * 90 : 2100, groups = 2, per_group = channels / groups;
      const Tensor<float, 3> x({1, rows, channels});
      for (i64 i = 0; i < x.size(); ++i) x.data()[i] = offset + float(i % 7) * (i % channels < per_group ? 1.f : 2.f);
      const auto one = Tensor<float, 1>::full(Shape(channels), 1.f), zero = Tensor<float, 1>::zeros(Shape(channels));
      const auto got = group_norm(identity, GroupNormInput<float, 3, Cpu>{x}, groups, float(eps), one, zero);
      for (i64 g = 0; g < groups; ++g) {
        double mean = 0, variance = 0;
        const double n = double(rows * per_group);
        const auto each = [&](auto f) {
          for (i64 r = 0; r < rows; ++r)
            for (i64 c = g * per_group; c < (g + 1) * per_group; ++c) f(r * channels + c);
        };
        each([&](i64 i) { mean += double(x.data()[i]) / n; });
        each([&](i64 i) { variance += std::pow(double(x.data()[i]) - mean, 2) / n; });
        const double digit = std::nextafter(offset, 2 * offset) - offset, rstd = 1 / std::sqrt(variance + eps);
        const auto where = text(channels, " channels, offset ", offset, ", group ", g);
        BOOST_TEST(std::abs(got.mean.data()[g] - mean) <= std::max(digit, 1e-6), where);
        BOOST_TEST(std::abs(got.rstd.data()[g] / rstd - 1) < 1e-4, where);
        double worst = 0;
        each([&](i64 i) { worst = std::max(worst, std::abs(got.y.data()[i] - (double(x.data()[i]) - mean) * rstd)); });
        BOOST_TEST(worst < digit * rstd + 1e-3, where);
      }
    }
}

// All channels in the second part; no rows at all.
BOOST_AUTO_TEST_CASE(empty_parts) {
  const auto x = random_tensor(Shape(2, 3, 4), 1);
  const auto gamma = random_tensor(Shape(4), 2), beta = random_tensor(Shape(4), 3);
  const auto whole = group_norm(identity, GroupNormInput<float, 3, Cpu>{x}, 2, 1e-5f, gamma, beta);
  const auto second = group_norm(identity, GroupNormInput<float, 3, Cpu>{Tensor<float, 3>({2, 3, 0}), x}, 2, 1e-5f, gamma, beta);
  BOOST_TEST(second.y.to_vector() == whole.y.to_vector(), boost::test_tools::per_element());
  Tape tape;
  const auto none = variable(tape, Tensor<float, 3>({2, 0, 4}));
  const auto g = variable(tape, gamma), b = variable(tape, beta);
  backward(sum(group_norm(identity, none, Var<float, 3>(), Var<float, 2>(), 2, 1e-5f, g, b)));
  for (const auto& v : {g, b}) BOOST_TEST(v.gradient().to_vector() == std::vector<float>(4), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(bad_shapes_are_errors) {
  const GroupNormInput<float, 4, Cpu> in{Tensor<float, 4>::zeros({1, 2, 2, 8})};
  const auto row = Tensor<float, 1>::zeros(Shape(8)), short_row = Tensor<float, 1>::zeros(Shape(7));
  BOOST_CHECK_EXCEPTION(group_norm(identity, in, 3, 1e-5f, row, row), Error, [](const Error& e) {
    return std::string(e.what()).find("8 channels do not divide into 3 groups") != std::string::npos;
  });
  BOOST_CHECK_THROW(group_norm(identity, in, 2, 1e-5f, row, short_row), Error);
  const GroupNormInput<float, 4, Cpu> mismatched{in.x, Tensor<float, 4>::zeros({1, 2, 3, 8})};
  BOOST_CHECK_THROW(group_norm(identity, mismatched, 2, 1e-5f, row, row), Error);
}

BOOST_AUTO_TEST_SUITE_END()
