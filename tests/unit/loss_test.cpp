// Cross-entropy with labels and probabilities, mean squared error, ranks.
#include <mindgap/ops/loss.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::vector<double> cross_entropy_rows(const std::vector<double>& x, const std::vector<double>& target, i64 classes,
                                       double smoothing) {
  std::vector<double> rows(x.size() / size_t(classes));
  for (size_t r = 0; r < rows.size(); ++r) {
    double top = -INFINITY, sum = 0;
    for (i64 k = 0; k < classes; ++k) top = std::max(top, x[r * size_t(classes) + size_t(k)]);
    for (i64 k = 0; k < classes; ++k) sum += std::exp(x[r * size_t(classes) + size_t(k)] - top);
    for (i64 k = 0; k < classes; ++k) {
      const size_t i = r * size_t(classes) + size_t(k);
      rows[r] -= ((1 - smoothing) * target[i] + smoothing / double(classes)) * (x[i] - top - std::log(sum));
    }
  }
  return rows;
}
double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value / double(values.size());
  return sum;
}

template <class T>
void check_cross_entropy(Shape<2> shape, float smoothing) {
  const i64 rows = shape[0], classes = shape[1];
  const auto logits = random_tensor<T>(shape, 1, 0.f, 3.f);
  Tensor<i64, 1> labels{Shape(rows)};
  Tensor<T, 2> soft(shape);
  std::vector<double> hot(size_t(rows * classes)), mixed(hot.size());
  for (i64 r = 0; r < rows; ++r) {
    const i64 label = (r * 7) % classes;
    labels.data()[r] = label;
    hot[size_t(r * classes + label)] = 1;
    for (i64 k = 0; k < classes; ++k) {
      soft.data()[r * classes + k] = T((k == label ? 0.7f : 0.f) + 0.3f / float(classes));
      mixed[size_t(r * classes + k)] = double(float(soft.data()[r * classes + k]));
    }
  }
  const auto grad_loss = Tensor<float, 1>::full(Shape(1), 2.5f);
  const auto check = [&](const auto& target, const std::vector<double>& expected) {
    const auto loss = cross_entropy_rows(logits, target, smoothing);
    const auto x = doubles(logits);
    const auto reference = cross_entropy_rows(x, expected, classes, double(smoothing));
    BOOST_TEST(relative_error(loss.rows, reference) < 1e-6);
    BOOST_TEST(relative_error(loss.loss, {mean(reference)}) < 1e-6);
    Tensor<T, 2> grad(shape);
    cross_entropy_backward(grad, grad_loss, logits, target, loss.normaliser, smoothing);
    const auto by_difference = finite_differences(
        [&](const std::vector<double>& v) {
          return std::vector<double>{mean(cross_entropy_rows(v, expected, classes, double(smoothing)))};
        },
        x, {2.5});
    if (classes > 1) BOOST_TEST(relative_error(grad, by_difference) < 2e-6 + epsilon<T>);
  };
  check(labels, hot);
  check(soft, mixed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(loss)

BOOST_AUTO_TEST_CASE(cross_entropy_values_and_gradients) {
  for (float smoothing : {0.f, 0.1f})
    for (const Shape<2>& shape :
         {Shape<2>{1, 1}, Shape<2>{1, 3}, Shape<2>{7, 10}, Shape<2>{5, 16}, Shape<2>{3, 17}, Shape<2>{2, 100}}) {
      check_cross_entropy<float>(shape, smoothing);
      check_cross_entropy<bf16>(shape, smoothing);
    }
}

BOOST_AUTO_TEST_CASE(cross_entropy_of_far_apart_logits) {
  const auto logits = Tensor<float, 2>::from({1e4f, 0.f, -1e4f, -1e4f, 3e38f, 0.f}, {2, 3});
  const auto loss = cross_entropy_rows(logits, Tensor<i64, 1>::from({0, 1}, Shape(2))).rows.to_vector();
  BOOST_TEST(loss[0] == 0.f);
  BOOST_TEST(loss[1] == 0.f);
  const auto masked = Tensor<float, 2>::from({1.f, -INFINITY, 1.f}, {1, 3});
  BOOST_TEST(std::abs(cross_entropy(masked, Tensor<i64, 1>::from({0}, Shape(1))).item() - std::log(2.f)) < 1e-6);
}

BOOST_AUTO_TEST_CASE(label_outside_the_classes_is_an_error) {
  const auto logits = Tensor<float, 2>::zeros({3, 10});
  for (i64 wrong : {-1, 10, 1 << 30})
    BOOST_CHECK_EXCEPTION(cross_entropy(logits, Tensor<i64, 1>::from({0, wrong, 1}, Shape(3))), Error, [&](const Error& e) {
      return std::string(e.what()).find("label " + std::to_string(wrong) + " is outside 0 to 9") != std::string::npos;
    });
  BOOST_CHECK_THROW(cross_entropy(logits, Tensor<i64, 1>::from({0, 1}, Shape(2))), Error);
  BOOST_CHECK_THROW(cross_entropy(logits, Tensor<float, 2>::zeros({3, 9})), Error);
  BOOST_CHECK_THROW(cross_entropy(Tensor<float, 2>::zeros({0, 9}), Tensor<i64, 1>::zeros(Shape(0))), Error);
}

BOOST_AUTO_TEST_CASE(mean_squared_error) {
  for (i64 size : {1, 3, 17, 20'000}) {
    const auto x = random_tensor<bf16>(Shape(size), 1), grad = Tensor<bf16, 1>(Shape(size));
    const auto y = random_tensor<bf16>(Shape(size), 2);
    const auto xd = doubles(x), yd = doubles(y);
    double expected = 0;
    std::vector<double> slope;
    for (size_t i = 0; i < xd.size(); ++i) {
      expected += (xd[i] - yd[i]) * (xd[i] - yd[i]) / double(size);
      slope.push_back(3. * 2. * (xd[i] - yd[i]) / double(size));
    }
    BOOST_TEST(relative_error(mse_loss(x, y), {expected}) < 1e-6);
    mse_loss_backward(grad, Tensor<float, 1>::full(Shape(1), 3.f), x, y);
    BOOST_TEST(relative_error(grad, slope) < epsilon<bf16>);
  }
  BOOST_CHECK_THROW(mse_loss(Tensor<float, 1>::zeros(Shape(2)), Tensor<float, 1>::zeros(Shape(3))), Error);
  BOOST_CHECK_THROW(mse_loss(Tensor<float, 0>::zeros({}), Tensor<float, 0>()), Error);
}

BOOST_AUTO_TEST_CASE(ranks_and_argmax) {
  const float nan = NAN;
  const auto logits = Tensor<float, 2>::from({1, 3, 2, 3,    //
                                              5, 5, 5, 5,    //
                                              0, nan, 1, 2,  //
                                              nan, nan, nan, nan},
                                             {4, 4});
  BOOST_TEST(label_ranks(logits, Tensor<i64, 1>::from({3, 2, 1, 0}, Shape(4))).to_vector() == (std::vector<i32>{1, 2, 3, 3}),
             boost::test_tools::per_element());
  const auto index = argmax(logits).to_vector();
  BOOST_TEST(index[0] == 1);
  BOOST_TEST(index[1] == 0);
  const auto wide = random_tensor(Shape<2>(20, 1000), 1);
  const auto best = argmax(wide);
  for (i32 rank : label_ranks(wide, best).to_vector()) BOOST_TEST(rank == 0);
}

BOOST_AUTO_TEST_CASE(smoothing_outside_its_range_is_an_error) {
  const auto logits = Tensor<float, 2>::zeros(Shape(1, 3));
  const auto label = Tensor<i64, 1>::full(Shape<1>(1), 1);
  for (const float smoothing : {-0.1f, 1.5f, NAN}) BOOST_CHECK_THROW(cross_entropy(logits, label, smoothing), Error);
}

BOOST_AUTO_TEST_SUITE_END()
