// Shapes and tensors: extents that overflow, and memory that is read and written in one call.
#include <mindgap/nn/parameter.hpp>
#include <mindgap/ops/batch_norm.hpp>
#include <mindgap/ops/conv.hpp>
#include <mindgap/ops/group_norm.hpp>
#include <mindgap/ops/layer_norm.hpp>
#include <mindgap/ops/layout.hpp>
#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/pad.hpp>
#include <mindgap/ops/pointwise.hpp>
#include <mindgap/ops/softmax.hpp>

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
  BOOST_CHECK_EXCEPTION(pointwise_into(bottom, sum, top, top), Error, says("overlaps the input"));
  BOOST_CHECK_EXCEPTION(pointwise_into(top, sum, top, bottom), Error, says("overlaps an operand"));
  BOOST_CHECK_EXCEPTION(pointwise_into(x, sum, x, row(x.slice(1, 2).reshape(Shape<1>(2)))), Error, says("overlaps an operand"));
  BOOST_CHECK_EXCEPTION(pointwise_into(x, sum, x, scalar(x.reshape(Shape<1>(6)).slice(3, 4))), Error,
                        says("overlaps an operand"));
  BOOST_TEST(x.to_vector() == std::vector<float>({0, 1, 2, 3, 4, 5}), boost::test_tools::per_element());
  pointwise_into(top, sum, top, top);                                // itself
  pointwise_into(x.slice(2, 3), sum, x.slice(0, 1), x.slice(1, 2));  // beside it
  BOOST_TEST(x.to_vector() == std::vector<float>({0, 2, 4, 6, 4, 8}), boost::test_tools::per_element());
}

// Wrong rows, and memory of others.
BOOST_AUTO_TEST_CASE(destinations_that_do_not_fit) {
  const auto x = random_tensor(Shape(4, 3), 1);
  const auto before = x.to_vector();
  const Tensor<float, 2> small(Shape(1, 2));
  const Tensor<bf16, 2> narrow(Shape(1, 2));
  BOOST_CHECK_EXCEPTION(softmax_into(x.slice(1, 4), x.slice(0, 3)), Error, says("softmax: the destination overlaps the input"));
  BOOST_CHECK_EXCEPTION(softmax_into(small, x), Error, says("softmax: the destination is not shaped like the input"));
  BOOST_CHECK_EXCEPTION(cast_into(narrow, x), Error, says("cast: the destination is not shaped like the input"));
  const auto halves = x.reshape(Shape<1>(12)).as<bf16>().slice(1, 13);
  BOOST_CHECK_EXCEPTION(cast_into(halves, x.reshape(Shape<1>(12))), Error, says("cast: the destination overlaps the input"));
  BOOST_CHECK_EXCEPTION(expand_into(x.slice(0, 2), x.slice(1, 2)), Error, says("expand: the destination overlaps the input"));
  BOOST_CHECK_EXCEPTION(softmax_backward(small, x, x), Error, says("softmax backward: the destination is not shaped"));
  BOOST_TEST(x.to_vector() == before, boost::test_tools::per_element());
  const auto softened = softmax(x);
  softmax_into(x, x);  // itself
  BOOST_TEST(same_bits(x, softened));
}

// One element is the shape of rank 0, which an undefined tensor has, too.
BOOST_AUTO_TEST_CASE(rank_zero) {
  const Tensor<float, 0> none, one = Tensor<float, 0>::full({}, 2.f);
  constexpr auto sum = [](auto a, auto b) { return a + b; };
  BOOST_TEST(none.size() == 0);
  BOOST_TEST(none.to_vector().empty());
  BOOST_CHECK_EXCEPTION(none.item(), Error, says("item: the tensor is undefined"));
  BOOST_CHECK_EXCEPTION(none.clone(), Error, says("clone: the tensor is undefined"));
  BOOST_CHECK_EXCEPTION(one.copy_from(none), Error, says("one of the tensors is undefined"));
  BOOST_CHECK_EXCEPTION(none.reshape(Shape<1>(1)), Error, says("0 elements"));
  BOOST_CHECK_EXCEPTION(pointwise(sum, none, one), Error, says("an undefined tensor does not fit"));
  BOOST_CHECK_EXCEPTION(pointwise(sum, one, none), Error, says("an undefined tensor does not fit"));
  BOOST_CHECK_EXCEPTION(pointwise(sum, one, scalar(none)), Error, says("a scalar does not fit"));
  BOOST_CHECK_EXCEPTION(pointwise(sum, one, row(Tensor<float, 1>::full(Shape<1>(1), 1.f))), Error, says("a row does not fit"));
  BOOST_CHECK_EXCEPTION(pointwise_into(none, sum, one, one), Error, says("not shaped like the input"));
  BOOST_CHECK_EXCEPTION(cast<bf16>(none), Error, says("not shaped like the input"));
  BOOST_TEST(!same_bits(none, one));
  BOOST_TEST(pointwise(sum, one.clone(), one).item() == 4.f);
}

// A vector has no images that would have a row each.
BOOST_AUTO_TEST_CASE(rows_of_a_vector) {
  constexpr auto sum = [](auto a, auto b) { return a + b; };
  BOOST_CHECK_EXCEPTION(pointwise(sum, random_tensor(Shape<1>(3), 1), row(random_tensor(Shape(3, 3), 2))), Error,
                        says("a row does not fit the first operand"));
}

BOOST_AUTO_TEST_CASE(padding_that_no_memory_has) {
  const auto image = Tensor<float, 4>::zeros(Shape(1, 1, 1, 1));
  for (i64 large : {i64(1) << 62, std::numeric_limits<i64>::max(), i64(-1)})
    BOOST_CHECK_EXCEPTION(zero_pad2d(image, {large, large, large, 0}), Error, says("zero pad: left"));
  BOOST_CHECK_EXCEPTION(zero_pad2d(image, {i64(1) << 40, i64(1) << 40, i64(1) << 40, 0}), Error, says("2^63 elements"));
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
                        Error, says("overlaps the input"));
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
