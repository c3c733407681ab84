// The norm kernels on fibers, as a GPU would run them, against the serial executor.
#include <mindgap/kernels/norm_batch_backward.hpp>
#include <mindgap/kernels/norm_group.hpp>
#include <mindgap/kernels/norm_layer.hpp>

#include <tests/emulate.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// rows and columns: narrow, ragged, several tiles of columns, several chunks of rows
const Shape<2> shapes[] = {{3, 1}, {50, 3}, {700, 16}, {33, 17}, {20, 520}, {70, 264}};

// Calls f(x's shape, grid, first) for every shape under the CPU's and a team's grid; the data lie `first` elements behind a
// multiple of 16 bytes.
void for_layouts(const std::function<void(Shape<2>, const kernel::ColumnGrid&, i64)>& f) {
  for (const auto& shape : shapes)
    for (const kernel::ColumnGrid& grid : {kernel::column_grid(shape[0], shape[1]), kernel::team_grid(shape[0], shape[1])})
      for (i64 first : {0, 1}) f(shape, grid, first);
}
template <class T = float>
Tensor<T, 1> values(Shape<2> shape, i64 first, u64 id, float mean = 0.f, float deviation = 1.f) {
  return random_tensor<T>(Shape<1>{shape[0] * shape[1] + first}, id, mean, deviation);
}
Tensor<float, 1> row(const kernel::ColumnGrid& grid, u64 id) { return random_tensor(Shape<1>{grid.cols}, id); }

