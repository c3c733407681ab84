// The device cases of linear.hpp on the GPU: cuDNN and cuBLAS against the CPU. The table of plans survives a round trip.
#include <mindgap/cuda/library.hpp>

#include "tests/cuda/parity.hpp"
#include "tests/device_cases/linear.hpp"

using namespace mindgap;

BOOST_AUTO_TEST_SUITE(linear)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) { compare_with_cpu(test::linear_cases<Cpu>(), test::linear_cases<Cuda>()); }

BOOST_AUTO_TEST_CASE(plans_are_kept) {
  test::convolution<Cuda, float>(Shape(2, 8, 8, 16), 16, 3, 1);
  const std::string table = cuda::plan_table();
  BOOST_TEST(table.find("forward f32 f32 full 2 8 8 16 16 3 3 1 1 1 1") != table.npos, table);
  BOOST_TEST(cuda::read_plan_table(table) > 0);
  BOOST_TEST(cuda::read_plan_table("card of another name\n0 forward\n") == 0);
}

// The same bits in two runs: nondeterministic engines are passed over.
BOOST_AUTO_TEST_CASE(repeats) {
  const auto run = [] { return test::convolution<Cuda, bf16>(Shape(64, 28, 28, 16), 32, 3, 1); };
  BOOST_TEST(test::largest_difference(run(), run()) == 0.);
}

BOOST_AUTO_TEST_SUITE_END()
