// What the table of ops does not show of sums over axes, permutations, concatenation, gathering, dropout, operators and the
// multi-head attention layer: many blocks, every type, threads, bits, what is recorded, errors.
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/dropout.hpp>
#include <mindgap/autograd/gather.hpp>
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/operators.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/nn/attention.hpp>
#include <mindgap/nn/freeze.hpp>

#include "tests/values.hpp"
#include <algorithm>
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// The message holds every one of the words.
auto says(std::vector<std::string> words) {
  return [=](const Error& error) {
    return std::all_of(words.begin(), words.end(),
                       [&](const std::string& word) { return std::string(error.what()).find(word) != std::string::npos; });
  };
}

template <class T>
void compare_permutations(Shape<4> shape) {
  const auto x = cast<T>(random_tensor(shape, 1));
  std::array<int, 4> axes{0, 1, 2, 3};
  do {
    const auto y = permute(x, axes);
    i64 i = 0, different = 0;
    Shape<4> at;
    for (at[0] = 0; at[0] < y.extent(0); ++at[0])
      for (at[1] = 0; at[1] < y.extent(1); ++at[1])
        for (at[2] = 0; at[2] < y.extent(2); ++at[2])
          for (at[3] = 0; at[3] < y.extent(3); ++at[3]) {
            Shape<4> from;
            for (int k = 0; k < 4; ++k) from[axes[size_t(k)]] = at[k];
            const i64 place = ((from[0] * shape[1] + from[1]) * shape[2] + from[2]) * shape[3] + from[3];
            different += float(y.data()[i++]) != float(x.data()[place]);
          }
    BOOST_TEST(different == 0);
  } while (std::next_permutation(axes.begin(), axes.end()));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(arrays)

BOOST_AUTO_TEST_CASE(permutations_of_many_blocks) {
  compare_permutations<float>({3, 37, 11, 13});
  compare_permutations<bf16>({2, 1, 90, 101});
  compare_permutations<float>({1, 1, 1, 1});
}
BOOST_AUTO_TEST_CASE(permutations_of_any_type) {
  const auto bytes = Tensor<u8, 2>::from({1, 2, 3, 4, 5, 6}, Shape(2, 3));
  BOOST_TEST(transpose(bytes, 0, 1).to_vector() == std::vector<u8>({1, 4, 2, 5, 3, 6}), boost::test_tools::per_element());
  const auto whole = Tensor<i64, 2>::from({1, 2}, Shape(2, 1));
  BOOST_TEST(expand(whole, {2, 2}).to_vector() == std::vector<i64>({1, 1, 2, 2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(expanding_many_blocks) {
  const auto x = random_tensor(Shape(3, 1, 1, 7), 1);
  const auto y = expand(x, {3, 50, 40, 7});
  i64 different = 0;
  for (i64 i = 0; i < y.size(); ++i) different += y.data()[i] != x.data()[i / 14000 * 7 + i % 7];
  BOOST_TEST(different == 0);
  const auto line = expand(random_tensor(Shape<1>(1), 2), {20'000});
  BOOST_TEST(std::count(line.data(), line.data() + 20'000, line.data()[0]) == 20'000);
}

// What has the shape already is handed on, and nothing recorded.
BOOST_AUTO_TEST_CASE(expanding_nothing) {
  Tape tape;
  const auto x = variable(tape, random_tensor(Shape(2, 3), 1));
  BOOST_TEST(expand(x, {2, 3}).value().data() == x.value().data());
  BOOST_TEST(tape.size() == 0u);
}

BOOST_AUTO_TEST_CASE(sums_of_many_rows) {
  const auto x = random_tensor(Shape(3, 3001, 2, 5), 1, 0.5f);
  std::vector<double> expected(30);
  for (i64 i = 0; i < x.size(); ++i) expected[size_t(i / 30010 * 10 + i % 10)] += x.data()[i];
  BOOST_TEST(relative_error(sum(x, {1}), expected) < 3e-7);
  for (double& value : expected) value /= 3001;
  BOOST_TEST(relative_error(mean(x, {1}), expected) < 3e-7);
  // Side by side, few and many.
  for (const Shape<2>& rows : {Shape<2>(300, 77), Shape<2>(2, 10'001)}) {
    const auto wide = random_tensor(rows, 2, 0.5f);
    std::vector<double> sums(static_cast<size_t>(rows[0]));
    for (i64 i = 0; i < wide.size(); ++i) sums[size_t(i / rows[1])] += wide.data()[i];
    BOOST_TEST(relative_error(sum(wide, {1}), sums) < 3e-7);
  }
  // In f32, though the elements and the result are not.
  const auto ones = Tensor<bf16, 2>::full({5000, 2}, bf16(1.f));
  for (bf16 value : sum(ones, {0}).to_vector()) BOOST_TEST(float(value) == 4992.f);  // the nearest of bf16
  BOOST_TEST(float(mean(ones, {0, 1}).item()) == 1.f);
}
BOOST_AUTO_TEST_CASE(sums_for_any_number_of_threads) {
  const auto x = random_tensor(Shape(4, 500, 3, 20), 1);
  const int threads = Runtime<Cpu>::threads();
  const auto both = [&] { return std::pair(sum(x, {0, 2}), sum(x, {1})); };
  Runtime<Cpu>::set_threads(1);
  const auto one = both();
  Runtime<Cpu>::set_threads(3);
  const auto three = both();
  Runtime<Cpu>::set_threads(threads);
  BOOST_TEST((same_bits(one.first, three.first) && same_bits(one.second, three.second)));
}

// A million numbers of one sign, one after another in f32, end a hundredth off.
BOOST_AUTO_TEST_CASE(long_sums_keep_their_digits) {
  const i64 n = 1 << 20;
  const auto near = [](const auto& tensor, double expected) {
    const double bound = double(kernel::longest_sum) * 0x1p-25;  // half a unit in the last place an addition
    for (float value : tensor.to_vector()) BOOST_TEST(std::abs(value - expected) <= bound * expected);
  };
  const auto x = Tensor<float, 1>::from(std::vector(size_t(n), 0.1f), Shape<1>(n));
  for (i64 count : {8192, 100001, 1 << 20}) {
    const auto part = x.slice(0, count);
    near(sum(part), double(0.1f) * double(count));
    near(mean(part), 0.1f);
    near(mean(reshape(part, Shape(1, count)), {0}), 0.1f);
    near(mean(reshape(part, Shape(1, count)), {1}), 0.1f);
  }
  near(global_avg_pool(reshape(x, Shape(1, 1024, 512, 2))), 0.1f);
  near(mse_loss(x, Tensor<float, 1>::zeros(x.shape())), double(0.1f) * 0.1f);
  near(softmax(reshape(Tensor<float, 1>::zeros(Shape<1>(n)), Shape(1, n))), 1. / double(n));

  Tape tape;
  const Tensor<i64, 1, Cpu> labels(Shape<1>{n});
  Runtime<Cpu>::zero(labels.data(), labels.bytes());
  const auto logits = variable(tape, Tensor<float, 2>::zeros({n, 3}));
  near(cross_entropy(logits, labels).value(), std::log(3.));
  // Gradients of what is one for all elements: a scalar, and a row of a single column.
  const auto one = Tensor<float, 1>::from({1.f}, Shape<1>{1});
  const auto as_scalar = variable(tape, one), as_row = variable(tape, one);
  const auto column = reshape(x, Shape(n, 1));
  backward(mse_loss(pointwise([](auto v, auto s) { return v * s; }, variable(tape, column), scalar(as_scalar)),
                    Tensor<float, 2>::zeros(column.shape())));
  near(as_scalar.gradient(), 2. * double(0.1f) * 0.1f);
  tape.clear();
  const auto again = variable(tape, column);
  const auto row_of = variable(tape, one);
  backward(
      mse_loss(pointwise([](auto v, auto s) { return v * s; }, again, row(row_of)), Tensor<float, 2>::zeros(column.shape())));
  near(row_of.gradient(), 2. * double(0.1f) * 0.1f);
}

BOOST_AUTO_TEST_CASE(gathering_many_lines) {
  const Shape<3> shape(20, 6, 40), taken(20, 9, 40);
  const auto x = random_tensor(shape, 1), grad_y = random_tensor(taken, 2);
  std::vector<i32> numbers;
  for (i64 i = 0; i < taken.size(); ++i) numbers.push_back(i32(Stream(3, "index").below(u64(i), 6)));
  const auto index = Tensor<i32, 3>::from(numbers, taken);
  const auto y = gather(x, index, 1);
  std::vector<double> expected(size_t(x.size()));
  i64 different = 0;
  for (i64 i = 0; i < taken.size(); ++i) {
    const i64 from = (i / 360 * 6 + numbers[size_t(i)]) * 40 + i % 40;
    different += y.data()[i] != x.data()[from];
    expected[size_t(from)] += grad_y.data()[i];
  }
  BOOST_TEST(different == 0);
  const auto grad_x = Tensor<float, 3>::full(shape, 5.f);  // what the index leaves out becomes 0
  gather_backward(grad_x, index, grad_y, 1);
  BOOST_TEST(relative_error(grad_x, expected) < 1e-6);
  // bf16 alone would stop at 256.
  const Tensor<bf16, 1> sums(Shape<1>(2));
  gather_backward(sums, Tensor<i32, 1>::zeros({1000}), Tensor<bf16, 1>::full({1000}, bf16(1.f)), 0);
  BOOST_TEST(float(sums.data()[0]) == 1000.f);
  BOOST_TEST(float(sums.data()[1]) == 0.f);
}
BOOST_AUTO_TEST_CASE(an_index_must_stay) {
  Tape tape;
  const auto x = variable(tape, random_tensor(Shape(2, 3), 1));
  const auto index = Tensor<i32, 2>::zeros({2, 1});
  const auto loss = mse_loss(gather(x, index, 1), Tensor<float, 2>::zeros({2, 1}));
  index.copy_from(Tensor<i32, 2>::full({2, 1}, 2));
  BOOST_CHECK_EXCEPTION(backward(loss), Error, says({"overwritten after"}));
}

// Element i is dropped by number i of the stream alone.
BOOST_AUTO_TEST_CASE(dropout_by_key_and_index) {
  const Stream key(1, "a place", 5);
  const i64 size = 20'001;
  const auto y = dropout(Tensor<float, 1>::full({size}, 3.f), 0.25f, key);
  i64 dropped = 0, different = 0;
  for (i64 i = 0; i < size; ++i) {
    const bool drop = key.uniform(u64(i)) < 0.25f;
    dropped += drop, different += y.data()[i] != (drop ? 0.f : 4.f);
  }
  BOOST_TEST(different == 0);
  BOOST_TEST(std::abs(double(dropped) / double(size) - 0.25) < 0.01);
  const auto shaped = dropout(Tensor<bf16, 3>::full({3, 59, 113}, bf16(3.f)), 0.25f, key);
  BOOST_TEST(same_bits(cast<float>(shaped).reshape(Shape(size)), y));
  BOOST_TEST(!same_bits(dropout(Tensor<float, 1>::full({size}, 3.f), 0.25f, Stream(1, "a place", 6)), y));
  for (float p : {-0.1f, 1.f, NAN})
    BOOST_CHECK_EXCEPTION(dropout(y, p, key), Error, says({"dropout: a probability of", "0 to below 1"}));
}
// The key of the next step is often set before this one's backward.
BOOST_AUTO_TEST_CASE(dropout_goes_back_by_its_own_key) {
  const Stream first(1, "a place", 0), second(1, "a place", 1);
  HostInput<Stream, Cpu> key(std::span(&first, 1));
  Tape tape;
  const auto x = variable(tape, Tensor<float, 1>::full({100}, 1.f));
  const auto y = dropout(x, 0.5f, key);
  key.set(std::span(&second, 1));
  backward(sum(y));
  BOOST_TEST(same_bits(x.gradient(), y.value()));
}

BOOST_AUTO_TEST_CASE(operators_of_one_shape_repeat_nothing) {
  Tape tape;
  const auto a = variable(tape, random_tensor(Shape(2, 1), 1)), b = variable(tape, random_tensor(Shape(2, 1), 2));
  const auto sum = a + b, product = a * b;
  BOOST_TEST(tape.size() == 2u);
  BOOST_TEST(same_bits(product.value(), pointwise([](auto x, auto y) { return x * y; }, a.value(), b.value())));
  // What is repeated has one record more.
  const auto wide = variable(tape, random_tensor(Shape(2, 3), 3));
  const auto difference = wide - a;
  BOOST_TEST(tape.size() == 4u);
}
BOOST_AUTO_TEST_CASE(operators_that_do_not_fit) {
  Tape tape, other;
  const auto a = variable(tape, random_tensor(Shape(2, 3), 1)), b = variable(tape, random_tensor(Shape(2, 2), 2)),
             c = variable(other, random_tensor(Shape(2, 1), 3));
  BOOST_CHECK_EXCEPTION(a + b, Error, says({"shapes do not fit", "f32 [2, 3] cpu", "f32 [2, 2] cpu", "axis 1 has 3 and 2"}));
  BOOST_CHECK_EXCEPTION(a + c, Error, says({"two tapes"}));
}

// The functions that write to their caller's tensor say so.
BOOST_AUTO_TEST_CASE(versions) {
  const auto raised = [](const auto& x, auto write) {
    const u64 before = x.storage()->version();
    write();
    BOOST_TEST(x.storage()->version() > before);
  };
  const auto x = random_tensor(Shape(4, 6), 1), row = random_tensor(Shape(1, 6), 2), twice = random_tensor(Shape(8, 6), 3);
  const auto a = x.clone(), b = x.clone();
  raised(a, [&] { expand_into(a, row); });
  raised(a, [&] { sum_axes_backward(a, row, 0.5f); });
  raised(a, [&] { gather_backward(a, Tensor<i32, 2>::zeros({1, 6}), row, 0); });
  raised(a, [&] { concat_backward(a, b, twice, 4, 0); });
  raised(b, [&] { concat_backward({}, b, twice, 4, 0); });
  const Stream key(1, "key");
  raised(a, [&] { dropout_backward(a, x, 0.5f, &key); });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(multihead_attention_layer)

using Layer = MultiheadAttention<Cpu, Precision<float>>;

// torch.nn.MultiheadAttention's names, shapes and initial values.
BOOST_AUTO_TEST_CASE(parameters) {
  Layer layer(6, 2);
  initialise(layer, 1);
  std::string names;
  for_each_parameter(layer, [&](const std::string& name, auto& p) { names += name + " " + p.shape().str() + " "; });
  BOOST_TEST(names == "in_proj_weight [18, 6] in_proj_bias [18] out_proj.weight [6, 6] out_proj.bias [6] ");
  const auto largest = [](const auto& p) {
    float most = 0;
    for (float value : p.value.to_vector()) most = std::max(most, std::abs(value));
    return double(most);
  };
  BOOST_TEST(largest(layer.in_proj_bias) == 0.);
  BOOST_TEST(largest(layer.out_proj.bias) == 0.);
  const double in_bound = std::sqrt(6. / 24), out_bound = 1 / std::sqrt(6.);
  BOOST_TEST((largest(layer.in_proj_weight) <= in_bound && largest(layer.in_proj_weight) > 0.9 * in_bound));
  BOOST_TEST((largest(layer.out_proj.weight) <= out_bound && largest(layer.out_proj.weight) > 0.8 * out_bound));
}

BOOST_AUTO_TEST_CASE(self_and_cross) {
  Layer layer(6, 3);
  initialise(layer, 1);
  init::normal(layer.in_proj_bias, 1.f, 1, "in");
  init::normal(layer.out_proj.bias, 1.f, 1, "out");
  const auto x = random_tensor(Shape(2, 5, 6), 1), memory = random_tensor(Shape(2, 4, 6), 2);
  const auto self = layer(x), cross = layer(x, memory, memory);
  BOOST_TEST((cross.shape() == x.shape()));
  BOOST_TEST(same_bits(layer(x, x, x), self));
  BOOST_TEST(!same_bits(cross, self));
  Tape tape;
  BOOST_TEST(same_bits(layer(constant(tape, x)).value(), self));
  BOOST_TEST(tape.size() > 0u);  // the weights want gradients
  const auto v = variable(tape, x), m = variable(tape, memory);
  backward(mse_loss(layer(v, m, m), Tensor<float, 3>::zeros(x.shape())));
  BOOST_TEST(v.gradient().size() == x.size());
  BOOST_TEST(m.gradient().size() == memory.size());
  for_each_parameter(layer, [](const std::string& name, auto& p) {
    i64 zeros = 0;
    for (float value : p.slot->gradient().to_vector()) zeros += value == 0;
    BOOST_TEST(zeros < p.shape().size() / 2, name);
  });
}

BOOST_AUTO_TEST_CASE(bf16_is_near) {
  Layer layer(8, 2);
  MultiheadAttention<Cpu, Precision<bf16>> half(8, 2);
  initialise(layer, 1), initialise(half, 1);
  const auto x = cast<float>(random_tensor<bf16>(Shape(2, 5, 8), 1));
  BOOST_TEST(relative_error(half(cast<bf16>(x)), doubles(layer(x))) < 0.02);
}

BOOST_AUTO_TEST_CASE(heads_that_do_not_divide) {
  Layer layer(6, 4);
  initialise(layer, 1);
  layer.path = "encoder.0.self_attn";
  BOOST_CHECK_EXCEPTION(layer(random_tensor(Shape(1, 2, 6), 1)), Error, says({"do not fit 4 heads", "encoder.0.self_attn"}));
}

BOOST_AUTO_TEST_SUITE_END()
