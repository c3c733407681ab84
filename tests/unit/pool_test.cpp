// Max, average and global average pooling against plain loops; gradients by finite differences (the ops are piecewise
// linear, so these are exact up to rounding away from ties).
#include <mindgap/ops/pool.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

struct Case {
  Shape<4> shape;
  i64 kernel, stride, padding;
};
const Case cases[] = {{{1, 1, 1, 1}, 1, 1, 0}, {{1, 8, 8, 16}, 3, 2, 1}, {{1, 7, 5, 3}, 3, 2, 1},   {{1, 6, 6, 17}, 2, 2, 0},
                      {{2, 5, 7, 2}, 2, 3, 1}, {{1, 4, 4, 5}, 3, 1, 1},  {{1, 17, 11, 1}, 16, 3, 8}};

struct Extents {
  i64 out_h, out_w;
  explicit Extents(const Case& s)
      : out_h((s.shape[1] + 2 * s.padding - s.kernel) / s.stride + 1),
        out_w((s.shape[2] + 2 * s.padding - s.kernel) / s.stride + 1) {}
};

// fold(values of the window inside the image, window size) -> one value
template <class Fold>
std::vector<double> windows(const Case& s, const std::vector<double>& x, Fold fold) {
  const Extents e(s);
  std::vector<double> y;
  for (i64 n = 0; n < s.shape[0]; ++n)
    for (i64 oi = 0; oi < e.out_h; ++oi)
      for (i64 oj = 0; oj < e.out_w; ++oj)
        for (i64 c = 0; c < s.shape[3]; ++c) {
          std::vector<double> inside;
          for (i64 i = oi * s.stride - s.padding; i < oi * s.stride - s.padding + s.kernel; ++i)
            for (i64 j = oj * s.stride - s.padding; j < oj * s.stride - s.padding + s.kernel; ++j)
              if (i >= 0 && j >= 0 && i < s.shape[1] && j < s.shape[2])
                inside.push_back(x[size_t(((n * s.shape[1] + i) * s.shape[2] + j) * s.shape[3] + c)]);
          y.push_back(fold(inside));
        }
  return y;
}
std::vector<double> max_reference(const Case& s, const std::vector<double>& x) {
  return windows(s, x, [](const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); });
}
std::vector<double> average_reference(const Case& s, const std::vector<double>& x) {
  return windows(s, x, [&](const std::vector<double>& v) {
    double sum = 0;
    for (double value : v) sum += value;
    return sum / double(s.kernel * s.kernel);
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool)

BOOST_AUTO_TEST_CASE(max_pool) {
  for (const Case& s : cases) {
    const auto x = random_tensor(s.shape, 1);
    const auto [y, index] = max_pool2d_with_index(x, s.kernel, s.stride, s.padding);
    BOOST_TEST(relative_error(y, max_reference(s, doubles(x))) == 0.);
    BOOST_TEST(same_bits(y, max_pool2d(x, s.kernel, s.stride, s.padding)));
    BOOST_TEST(index.bytes() == y.size());
    const auto rounded = random_tensor<bf16>(s.shape, 1);
    BOOST_TEST(relative_error(max_pool2d(rounded, s.kernel, s.stride, s.padding), max_reference(s, doubles(rounded))) == 0.);
    const auto weight = random_tensor(y.shape(), 2);
    Tensor<float, 4> grad(s.shape);
    max_pool2d_backward(grad, weight, index, s.kernel, s.stride, s.padding);
    BOOST_TEST(relative_error(
                   grad, finite_differences([&](auto& v) { return max_reference(s, v); }, doubles(x), doubles(weight))) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(max_pool_ties_go_to_the_first_and_nan_wins) {
  const auto flat = Tensor<float, 4>::full({1, 2, 2, 1}, 3.f);
  BOOST_TEST(max_pool2d_with_index(flat, 2, 2, 0).index.item() == 0);
  const auto lowest = Tensor<float, 4>::full({1, 2, 2, 1}, -INFINITY);
  BOOST_TEST(max_pool2d_with_index(lowest, 2, 2, 0).index.item() == 0);
  const auto with_nan = Tensor<float, 4>::from({1.f, NAN, 5.f, 2.f}, {1, 2, 2, 1});
  const auto result = max_pool2d_with_index(with_nan, 2, 2, 0);
  BOOST_TEST(std::isnan(result.y.item()));
  BOOST_TEST(result.index.item() == 1);
}

// Of the whole window, also where a part of it is padding.
BOOST_AUTO_TEST_CASE(max_pool_index_is_the_place_in_the_window) {
  const auto x = Tensor<float, 4>::from({1.f, 2.f, 3.f, 4.f, 9.f, 5.f, 6.f, 7.f, 8.f}, {1, 3, 3, 1});
  const auto index = max_pool2d_with_index(x, 3, 2, 1).index.to_vector();
  BOOST_TEST((std::vector<i64>(index.begin(), index.end()) == std::vector<i64>{8, 6, 2, 0}));
}

BOOST_AUTO_TEST_CASE(a_place_is_a_byte) {
  const auto x = random_tensor(Shape<4>(1, 17, 17, 1), 1);
  BOOST_TEST(max_pool2d(x, 17, 1, 0).size() == 1);
  BOOST_CHECK_EXCEPTION(max_pool2d_with_index(x, 17, 1, 0), Error, [](const Error& error) {
    const std::string said = error.what();
    return said.find("a window of 17 x 17") != said.npos && said.find("a kernel of at most 16") != said.npos;
  });
}

BOOST_AUTO_TEST_CASE(average_pool) {
  for (const Case& s : cases) {
    const auto x = random_tensor(s.shape, 1);
    const auto y = avg_pool2d(x, s.kernel, s.stride, s.padding);
    BOOST_TEST(relative_error(y, average_reference(s, doubles(x))) < 1e-6);
    const auto weight = random_tensor(y.shape(), 2);
    Tensor<float, 4> grad(s.shape);
    avg_pool2d_backward(grad, weight, s.kernel, s.stride, s.padding);
    BOOST_TEST(relative_error(grad, finite_differences([&](auto& v) { return average_reference(s, v); }, doubles(x),
                                                       doubles(weight))) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(global_average) {
  for (const Case& s : cases) {
    const auto x = random_tensor<bf16>(s.shape, 1);
    const i64 positions = s.shape[1] * s.shape[2], channels = s.shape[3];
    const auto xd = doubles(x);
    std::vector<double> expected(size_t(s.shape[0] * channels)), spread(xd.size());
    const auto grad_y = random_tensor<bf16>(Shape<2>(s.shape[0], channels), 2);
    const auto gd = doubles(grad_y);
    for (i64 i = 0; i < x.size(); ++i) {
      const size_t at = size_t(i / (positions * channels) * channels + i % channels);
      expected[at] += xd[size_t(i)] / double(positions);
      spread[size_t(i)] = gd[at] / double(positions);
    }
    BOOST_TEST(relative_error(global_avg_pool(x), expected) < epsilon<bf16>);
    Tensor<bf16, 4> grad(s.shape);
    global_avg_pool_backward(grad, grad_y);
    BOOST_TEST(relative_error(grad, spread) < epsilon<bf16>);
  }
}

// A stride beyond the image leaves one window; numbers that do not fit 32 bits were cut to them.
BOOST_AUTO_TEST_CASE(large_numbers) {
  const auto x = random_tensor(Shape<4>(1, 3, 4, 1), 1);
  for (i64 stride : {i64(4), i64(1) << 31, i64(1) << 40, i64(1) << 62}) {
    const auto indexed = max_pool2d_with_index(x, 3, stride, 0);
    BOOST_TEST((indexed.y.shape() == Shape(1, 1, 1, 1)));
    BOOST_TEST(indexed.y.item() == max_pool2d(x, 3, 4, 0).item());
    Tensor<float, 4> grad(x.shape()), expected(x.shape());
    max_pool2d_backward(grad, Tensor<float, 4>::full(Shape(1, 1, 1, 1), 1.f), indexed.index, 3, stride, 0);
    max_pool2d_backward(expected, Tensor<float, 4>::full(Shape(1, 1, 1, 1), 1.f), indexed.index, 3, 4, 0);
    BOOST_TEST(same_bits(grad, expected));
    avg_pool2d_backward(grad, Tensor<float, 4>::full(Shape(1, 1, 1, 1), 9.f), 3, stride, 0);
    for (i64 i = 0; i < 12; ++i) BOOST_TEST(grad.data()[i] == (i % 4 < 3 ? 1.f : 0.f));
  }
  for (i64 kernel : {(i64(1) << 32) + 1, i64(1) << 62}) {
    const auto too_large = [](const Error& e) { return std::string(e.what()).find("are too large") != std::string::npos; };
    BOOST_CHECK_EXCEPTION(avg_pool2d(x, kernel, kernel, kernel / 2), Error, too_large);
    BOOST_CHECK_EXCEPTION(max_pool2d(x, kernel, 1, kernel / 2), Error, too_large);
  }
  BOOST_CHECK_THROW(avg_pool2d(x, 2, 1, i64(1) << 62), Error);
}

BOOST_AUTO_TEST_CASE(impossible_windows_are_errors) {
  const auto x = Tensor<float, 4>::zeros({1, 2, 2, 1});
  BOOST_CHECK_THROW(max_pool2d(x, 3, 1, 0), Error);
  BOOST_CHECK_THROW(max_pool2d(x, 2, 0, 0), Error);
  BOOST_CHECK_THROW(avg_pool2d(x, 2, 1, 2), Error);
  BOOST_CHECK_THROW(global_avg_pool(Tensor<float, 4>::zeros({1, 0, 2, 1})), Error);
}

BOOST_AUTO_TEST_SUITE_END()
