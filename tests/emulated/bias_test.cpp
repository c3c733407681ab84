// Adding a bias to rows with gaps, and converting element types, on fibers.
#include <mindgap/kernels/bias.hpp>

#include "tests/emulate.hpp"

using namespace mindgap;

BOOST_AUTO_TEST_SUITE(bias)

BOOST_AUTO_TEST_CASE(add_bias) {
  const i64 rows = 37, cols = 10, stride = 13;
  const auto y = test::random_tensor<bf16>(Shape(rows, stride), 1);
  const auto row = test::random_tensor<float>(Shape(cols), 2);
  const auto before = y.clone();
  const Grid grid{(rows + kernel::bias_rows_per_block - 1) / kernel::bias_rows_per_block};
  const kernel::AddBias<bf16> kernel{y.data(), row.data(), rows, cols, stride};
  emulate(grid, kernel, 0., y);
  run_serial(grid, kernel);
  for (i64 r = 0; r < rows; ++r)
    for (i64 c = 0; c < stride; ++c) {
      const float old = float(before.data()[r * stride + c]), wanted = c < cols ? float(bf16(old + row.data()[c])) : old;
      BOOST_TEST(float(y.data()[r * stride + c]) == wanted);
    }
}

BOOST_AUTO_TEST_CASE(convert) {
  const i64 n = 2 * kernel::Convert<float, bf16>::per_block + 5;
  const auto x = test::random_tensor<float>(Shape(n), 1);
  const Tensor<bf16, 1> narrow{Shape(n)};
  const Tensor<float, 1> wide{Shape(n)};
  const kernel::Convert<bf16, float> round{narrow.data(), x.data(), n};
  const kernel::Convert<float, bf16> widen{wide.data(), narrow.data(), n};
  emulate({3}, round, 0., narrow);
  run_serial({3}, round);
  emulate({3}, widen, 0., wide);
  run_serial({3}, widen);
  for (i64 i = 0; i < n; ++i) BOOST_TEST(wide.data()[i] == float(bf16(x.data()[i])));
}

BOOST_AUTO_TEST_SUITE_END()
