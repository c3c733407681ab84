// Shapes and tensors: extents that overflow, and memory that is read and written in one call.
#include <mindgap/nn/parameter.hpp>
#include <mindgap/ops/batch_norm.hpp>
#include <mindgap/ops/conv.hpp>
#include <mindgap/ops/group_norm.hpp>
#include <mindgap/ops/layer_norm.hpp>
#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/pointwise.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>
#include <memory>
#include <span>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

auto says(const char* words) {
  return [=](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tensor)

// 2^33 x 2^33 had no elements, and 2^61 floats a negative number of bytes.
BOOST_AUTO_TEST_CASE(extents_that_overflow) {
  const i64 large = i64(1) << 33;
  BOOST_CHECK_EXCEPTION(Shape(large, large).size(), Error, says("more than 2^63 elements"));
  BOOST_CHECK_EXCEPTION((Tensor<u8, 2>(Shape(large, large))), Error, says("more than 2^63 elements"));
  BOOST_CHECK_EXCEPTION((Tensor<float, 2>(Shape(i64(1) << 31, i64(1) << 30))), Error, says("more bytes"));
  BOOST_CHECK_EXCEPTION((Tensor<float, 1>(Shape<1>(0)).reshape(Shape(large, large))), Error, says("more than 2^63 elements"));
  BOOST_TEST(Shape(large, i64(0)).size() == 0);
  BOOST_TEST(Shape(i64(1) << 31, i64(1) << 31).size() == i64(1) << 62);
}

BOOST_AUTO_TEST_CASE(copies_within_a_tensor) {
  const auto x = Tensor<float, 1>::from({0, 1, 2, 3, 4, 5}, Shape<1>(6));
  BOOST_CHECK_EXCEPTION(x.slice(1, 5).copy_from(x.slice(0, 4)), Error, says("overlap"));
  x.copy_from(x);
  x.slice(3, 6).copy_from(x.slice(0, 3));
  BOOST_TEST(x.to_vector() == std::vector<float>({0, 1, 2, 0, 1, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_destination_among_the_operands) {
  constexpr auto sum = [](auto a, auto b) { return a + b; };
  const auto x = Tensor<float, 2>::from({0, 1, 2, 3, 4, 5}, Shape(3, 2));
  const auto top = x.slice(0, 2), bottom = x.slice(1, 3);
  BOOST_CHECK_EXCEPTION(pointwise_into(bottom, sum, top, top), Error, says("overlaps an operand"));
  BOOST_CHECK_EXCEPTION(pointwise_into(top, sum, top, bottom), Error, says("overlaps an operand"));
  BOOST_CHECK_EXCEPTION(pointwise_into(x, sum, x, row(x.slice(1, 2).reshape(Shape<1>(2)))), Error, says("overlaps an operand"));
  BOOST_CHECK_EXCEPTION(pointwise_into(x, sum, x, scalar(x.reshape(Shape<1>(6)).slice(3, 4))), Error,
                        says("overlaps an operand"));
  BOOST_TEST(x.to_vector() == std::vector<float>({0, 1, 2, 3, 4, 5}), boost::test_tools::per_element());
  pointwise_into(top, sum, top, top);                                // itself
  pointwise_into(x.slice(2, 3), sum, x.slice(0, 1), x.slice(1, 2));  // beside it
  BOOST_TEST(x.to_vector() == std::vector<float>({0, 2, 4, 6, 4, 8}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(borrowed_memory) {
  const auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  auto x = Tensor<float, 2>::borrow(owner->data(), Shape(2, 2), owner);
  const auto view = x.slice(1, 2);
  BOOST_TEST(owner.use_count() == 2);
  pointwise_into(
      x, [](auto a) { return a + a; }, x);
  BOOST_TEST((*owner == std::vector<float>{2, 4, 6, 8}));
  x = {};
  BOOST_TEST(view.to_vector() == std::vector<float>({6, 8}), boost::test_tools::per_element());
  BOOST_TEST(owner.use_count() == 2);
  BOOST_CHECK_EXCEPTION(
      (Tensor<float, 1>::borrow(reinterpret_cast<float*>(reinterpret_cast<char*>(owner->data()) + 1), Shape<1>(1), owner)), Error,
      says("not aligned"));
  const float values[] = {1, 2};
  BOOST_TEST((Tensor<float, 1>::from(std::span(values), Shape<1>(2)).to_vector()[1]) == 2.f);
}

// Views share the version of their memory; every function of the library that writes raises it.
BOOST_AUTO_TEST_CASE(versions) {
  const Tensor<float, 2> x(Shape(4, 2)), other = Tensor<float, 2>::zeros(Shape(4, 2));
  const auto version = [&] { return x.storage()->version(); };
  const u64 before = version();
  x.copy_from(other);
  BOOST_TEST(version() == before + 1);
  x.reshape(Shape(2, 4)).copy_from(Tensor<float, 2>::zeros(Shape(2, 4)));
  BOOST_TEST(version() == before + 2);
  BOOST_TEST(x.slice(1, 3).storage() == x.storage());
  BOOST_TEST(other.clone().storage() != other.storage());
}

// The norms write the gradients that they are given.
BOOST_AUTO_TEST_CASE(norms_raise_versions) {
  const auto raised = [](auto backward, const auto&... gradients) {
    const std::vector<u64> before{gradients.storage()->version()...};
    backward();
    const std::vector<u64> after{gradients.storage()->version()...};
    for (size_t i = 0; i < before.size(); ++i) BOOST_TEST(after[i] > before[i], "gradient " << i);
  };
  const auto x = random_tensor(Shape(4, 6), 1), grad_y = random_tensor(Shape(4, 6), 2);
  const auto gamma = random_tensor(Shape<1>(6), 3), beta = random_tensor(Shape<1>(6), 4);
  constexpr auto identity = [](auto z) { return z; };

  const LayerNormGradients<float, 2, Cpu> of_rows{x.clone(), gamma.clone(), beta.clone()};
  const auto rows = layer_norm(x, gamma, beta, 1e-5f);
  raised([&] { layer_norm_backward(grad_y, x, rows.mean, rows.rstd, gamma, of_rows); }, of_rows.x, of_rows.gamma, of_rows.beta);

  const GroupNormInput<float, 2, Cpu> in{x, {}, {}};
  const GroupNormGradients<float, 2, Cpu> of_groups{x.clone(), {}, {}, gamma.clone(), beta.clone()};
  const auto groups = group_norm(identity, in, 2, 1e-5f, gamma, beta);
  raised([&] { group_norm_backward(identity, grad_y, in, groups.mean, groups.rstd, gamma, beta, of_groups); }, of_groups.x,
         of_groups.gamma, of_groups.beta);

  constexpr auto gated = [](auto z, auto r) { return z + r; };
  const auto s = batch_statistics(x, 1e-5f);
  const BatchNormInputs<float, 2, Cpu, 1> batch{x, {}, {x}, s.mean, s.rstd, gamma, beta, true};
  const BatchNormGradients<float, 2, Cpu, 1> of_batch{x.clone(), gamma.clone(), beta.clone(), {x.clone()}};
  raised([&] { batch_norm_backward(gated, grad_y, batch, of_batch); }, of_batch.x, of_batch.gamma, of_batch.beta,
         of_batch.extras[0]);
}

// Two negative extents have a positive product.
BOOST_AUTO_TEST_CASE(negative_extents) {
  const auto x = Tensor<float, 1>::zeros(Shape<1>(6));
  BOOST_CHECK_EXCEPTION(x.reshape(Shape(-2, -3)), Error, says("negative extent"));
  BOOST_CHECK_EXCEPTION((Tensor<float, 2>::borrow(x.data(), Shape(-2, -3), {})), Error, says("negative extent"));
  BOOST_CHECK_EXCEPTION((Tensor<float, 1>::borrow(x.data(), Shape<1>(-6), {})), Error, says("negative extent"));
}

BOOST_AUTO_TEST_CASE(memory_that_cannot_be_borrowed) {
  const i64 large = i64(1) << 31;
  float one = 1;
  BOOST_CHECK_EXCEPTION((Tensor<float, 2>::borrow(&one, Shape(large, large), {})), Error, says("more bytes"));
  BOOST_CHECK_EXCEPTION((Tensor<float, 1>::borrow(nullptr, Shape<1>(4), {})), Error, says("no memory"));
  BOOST_TEST((Tensor<float, 2>::borrow(nullptr, Shape(0, 4), {}).defined()));
}

BOOST_AUTO_TEST_CASE(memory_that_two_borrowed) {
  std::vector<float> memory(6, 1.f);
  const auto front = Tensor<float, 1>::borrow(memory.data(), Shape<1>(5), {});
  const auto back = Tensor<float, 1>::borrow(memory.data() + 1, Shape<1>(5), {});
  BOOST_CHECK_EXCEPTION(back.copy_from(front), Error, says("overlap"));
  BOOST_CHECK_EXCEPTION(pointwise_into(
                            back, [](auto x) { return x + 1.f; }, front),
                        Error, says("overlaps an operand"));
  BOOST_TEST(memory == std::vector<float>(6, 1.f), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(bytes_that_begin_in_the_middle_of_an_element) {
  const auto bytes = Tensor<u8, 1>::zeros(Shape<1>(9));
  BOOST_CHECK_EXCEPTION(bytes.slice(1, 9).as<float>(), Error, says("do not begin at a multiple of 4 bytes"));
  BOOST_TEST(bytes.slice(0, 8).as<float>().size() == 2);
}

// Nothing is summed up: such weights were an integer division by zero or memory that nobody wrote.
BOOST_AUTO_TEST_CASE(weights_without_elements) {
  const auto image = Tensor<float, 4>::zeros(Shape(1, 4, 4, 3)), none = Tensor<float, 4>::zeros(Shape(1, 4, 4, 0));
  BOOST_CHECK_EXCEPTION(conv2d(none, Tensor<float, 4>::zeros(Shape(2, 3, 3, 0))), Error, says("the weight has no elements"));
  BOOST_CHECK_EXCEPTION(conv2d(image, Tensor<float, 4>::zeros(Shape(2, 0, 0, 3))), Error, says("the weight has no elements"));
  BOOST_CHECK_EXCEPTION(linear(Tensor<float, 2>::zeros(Shape(2, 0)), Tensor<float, 2>::zeros(Shape(4, 0))), Error,
                        says("the weight has no elements"));
  BOOST_CHECK_EXCEPTION(linear(Tensor<float, 2>::zeros(Shape(2, 3)), Tensor<float, 2>::zeros(Shape(0, 3))), Error,
                        says("the weight has no elements"));
}

BOOST_AUTO_TEST_SUITE_END()

// An image in the order of other libraries is refused where that shows, and the message names the conversion.
BOOST_AUTO_TEST_SUITE(orders_of_axes)

BOOST_AUTO_TEST_CASE(nchw) {
  const auto nchw = random_tensor(Shape(2, 3, 5, 4), 1), w = random_tensor(Shape(2, 1, 1, 3), 2);
  BOOST_CHECK_EXCEPTION(conv2d(nchw, w), Error, says("from_nchw(input)"));
  const auto x = from_nchw(nchw);
  BOOST_TEST((x.shape() == Shape(2, 5, 4, 3)));
  for (i64 n = 0; n < 2; ++n)
    for (i64 c = 0; c < 3; ++c)
      for (i64 p = 0; p < 20; ++p) BOOST_TEST(x.data()[(n * 20 + p) * 3 + c] == nchw.data()[(n * 3 + c) * 20 + p]);
  BOOST_TEST((conv2d(x, w).shape() == Shape(2, 5, 4, 2)));
}

BOOST_AUTO_TEST_SUITE_END()
