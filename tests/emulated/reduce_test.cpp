// Sums over rows on fibers: the kernels with chunks and tiles, and the ways that reduce_rows takes.
#include <mindgap/kernels/reduce.hpp>

#include "tests/emulate.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

template <class TO, class T>
void emulate_reduce(i64 outer, i64 rows, i64 cols, i64 chunks, i64 tiles, double tolerance) {
  const auto x = random_tensor<T>(Shape(outer, rows, cols), 1);
  const Tensor<TO, 3> out{Shape(outer, chunks, cols)};
  emulate({outer * chunks * tiles}, kernel::ReduceRows<TO, T>{out.data(), x.data(), rows, cols, 0.5f, chunks, tiles}, tolerance,
          out);
}

template <class T>
void compare_reduce_rows(i64 outer, i64 rows, i64 cols) {
  const auto x = random_tensor<T>(Shape(outer, rows, cols), 1);
  const Tensor<float, 2> expected{Shape(outer, cols)}, sums{Shape(outer, cols)};
  kernel::reduce_rows<Cpu>(expected.data(), static_cast<const T*>(x.data()), outer, rows, cols, 0.1f);
  kernel::reduce_rows<Emulated>(sums.data(), static_cast<const T*>(x.data()), outer, rows, cols, 0.1f);
  BOOST_TEST(largest_difference(outputs(sums), outputs(expected)) <= 1e-4);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reduce)

BOOST_AUTO_TEST_CASE(reduce_rows_kernel) {
  emulate_reduce<float, float>(3, 41, 17, 1, 1, 1e-5);
  emulate_reduce<bf16, bf16>(2, 50, 72, 3, 2, 0.02);
  emulate_reduce<float, bf16>(1, 130, 1100, 2, 1, 1e-5);
  emulate_reduce<float, float>(2, 0, 4, 1, 1, 0.);
  emulate_reduce<float, float>(1, 5000, 3, 1, 1, 1e-3);  // longer than what is added in f32 alone
}

BOOST_AUTO_TEST_CASE(sum_all) {
  for (i64 n : {1, 5, 2064, 5001, 300000}) {
    const auto x = random_tensor<float>(Shape(2, n), 1);
    const Tensor<float, 1> out{Shape<1>{2}};
    const double tolerance = n > 2064 ? 4e-5 : 1e-5;  // what many numbers of both signs lose of their small sum
    emulate({2}, kernel::SumAll<float, float>{out.data(), x.data(), n, 0.1f}, tolerance, out);
  }
}

BOOST_AUTO_TEST_CASE(in_one_and_two_passes) {
  compare_reduce_rows<float>(1, 1000, 37);
  compare_reduce_rows<bf16>(2, 300, 64);
  compare_reduce_rows<bf16>(5, 49, 700);
}

BOOST_AUTO_TEST_SUITE_END()