template <class T, bool Sums, bool WriteX, class F>
void emulate_reduce(F) {
  for_layouts([](Shape<2> shape, const kernel::ColumnGrid& grid, i64 first) {
    // Small enough that sums over all rows are of order one.
    const auto grad_y = values<T>(shape, first, 1, 0.f, 1.f / std::sqrt(float(shape[0])));
    const auto x = values<T>(shape, first, 2), y = values<T>(shape, first, 3);
    const auto mean = row(grid, 4), rstd = row(grid, 5), gamma = row(grid, 6), beta = row(grid, 7);
    const auto sum = Tensor<float, 2>::zeros({grid.chunks, grid.cols}), product = sum.clone();
    const auto grad_x = Tensor<T, 1>::zeros(x.shape()), grad_extra = grad_x.clone();
    const kernel::BatchNormParameters parameters{mean.data(), rstd.data(), gamma.data(), beta.data()};
    const kernel::BatchNormSaved<F, T, 1> saved{grad_y.data() + first, x.data() + first, y.data() + first, {{y.data() + first}}};
    emulate({grid.blocks()},
            kernel::BatchNormReduce<F, T, 1, Sums, WriteX>{
                sum.data(), product.data(), grad_x.data() + first, {{grad_extra.data() + first}}, saved, parameters, grid},
            std::is_same_v<T, float> ? 1e-5 : 1e-2, sum, product, grad_x, grad_extra);
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(norm)

BOOST_AUTO_TEST_CASE(batch_moments) {
  for_layouts([](Shape<2> shape, const kernel::ColumnGrid& grid, i64 first) {
    const auto x = values(shape, first, 1, 2.f);
    const auto mean = Tensor<float, 2>::zeros({grid.chunks, grid.cols}), square = mean.clone();
    emulate({grid.blocks()}, kernel::BatchMoments<float>{mean.data(), square.data(), x.data() + first, grid}, 1e-5, mean, square);

    const auto out_mean = Tensor<float, 1>::zeros(Shape<1>{grid.cols}), rstd = out_mean.clone();
    const auto running_mean = out_mean.clone(), running_variance = out_mean.clone();
    const auto positive = Tensor<float, 2>::full(mean.shape(), 1.5f);
    emulate({kernel::column_groups(grid.cols)},
            kernel::BatchStatistics{out_mean.data(), rstd.data(), running_mean.data(), running_variance.data(), mean.data(),
                                    positive.data(), grid, 1e-5f, 0.1f},
            1e-6, out_mean, rstd, running_mean, running_variance);
  });
}

BOOST_AUTO_TEST_CASE(moments_of_sums) {
  const i64 rows = 50, cols = 300;
  const auto x = random_tensor(Shape(rows, cols), 1, 0.5f);
  const auto mean = Tensor<float, 1>::zeros(Shape<1>{cols}), square = mean.clone();
  std::vector<double> exact_mean(300), exact_square(300);
  for (i64 i = 0; i < x.size(); ++i) {
    const float value = x.data()[i];
    mean.data()[i % cols] += value, square.data()[i % cols] += value * value;
    exact_mean[size_t(i % cols)] += value / double(rows);
  }
  for (i64 i = 0; i < x.size(); ++i) exact_square[size_t(i % cols)] += std::pow(x.data()[i] - exact_mean[size_t(i % cols)], 2);
  const kernel::MomentsOfSums kernel{mean.data(), square.data(), rows, cols};
  emulate({2}, kernel, 1e-6, mean, square);
  run_serial({2}, kernel);
  for (i64 c = 0; c < cols; ++c) {
    BOOST_TEST(std::abs(mean.data()[c] - exact_mean[size_t(c)]) < 1e-6);
    BOOST_TEST(std::abs(square.data()[c] - exact_square[size_t(c)]) < 1e-4);
  }
}

// A mean far above the deviation, and an outlier in the row that a team starts from: what one pass of sums of squares gets wrong.
BOOST_AUTO_TEST_CASE(batch_moments_far_from_zero) {
  const kernel::ColumnGrid grid = kernel::team_grid(2000, 2);
  const auto x = random_tensor(Shape<2>(2000, 2), 7, 1000.f, 0.01f);
  x.data()[2 * 1999 + 1] = 1010.f;
  const auto mean = Tensor<float, 2>::zeros({1, 2}), square = mean.clone();
  run_fibers({grid.blocks()}, kernel::BatchMoments<float>{mean.data(), square.data(), x.data(), grid});
  for (i64 c : {0, 1}) {
    const double pivot = x.data()[2 * 1999 + c];
    double exact_mean = 0, exact_square = 0, square_about_pivot = 0;
    for (i64 r = 0; r < 2000; ++r) exact_mean += x.data()[2 * r + c] / 2000.;
    for (i64 r = 0; r < 2000; ++r) exact_square += std::pow(x.data()[2 * r + c] - exact_mean, 2);
    for (i64 r = 0; r < 2000; ++r) square_about_pivot += std::pow(x.data()[2 * r + c] - pivot, 2);
    BOOST_TEST(std::abs(mean.data()[c] - exact_mean) < 1e-4);
    // An element passes through fewer than 200 roundings, of its thread's rows and then of the slices, up as often as down: two
    // deviations of their sum.
    BOOST_TEST(std::abs(square.data()[c] - exact_square) < 2 * std::sqrt(200.) * std::ldexp(square_about_pivot, -24));
  }
}

// The moments and rows of layouts that are corrected for the rounding of their mean, on fibers as by one thread.
BOOST_AUTO_TEST_CASE(far_from_zero) {
  for_layouts([](Shape<2> shape, const kernel::ColumnGrid& grid, i64 first) {
    const auto x = values(shape, first, 1, 1e5f);
    const auto mean = Tensor<float, 2>::zeros({grid.chunks, grid.cols}), square = mean.clone();
    const kernel::BatchMoments<float> kernel{mean.data(), square.data(), x.data() + first, grid, 1e-5f};
    emulate({grid.blocks()}, kernel, 1e-3, mean, square);
  });
  for (i64 cols : {5, 64, 700, 5000}) {
    const i64 rows = 5;
    const auto x = random_tensor(Shape(rows, cols), 3, 1e6f, 3.f), y = x.clone();
    const auto mean = Tensor<float, 1>::zeros(Shape(rows)), rstd = mean.clone();
    const auto gamma = Tensor<float, 1>::full(Shape(cols), 1.f), beta = Tensor<float, 1>::zeros(Shape(cols));
    const kernel::RowTeams teams = kernel::row_teams<float>(rows, cols);
    const kernel::LayerNorm<float> kernel{y.data(), mean.data(), rstd.data(), x.data(), gamma.data(), beta.data(), teams, 1e-5f};
    emulate(teams.grid(), kernel, 1e-4, mean, rstd);
    const kernel::LayerNorm<float> whole{y.data(), mean.data(), rstd.data(), x.data(), gamma.data(), beta.data(), teams, 1e-5f};
    emulate(teams.grid(), whole, 0.03, y);  // the mean's last digit is 1/16, deviations are 3
  }
}

BOOST_AUTO_TEST_CASE(batch_apply) {
  using F = std::remove_const_t<decltype(relu_add)>;
  for_layouts([](Shape<2> shape, const kernel::ColumnGrid& grid, i64 first) {
    const auto x = values(shape, first, 1), residual = values(shape, first, 2), y = Tensor<float, 1>::zeros(x.shape());
    const auto mean = row(grid, 4), rstd = row(grid, 5);
    const kernel::BatchNormParameters parameters{mean.data(), rstd.data(), rstd.data(), mean.data()};
    emulate(
        {grid.blocks()},
        kernel::BatchNormApply<F, float, 1>{y.data() + first, x.data() + first, {{residual.data() + first}}, parameters, grid},
        1e-6, y);
  });
}

BOOST_AUTO_TEST_CASE(batch_reduce) {
  constexpr auto gated = [](auto z, auto gate) { return silu(z) * gate; };
  emulate_reduce<float, true, false>(relu_add);
  emulate_reduce<bf16, true, false>(relu_add);
  emulate_reduce<float, true, true>(gated);
  emulate_reduce<float, false, true>(gated);
}

BOOST_AUTO_TEST_CASE(batch_backward) {
  using F = std::remove_const_t<decltype(epilogues::relu)>;
  for_layouts([](Shape<2> shape, const kernel::ColumnGrid& grid, i64 first) {
    const auto grad_y = values(shape, first, 1), x = values(shape, first, 2), grad_x = Tensor<float, 1>::zeros(x.shape());
    const auto mean = row(grid, 4), rstd = row(grid, 5);
    const auto sum = random_tensor(Shape<2>(grid.chunks, grid.cols), 6),
               product = random_tensor(Shape<2>(grid.chunks, grid.cols), 7);
    const auto grad_gamma = Tensor<float, 1>::zeros(Shape<1>{grid.cols}), grad_beta = grad_gamma.clone();
    const auto mean_grad = grad_gamma.clone(), slope = grad_gamma.clone();
    emulate({kernel::column_groups(grid.cols)},
            kernel::BatchNormSums{grad_gamma.data(), grad_beta.data(), mean_grad.data(), slope.data(), rstd.data(), sum.data(),
                                  product.data(), grid.rows, grid.cols, grid.chunks},
            1e-6, grad_gamma, grad_beta, mean_grad, slope);
    const kernel::BatchNormParameters parameters{mean.data(), rstd.data(), rstd.data(), mean.data()};
    emulate({grid.blocks()},
            kernel::BatchNormBackward<F, float, 0>{grad_x.data() + first,
                                                   mean.data(),
                                                   rstd.data(),
                                                   {grad_y.data() + first, x.data() + first, nullptr, {}},
                                                   parameters,
                                                   grid},
            1e-5, grad_x);
  });
}

BOOST_AUTO_TEST_CASE(group) {
  using F = std::remove_const_t<decltype(epilogues::silu)>;
  const kernel::GroupGrid grids[] = {kernel::group_grid(2, 9, 3, 0, 3), kernel::group_grid(3, 35, 16, 0, 4),
                                     kernel::group_grid(1, 6, 5, 3, 2), kernel::group_grid(2, 4, 300, 0, 5)};
  for (const kernel::GroupGrid& grid : grids) {
    const i64 n = grid.samples * grid.rows;
    const auto x = random_tensor(Shape(n * grid.part_channels[0]), 1),
               skip = random_tensor(Shape(n * grid.part_channels[1] + 1), 2);
    const auto row = random_tensor(Shape(grid.samples * grid.channels), 3), grad_y = random_tensor(Shape(n * grid.channels), 6);
    const auto gamma = random_tensor(Shape(grid.channels), 4), beta = random_tensor(Shape(grid.channels), 5);
    const auto zeros = [](i64 size) { return Tensor<float, 1>::zeros(Shape(size)); };
    const auto y = zeros(n * grid.channels), mean = zeros(grid.samples * grid.groups), rstd = mean.clone();
    const kernel::GroupNorm<F, float> forward{
        y.data(), mean.data(), rstd.data(), {x.data(), skip.data()}, row.data(), gamma.data(), beta.data(), 1e-5f, grid};
    emulate({grid.samples}, forward, 1e-5, y, mean, rstd);
    run_serial({grid.samples}, forward);
    const auto grad_x = zeros(x.size()), grad_skip = zeros(skip.size()), grad_row = zeros(row.size());
    const auto grad_gamma = zeros(row.size()), grad_beta = zeros(row.size());
    emulate({grid.samples},
            kernel::GroupNormBackward<F, float, true>{{grad_x.data(), grad_skip.data()},
                                                      grad_row.data(),
                                                      grad_gamma.data(),
                                                      grad_beta.data(),
                                                      grad_y.data(),
                                                      {x.data(), skip.data()},
                                                      row.data(),
                                                      mean.data(),
                                                      rstd.data(),
                                                      gamma.data(),
                                                      beta.data(),
                                                      grid},
            2e-5, grad_x, grad_skip, grad_row, grad_gamma, grad_beta);
  }
}

BOOST_AUTO_TEST_SUITE_END()
