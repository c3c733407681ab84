// Embedding rows, their gradient, and the sinusoidal embedding of timesteps.
#include <mindgap/ops/embedding.hpp>

#include <boost/test/unit_test.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

BOOST_AUTO_TEST_SUITE(embedding_op)

BOOST_AUTO_TEST_CASE(rows_and_their_gradient) {
  for (i64 cols : {1, 3, 16, 17}) {
    const auto table = random_tensor(Shape<2>(5, cols), 1);
    const auto ids = Tensor<i64, 1>::from({4, 0, 4, 2, 4, 0}, Shape(6));
    const auto y = embedding(ids, table);
    const auto grad_y = random_tensor<bf16>(y.shape(), 2);
    const auto td = doubles(table), yd = doubles(y), gd = doubles(grad_y);
    std::vector<double> expected(td.size());
    for (i64 i = 0; i < y.size(); ++i) {
      const size_t at = size_t(ids.data()[i / cols] * cols + i % cols);
      BOOST_REQUIRE(yd[size_t(i)] == td[at]);
      expected[at] += gd[size_t(i)];
    }
    const auto grad = Tensor<float, 2>::full(table.shape(), 7.f);  // rows that no id names must become zero
    embedding_backward(grad, ids, grad_y);
    BOOST_TEST(relative_error(grad, expected) < 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(id_outside_the_table_is_an_error) {
  const auto table = Tensor<float, 2>::zeros({5, 2});
  for (i64 wrong : {-1, 5})
    BOOST_CHECK_EXCEPTION(embedding(Tensor<i64, 1>::from({0, wrong}, Shape(2)), table), Error, [&](const Error& e) {
      return std::string(e.what()).find("id " + std::to_string(wrong) + " is outside the table") != std::string::npos;
    });
}

BOOST_AUTO_TEST_CASE(timesteps) {
  const auto t = Tensor<float, 1>::from({0.f, 1.f, 20.5f, 999.f}, Shape(4));
  for (bool flip : {false, true})
    for (double shift : {0., 1.})
      for (i64 dim : {2, 8, 32}) {
        if (shift == 1. && dim == 2) continue;  // divides by zero, in diffusers too
        std::vector<double> expected;
        for (float step : t.to_vector())
          for (i64 c = 0; c < dim; ++c) {
            const i64 half = dim / 2;
            const double angle = double(step) * std::exp(-std::log(10000.) * double(c % half) / (double(half) - shift));
            expected.push_back((c < half) == flip ? std::cos(angle) : std::sin(angle));
          }
        // f32 angles up to 1,000 are off by up to 6e-5
        BOOST_TEST(relative_error(timestep_embedding<float>(t, dim, flip, shift), expected) < 5e-5);
      }
  BOOST_CHECK_THROW(timestep_embedding<float>(t, 7, true, 0.), Error);
  for (const auto& [dim, shift] : {std::pair<i64, double>{2, 1}, {4, 2}, {8, NAN}, {8, -INFINITY}})
    BOOST_CHECK_EXCEPTION(timestep_embedding<float>(t, dim, true, shift), Error, [](const Error& e) {
      return std::string(e.what()).find("leaves no frequencies") != std::string::npos;
    });
}

BOOST_AUTO_TEST_SUITE_END()
