// Every case of tests/op_cases.hpp: value, gradient, emulated kernels, in f32 and bf16; and the support table made of the
// results, written to support.md in the build folder.
#include "tests/op_cases.hpp"

#include <mindgap/io/file.hpp>

#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// Worst errors of an op's cases.
struct Support {
  int cases = 0;
  double value_f32 = 0, gradient_f32 = 0, value_bf16 = 0, gradient_bf16 = 0, emulated = 0;
};
std::map<std::string, Support> support;

constexpr double gradient_tolerance = 3e-4, bf16_tolerance = 2e-2, emulated_tolerance = 2e-5;

// Every op of the library that a network may call on variables.
const std::set<std::string> ops{"conv2d",
                                "linear",
                                "linear_pair",
                                "matmul",
                                "attend",
                                "batch_norm",
                                "group_norm",
                                "layer_norm",
                                "max_pool2d",
                                "avg_pool2d",
                                "softmax",
                                "global_avg_pool",
                                "upsample_nearest",
                                "embedding",
                                "concat_channels",
                                "cross_entropy",
                                "mse_loss",
                                "pointwise",
                                "add",
                                "reshape",
                                "sum",
                                "mean"};

template <class Measure>
void check(const char* mode, double Support::*worst, Measure measure, double tolerance) {
  for (const OpCase& c : op_cases()) BOOST_TEST_CONTEXT(c.name()) {
      try {
        const double error = measure(c), allowed = tolerance >= 0 ? tolerance : c.tolerance;
        BOOST_TEST(error <= allowed, mode << ": " << error << " > " << allowed);
        support[c.op].*worst = std::max(support[c.op].*worst, error);
      } catch (const Error& error) {
        BOOST_ERROR(error.what());
      }
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(op_cases)

BOOST_AUTO_TEST_CASE(value_f32) {
  for (const OpCase& c : test::op_cases()) ++support[c.op].cases;
  check(
      "value in f32", &Support::value_f32, [](const OpCase& c) { return c.value_f32(); }, -1);
}
BOOST_AUTO_TEST_CASE(value_bf16) {
  check(
      "value in bf16", &Support::value_bf16, [](const OpCase& c) { return c.value_bf16(); }, bf16_tolerance);
}
BOOST_AUTO_TEST_CASE(gradient_f32) {
  check(
      "gradient in f32", &Support::gradient_f32, [](const OpCase& c) { return c.gradient_f32(); }, gradient_tolerance);
}
BOOST_AUTO_TEST_CASE(gradient_bf16) {
  check(
      "gradient in bf16", &Support::gradient_bf16, [](const OpCase& c) { return c.gradient_bf16(); }, bf16_tolerance);
}
// Block sizes as in emulate_cases().
BOOST_AUTO_TEST_CASE(emulated) {
  for (const auto& [threads, seed] : {std::pair(32, 0), std::pair(96, 1), std::pair(0, 2)})
    check(
        "emulated", &Support::emulated, [&](const OpCase& c) { return c.emulated(threads, u64(seed)); }, emulated_tolerance);
}

BOOST_AUTO_TEST_CASE(the_table_is_complete) {
  std::set<std::string> covered;
  for (const OpCase& c : test::op_cases()) {
    covered.insert(c.op);
    BOOST_TEST((c.value_f32 && c.value_bf16 && c.gradient_f32 && c.gradient_bf16 && c.emulated), c.name());
  }
  BOOST_TEST(covered == ops, boost::test_tools::per_element());

  if (support.size() < ops.size()) return;  // a single case was asked for
  std::ostringstream out;
  out << "# Ops on variables\n\nThe worst relative errors of this build's cases: value against loops in double, gradient against "
         "finite\n"
         "differences (f32) or against f32 (bf16), kernels of a GPU as the fiber executor runs them against the CPU's\n"
         "(the products of conv2d, linear, matmul and attend are the device library's).\n\n"
         "| op | cases | cpu f32 value | cpu f32 gradient | cpu bf16 value | cpu bf16 gradient | emulated f32, both |\n"
         "|---|---|---|---|---|---|---|\n";
  out << std::scientific << std::setprecision(0);
  for (const auto& [op, s] : support)
    out << "| " << op << " | " << s.cases << " | " << s.value_f32 << " | " << s.gradient_f32 << " | " << s.value_bf16 << " | "
        << s.gradient_bf16 << " | " << s.emulated << " |\n";
  BOOST_TEST_MESSAGE(out.str());
  const std::string table = out.str();
  write_file_atomic(std::filesystem::path(MINDGAP_APPS_DIR).parent_path() / "support.md", table);
}

BOOST_AUTO_TEST_SUITE_END()

// gradcheck itself.
BOOST_AUTO_TEST_SUITE(gradcheck)

BOOST_AUTO_TEST_CASE(a_wrong_gradient_is_found) {
  const auto x = random_tensor(Shape(3, 4), 1);
  // A value that the backward does not know of: the gradient of x * x by a tape that sees only one factor.
  BOOST_TEST(mindgap::gradcheck([](auto a) { return pointwise([](auto p, auto q) { return p * q; }, a, a.value()); }, x) > 0.4);
  BOOST_TEST(mindgap::gradcheck([](auto a) { return pointwise([](auto p, auto q) { return p * q; }, a, a); }, x) < 1e-5);
}
BOOST_AUTO_TEST_CASE(kinks_are_stepped_around) {
  const auto x = Tensor<float, 1>::from({0.01f, -0.003f, 0.02f, -0.5f}, Shape(4));
  BOOST_TEST(mindgap::gradcheck([](auto a) { return pointwise([](auto p) { return relu(p) * p + abs(p); }, a); }, x) < 1e-3);
}
BOOST_AUTO_TEST_CASE(no_dependence_is_an_error) {
  const auto x = random_tensor(Shape<1>(3), 1);
  BOOST_CHECK_THROW(mindgap::gradcheck([](auto a) { return constant(a.tape(), a.value()); }, x), Error);
}

BOOST_AUTO_TEST_SUITE_END()
