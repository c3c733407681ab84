// Nearest-neighbour resizing and channel concatenation, with their gradients.
#include <mindgap/ops/concat.hpp>
#include <mindgap/ops/resize.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

struct Case {
  Shape<4> shape;
  i64 height, width;
};
// twice, odd sizes (7 from 4, as a U-Net on 28 pixels needs), smaller, the same
const Case cases[] = {{{2, 4, 4, 16}, 8, 8}, {{1, 4, 4, 3}, 7, 7}, {{1, 3, 5, 17}, 10, 6},
                      {{2, 7, 7, 1}, 3, 2},  {{1, 2, 2, 5}, 2, 2}, {{1, 1, 1, 1}, 3, 1}};

std::vector<double> nearest(const Case& s, const std::vector<double>& x) {
  std::vector<double> y;
  for (i64 n = 0; n < s.shape[0]; ++n)
    for (i64 i = 0; i < s.height; ++i)
      for (i64 j = 0; j < s.width; ++j)
        for (i64 c = 0; c < s.shape[3]; ++c) {
          const i64 si = i * s.shape[1] / s.height, sj = j * s.shape[2] / s.width;
          y.push_back(x[size_t(((n * s.shape[1] + si) * s.shape[2] + sj) * s.shape[3] + c)]);
        }
  return y;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resize)

BOOST_AUTO_TEST_CASE(nearest_values_and_gradients) {
  for (const Case& s : cases) {
    const auto x = random_tensor(s.shape, 1);
    const auto y = upsample_nearest(x, s.height, s.width);
    BOOST_TEST(relative_error(y, nearest(s, doubles(x))) == 0.);
    const auto weight = random_tensor(y.shape(), 2);
    Tensor<float, 4> grad(s.shape);
    upsample_nearest_backward(grad, weight);
    BOOST_TEST(relative_error(grad, finite_differences([&](auto& v) { return nearest(s, v); }, doubles(x), doubles(weight))) <
               1e-6);
  }
  BOOST_CHECK_THROW(upsample_nearest(Tensor<float, 4>::zeros({1, 0, 2, 1}), 2, 2), Error);
  BOOST_CHECK_THROW(upsample_nearest(Tensor<float, 4>::zeros({1, 2, 2, 1}), 0, 2), Error);
}

BOOST_AUTO_TEST_CASE(concat_and_its_gradient) {
  for (const auto& [first, second] : {std::pair<i64, i64>(1, 3), {16, 16}, {17, 1}, {0, 4}}) {
    const auto a = random_tensor<bf16>(Shape<4>(2, 3, 5, first), 1), b = random_tensor<bf16>(Shape<4>(2, 3, 5, second), 2);
    const auto y = concat_channels(a, b);
    BOOST_CHECK(y.shape() == Shape<4>(2, 3, 5, first + second));
    const auto ad = doubles(a), bd = doubles(b), yd = doubles(y);
    for (i64 i = 0; i < y.size(); ++i) {
      const i64 r = i / (first + second), c = i % (first + second);
      BOOST_REQUIRE(yd[size_t(i)] == (c < first ? ad[size_t(r * first + c)] : bd[size_t(r * second + c - first)]));
    }
    const auto grad_a = Tensor<bf16, 4>(a.shape()), grad_b = Tensor<bf16, 4>(b.shape());
    concat_channels_backward(grad_a, {}, y, first);
    concat_channels_backward({}, grad_b, y, first);
    BOOST_TEST(same_bits(grad_a, a));
    BOOST_TEST(same_bits(grad_b, b));
  }
  BOOST_CHECK_THROW(concat_channels(Tensor<float, 2>::zeros({2, 3}), Tensor<float, 2>::zeros({3, 3})), Error);
}

BOOST_AUTO_TEST_SUITE_END()
