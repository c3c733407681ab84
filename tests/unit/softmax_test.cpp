// Softmax of rows and its gradient.
#include <mindgap/ops/softmax.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::vector<double> reference(const std::vector<double>& x, size_t cols) {
  std::vector<double> y(x.size());
  for (size_t r = 0; r < x.size(); r += cols) {
    double top = -INFINITY, sum = 0;
    for (size_t c = 0; c < cols; ++c) top = std::max(top, x[r + c]);
    for (size_t c = 0; c < cols; ++c) sum += y[r + c] = std::exp(x[r + c] - top);
    for (size_t c = 0; c < cols; ++c) y[r + c] /= sum;
  }
  return y;
}

const Shape<2> shapes[] = {{1, 1}, {3, 3}, {20, 16}, {9, 17}, {8, 49}, {5, 1000}};

template <class T>
void check_values() {
  for (const auto& shape : shapes) {
    const auto x = random_tensor<T>(shape, 1, 0.f, 4.f);
    BOOST_TEST(relative_error(softmax(x), reference(doubles(x), size_t(x.cols()))) < 5e-7 + epsilon<T>);
    const auto in_place = x.clone();
    softmax_into(in_place, in_place);
    BOOST_TEST(same_bits(in_place, softmax(x)));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(softmax_op)

BOOST_AUTO_TEST_CASE(values) {
  check_values<float>();
  check_values<bf16>();
  check_values<f16>();
}

BOOST_AUTO_TEST_CASE(gradients) {
  for (const auto& shape : {Shape<2>{3, 3}, Shape<2>{10, 16}, Shape<2>{2, 17}}) {
    const auto x = random_tensor(shape, 1), weight = random_tensor(shape, 2), y = softmax(x);
    const auto expected =
        finite_differences([&](auto& v) { return reference(v, size_t(x.cols())); }, doubles(x), doubles(weight));
    Tensor<float, 2> grad(shape);
    softmax_backward(grad, y, weight);
    BOOST_TEST(relative_error(grad, expected) < 1e-5);
    const auto in_place = weight.clone();
    softmax_backward(in_place, y, in_place);
    BOOST_TEST(same_bits(in_place, grad));
  }
}

BOOST_AUTO_TEST_CASE(extremes) {
  const auto x = Tensor<float, 2>::from({1e30f, -1e30f, 0.f, -INFINITY, 2.f, 2.f}, {2, 3});
  const std::vector<float> expected{1.f, 0.f, 0.f, 0.f, 0.5f, 0.5f};
  BOOST_TEST(softmax(x).to_vector() == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
