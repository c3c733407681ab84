// The norm kernels on fibers, as a GPU would run them, against the serial executor.
#include <mindgap/kernels/norm_batch.hpp>
#include <mindgap/kernels/norm_group.hpp>

#include <tests/emulate.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// rows and columns: narrow, ragged, several tiles of columns, several chunks of rows
const Shape<2> shapes[] = {{3, 1}, {50, 3}, {700, 16}, {33, 17}, {20, 520}};

template <class F, bool Sums, bool WriteX>
void emulate_reduce(F, Shape<2> shape) {
  const auto grad_y = random_tensor(shape, 1), x = random_tensor(shape, 2), y = random_tensor(shape, 3);
  const auto mean = random_tensor(Shape(x.cols()), 4), rstd = random_tensor(Shape(x.cols()), 5);
  const auto gamma = random_tensor(Shape(x.cols()), 6), beta = random_tensor(Shape(x.cols()), 7);
  const ColumnGrid grid = column_grid(x.rows(), x.cols());
  const auto sum = Tensor<float, 2>::zeros({grid.chunks, grid.cols}), product = sum.clone();
  const auto grad_x = Tensor<float, 2>::zeros(shape), grad_extra = grad_x.clone();
  const BatchNormParameters parameters{mean.data(), rstd.data(), gamma.data(), beta.data()};
  const BatchNormSaved<F, float, 1> saved{grad_y.data(), x.data(), y.data(), {{y.data()}}};
  emulate({grid.blocks()},
          BatchNormReduce<F, float, 1, Sums, WriteX>{
              sum.data(), product.data(), grad_x.data(), {{grad_extra.data()}}, saved, parameters, grid},
          1e-5, sum, product, grad_x, grad_extra);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(norm)

BOOST_AUTO_TEST_CASE(batch_moments) {
  for (const auto& shape : shapes) {
    const auto x = random_tensor(shape, 1, 2.f);
    const ColumnGrid grid = column_grid(x.rows(), x.cols());
    const auto mean = Tensor<float, 2>::zeros({grid.chunks, grid.cols}), square = mean.clone();
    emulate({grid.blocks()}, BatchMoments<float>{mean.data(), square.data(), x.data(), grid}, 1e-5, mean, square);

    const auto out_mean = Tensor<float, 1>::zeros(Shape(x.cols())), rstd = out_mean.clone();
    const auto running_mean = out_mean.clone(), running_variance = out_mean.clone();
    const auto positive = Tensor<float, 2>::full(mean.shape(), 1.5f);
    emulate({(grid.cols + 63) / 64},
            BatchStatistics{out_mean.data(), rstd.data(), running_mean.data(), running_variance.data(), mean.data(),
                            positive.data(), grid, 1e-5f, 0.1f},
            1e-6, out_mean, rstd, running_mean, running_variance);
  }
}

BOOST_AUTO_TEST_CASE(batch_apply) {
  using F = std::remove_const_t<decltype(relu_add)>;
  for (const auto& shape : shapes) {
    const auto x = random_tensor(shape, 1), residual = random_tensor(shape, 2), y = Tensor<float, 2>::zeros(shape);
    const auto mean = random_tensor(Shape(x.cols()), 4), rstd = random_tensor(Shape(x.cols()), 5);
    const ColumnGrid grid = column_grid(x.rows(), x.cols());
    const BatchNormParameters parameters{mean.data(), rstd.data(), rstd.data(), mean.data()};
    emulate({grid.blocks()}, BatchNormApply<F, float, 1>{y.data(), x.data(), {{residual.data()}}, parameters, grid}, 1e-6, y);
  }
}

BOOST_AUTO_TEST_CASE(batch_reduce) {
  constexpr auto gated = [](auto z, auto gate) { return silu(z) * gate; };
  for (const auto& shape : shapes) {
    emulate_reduce<std::remove_const_t<decltype(relu_add)>, true, false>(relu_add, shape);
    emulate_reduce<std::remove_const_t<decltype(gated)>, true, true>(gated, shape);
    emulate_reduce<std::remove_const_t<decltype(gated)>, false, true>(gated, shape);
  }
}

BOOST_AUTO_TEST_CASE(batch_backward) {
  using F = std::remove_const_t<decltype(tails::relu)>;
  for (const auto& shape : shapes) {
    const auto grad_y = random_tensor(shape, 1), x = random_tensor(shape, 2), grad_x = Tensor<float, 2>::zeros(shape);
    const auto mean = random_tensor(Shape(x.cols()), 4), rstd = random_tensor(Shape(x.cols()), 5);
    const ColumnGrid grid = column_grid(x.rows(), x.cols());
    const auto sum = random_tensor(Shape<2>(grid.chunks, grid.cols), 6),
               product = random_tensor(Shape<2>(grid.chunks, grid.cols), 7);
    const auto grad_gamma = Tensor<float, 1>::zeros(Shape(x.cols())), grad_beta = grad_gamma.clone();
    const auto mean_grad = grad_gamma.clone(), slope = grad_gamma.clone();
    emulate({(grid.cols + 63) / 64},
            BatchNormSums{grad_gamma.data(), grad_beta.data(), mean_grad.data(), slope.data(), rstd.data(), sum.data(),
                          product.data(), grid.rows, grid.cols, grid.chunks},
            1e-6, grad_gamma, grad_beta, mean_grad, slope);
    const BatchNormParameters parameters{mean.data(), rstd.data(), rstd.data(), mean.data()};
    emulate({grid.blocks()},
            BatchNormBackward<F, float, 0>{
                grad_x.data(), mean.data(), rstd.data(), {grad_y.data(), x.data(), nullptr, {}}, parameters, grid},
            1e-5, grad_x);
  }
}

BOOST_AUTO_TEST_CASE(group) {
  using F = std::remove_const_t<decltype(tails::silu)>;
  const GroupGrid grids[] = {group_grid(2, 9, 3, 0, 3), group_grid(3, 35, 16, 0, 4), group_grid(1, 6, 5, 3, 2),
                             group_grid(2, 4, 300, 0, 5)};
  for (const GroupGrid& grid : grids) {
    const i64 n = grid.samples * grid.rows;
    const auto x = random_tensor(Shape(n * grid.part_channels[0]), 1),
               skip = random_tensor(Shape(n * grid.part_channels[1] + 1), 2);
    const auto row = random_tensor(Shape(grid.samples * grid.channels), 3), grad_y = random_tensor(Shape(n * grid.channels), 6);
    const auto gamma = random_tensor(Shape(grid.channels), 4), beta = random_tensor(Shape(grid.channels), 5);
    const auto zeros = [](i64 size) { return Tensor<float, 1>::zeros(Shape(size)); };
    const auto y = zeros(n * grid.channels), mean = zeros(grid.samples * grid.groups), rstd = mean.clone();
    const GroupNorm<F, float> forward{y.data(),    mean.data(), rstd.data(), {x.data(), skip.data()}, row.data(), gamma.data(),
                                      beta.data(), 1e-5f,       grid};
    emulate({grid.samples}, forward, 1e-5, y, mean, rstd);
    run_serial({grid.samples}, forward);
    const auto grad_x = zeros(x.size()), grad_skip = zeros(skip.size()), grad_row = zeros(row.size());
    const auto grad_gamma = zeros(row.size()), grad_beta = zeros(row.size());
    emulate({grid.samples},
            GroupNormBackward<F, float, true>{{grad_x.data(), grad_skip.data()},
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
