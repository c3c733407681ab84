// Every case of tests/op_cases.hpp and op_cases_arrays.cpp: value, gradient, emulated kernels, in f32 and bf16; the support table
// made of the results, written to support.md in the build folder; and the index of ops, include/mindgap/README.md.
#include "tests/op_cases.hpp"

#include <mindgap/io/file.hpp>

#include "tests/op_index.hpp"
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

const std::vector<OpCase>& all_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> both = op_cases();
    for (OpCase& c : array_op_cases()) both.push_back(std::move(c));
    return both;
  }();
  return cases;
}

const std::filesystem::path library = std::filesystem::path(MINDGAP_SOURCE_DIR) / "include/mindgap",
                            build_folder = std::filesystem::path(MINDGAP_APPS_DIR).parent_path();

template <class Measure>
void check(const char* mode, double Support::*worst, Measure measure, double tolerance) {
  for (const OpCase& c : all_cases()) BOOST_TEST_CONTEXT(c.name()) {
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
  for (const OpCase& c : all_cases()) ++support[c.op].cases;
  check(
      "value in f32", &Support::value_f32, [](const OpCase& c) { return c.value(Way::f32); }, -1);
}
BOOST_AUTO_TEST_CASE(value_bf16) {
  check(
      "value in bf16", &Support::value_bf16, [](const OpCase& c) { return c.value(Way::bf16); }, bf16_tolerance);
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
  std::set<std::string> covered, ops;
  for (const OpDoc& doc : op_docs()) ops.insert(doc.op);
  for (const OpCase& c : all_cases()) {
    covered.insert(c.op);
    BOOST_TEST((c.run && c.gradient_f32 && c.reference), c.name());
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
  write_file_atomic(build_folder / "support.md", table);
}

// The header that an op names has it; every function of the headers that gives a variable is an op, and has a comment: its
// paragraph begins with one.
BOOST_AUTO_TEST_CASE(the_index_is_complete) {
  std::set<std::string> ops{"variable", "constant", "detach"}, parts{"convolved", "summed", "summed_axes"};  // of ops
  for (const OpDoc& doc : op_docs()) {
    ops.insert(doc.op);
    const std::string header = read_file(library / "autograd" / doc.header);
    BOOST_TEST(header.find(" " + doc.op + "(") != std::string::npos, doc.op << " is not in " << doc.header);
  }
  for (const auto& entry : std::filesystem::directory_iterator(library / "autograd")) {
    std::istringstream lines(read_file(entry.path()));
    for (std::string line, paragraph; std::getline(lines, line);) {
      if (paragraph.empty() || line.empty()) paragraph = line;
      if (!line.starts_with("Var<") || line.find('(') == std::string::npos) continue;
      const std::string head = line.substr(0, line.find('(')), name = head.substr(head.rfind(' ') + 1);
      BOOST_TEST((ops.contains(name) || parts.contains(name)),
                 name << " in " << entry.path().filename() << " is not in the index");
      BOOST_TEST((parts.contains(name) || paragraph.starts_with("//")),
                 name << " in " << entry.path().filename() << " has no comment");
    }
  }
}
BOOST_AUTO_TEST_CASE(the_index_is_up_to_date) {
  std::map<std::string, int> count;
  for (const OpCase& c : all_cases()) ++count[c.op];
  const std::string page = op_index(count);
  const std::filesystem::path committed = library / "README.md", made = build_folder / "ops.md";
  write_file_atomic(made, page);
  BOOST_TEST((std::filesystem::exists(committed) && read_file(committed) == page),
             "the ops have changed: cp " << made.string() << " " << committed.string());
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
