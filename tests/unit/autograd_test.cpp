// The tape and gradient slots: what is recorded and kept alive, accumulation, sharing, and errors.
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/gradcheck.hpp>
#include <mindgap/autograd/layer_norm.hpp>
#include <mindgap/autograd/linear.hpp>
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/operators.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/autograd/softmax.hpp>
#include <mindgap/models/resnet.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

using Net = ResNet<Cpu, Precision<float>>;
const ResNetConfig config = ResNetConfig::make("resnet18", 4, 1, 3, Stem::small);

i64 bytes_used() { return Pool<Cpu>::current().bytes_used(); }

Var<float, 1> loss_of(Net& net, const Var<float, 4>& x) {
  return cross_entropy(net(x), Tensor<i64, 1>::from({0, 2}, Shape<1>(2)));
}
std::vector<std::vector<float>> gradients(Net& net, const std::string& pattern) {
  std::vector<std::vector<float>> out;
  for_each_parameter(net, [&](const std::string& name, auto& p) {
    if (matches(pattern, name)) out.push_back(p.slot ? p.slot->gradient().to_vector() : std::vector<float>());
  });
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tape)

BOOST_AUTO_TEST_CASE(records_run_backwards_once_and_are_destroyed) {
  Tape tape;
  std::vector<int> order;
  const auto token = std::make_shared<int>(0);
  for (int i = 0; i < 3000; ++i)  // several chunks of the arena
    tape.record([&order, i, token, padding = std::array<char, 100>{}] { order.push_back(i + padding[0]); });
  BOOST_TEST(tape.size() == 3000u);
  BOOST_TEST(token.use_count() == 3001);
  tape.run();
  BOOST_TEST(tape.size() == 0u);
  BOOST_TEST(token.use_count() == 1);
  BOOST_REQUIRE(order.size() == 3000u);
  BOOST_TEST(std::is_sorted(order.rbegin(), order.rend()));
  tape.record([token] {});
  tape.clear();
  BOOST_TEST(token.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(constants_record_nothing_and_keep_nothing_alive) {
  Tape tape;
  const auto w = constant(tape, random_tensor(Shape(64, 64), 1));
  auto h = constant(tape, random_tensor(Shape(100, 64), 2));
  const auto step = [&] { h = pointwise([](auto x) { return silu(x); }, linear(h, w)); };
  step();
  const i64 before = bytes_used();
  for (int i = 0; i < 10; ++i) step();
  BOOST_TEST(bytes_used() == before);
  BOOST_TEST(tape.size() == 0u);
}

// x + y keeps nothing, x * y both: a record holds what its gradient reads.
BOOST_AUTO_TEST_CASE(a_record_keeps_what_its_gradient_reads) {
  Tape tape;
  auto x = variable(tape, random_tensor(Shape<1>(100'000), 1)), y = variable(tape, random_tensor(Shape<1>(100'000), 2));
  const i64 before = bytes_used(), one = 100'000 * 4;
  auto sum = pointwise([](auto a, auto b) { return a + b; }, x, y);
  x = y = sum = {};
  BOOST_TEST(bytes_used() <= before - 2 * one);
  tape.clear();
  x = variable(tape, random_tensor(Shape<1>(100'000), 1)), y = variable(tape, random_tensor(Shape<1>(100'000), 2));
  auto product = pointwise([](auto a, auto b) { return a * b; }, x, y);
  x = y = product = {};
  BOOST_TEST(bytes_used() >= before);
}

BOOST_AUTO_TEST_CASE(a_frozen_prefix_costs_nothing) {
  Net net(config, 1);
  freeze(net, {"conv1", "bn1", "layer1", "layer2", "layer3"});
  freeze_statistics(net, {"bn1", "layer1", "layer2", "layer3"});
  const auto images = random_tensor(Shape(2, 8, 8, 1), 3);

  Tape whole, epilogue;
  const i64 before = bytes_used();
  auto loss = loss_of(net, constant(whole, images));
  const i64 kept = bytes_used() - before;
  BOOST_TEST(whole.size() > 0u);
  backward(loss);
  const auto expected = gradients(net, "*");
  for_each_parameter(net, [](const std::string&, auto& p) { p.slot = nullptr; });

  // The prefix run on tensors, the rest on variables: the same records, memory and gradients.
  const i64 prefix = 7;  // the stem and six blocks
  auto features = net.run(images, 0, prefix);
  const i64 before_epilogue = bytes_used() - features.bytes();
  auto tail_loss = cross_entropy(net.classify(net.run(constant(epilogue, features), prefix, net.unit_count() - 1)),
                                 Tensor<i64, 1>::from({0, 2}, Shape<1>(2)));
  BOOST_TEST(std::abs(double(bytes_used() - before_epilogue - kept)) <= 2048.);
  const size_t records = epilogue.size();
  backward(tail_loss);
  BOOST_TEST((gradients(net, "*") == expected));
  loss = loss_of(net, constant(whole, images));
  BOOST_TEST(whole.size() == records);
  for (const auto& g : gradients(net, "layer3")) BOOST_TEST(g.empty());
}

BOOST_AUTO_TEST_CASE(a_frozen_unit_behind_a_trained_one_passes_gradients) {
  const auto images = random_tensor(Shape(2, 8, 8, 1), 3);
  const auto run = [&](bool frozen) {
    Net net(config, 1);
    if (frozen) freeze(net, {"layer2", "layer3", "layer4", "fc"});
    Tape tape;
    backward(loss_of(net, constant(tape, images)));
    for (const auto& g : gradients(net, "layer3")) BOOST_TEST(g.empty() == frozen);
    return gradients(net, "layer1");
  };
  const auto with = run(true), without = run(false);
  BOOST_TEST((with == without));
  for (const auto& g : with) BOOST_TEST(std::any_of(g.begin(), g.end(), [](float x) { return x != 0; }));
}

// A training step after the first leaves as much memory in use as the one before.
BOOST_AUTO_TEST_CASE(steps_leave_nothing_behind) {
  Net net(config, 1);
  const auto images = random_tensor(Shape(2, 8, 8, 1), 3);
  Tape tape;
  i64 used[3];
  for (i64& bytes : used) {
    backward(loss_of(net, constant(tape, images)));
    bytes = bytes_used();
  }
  BOOST_TEST(used[1] == used[2]);
}

BOOST_AUTO_TEST_CASE(an_exception_leaves_a_clean_tape) {
  Tape tape;
  const i64 before = bytes_used();
  auto x = variable(tape, random_tensor(Shape<1>(50'000), 1));
  auto y = pointwise([](auto a) { return a * a; }, x);
  tape.record([] { throw Error("in the middle"); });
  auto z = mse_loss(y, Tensor<float, 1>::zeros(Shape<1>(50'000)));
  BOOST_CHECK_EXCEPTION(backward(z), Error,
                        [](const Error& e) { return std::string(e.what()).find("in the middle") != std::string::npos; });
  BOOST_TEST(tape.size() == 0u);
  x = {}, y = {}, z = {};
  BOOST_TEST(bytes_used() == before);

  const auto again = variable(tape, Tensor<float, 1>::full(Shape<1>(1), 3.f));
  backward(pointwise([](auto a) { return a * a; }, again));
  BOOST_TEST(again.gradient().item() == 6.f);
}

BOOST_AUTO_TEST_CASE(misuse_is_said) {
  Tape tape;
  const auto says = [](const char* words) {
    return [=](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; };
  };
  const auto x = variable(tape, random_tensor(Shape<1>(3), 1)), c = constant(tape, random_tensor(Shape<1>(1), 1));
  BOOST_CHECK_EXCEPTION(backward(x), Error, says("exactly one element"));
  BOOST_CHECK_EXCEPTION(backward(c), Error, says("needs a gradient"));
  BOOST_CHECK_EXCEPTION(x.gradient(), Error, says("nothing has been written"));
  BOOST_CHECK_EXCEPTION(c.gradient(), Error, says("needs none"));
}

// One that throws leaves no gradient behind.
BOOST_AUTO_TEST_CASE(a_seed_of_several_elements) {
  Tape tape;
  const auto x = variable(tape, Tensor<float, 1>::full(Shape<1>(2), 3.f));
  const auto loss = sum(pointwise([](auto a) { return a * a; }, x));
  for (i64 size : {0, 2})
    BOOST_CHECK_EXCEPTION(backward(loss, Tensor<float, 1>::zeros(Shape<1>(size))), Error,
                          [](const Error& e) { return std::string(e.what()).find("the seed must have") != std::string::npos; });
  backward(loss);
  BOOST_TEST(x.gradient().to_vector() == std::vector<float>(2, 6.f), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(two_inputs_of_a_linear_layer_that_do_not_fit) {
  const auto of = [](auto... extents) { return random_tensor(Shape(i64(extents)...), 1); };
  const auto refused = [](auto f, const std::string& words) {
    BOOST_CHECK_EXCEPTION(f(), Error, [&](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; });
  };
  refused([&] { linear_pair(of(3, 4), of(3, 5), of(6, 8), of(6)); }, "4 + 5 features, weight wants 8");
  refused([&] { linear_pair(of(3, 4), of(3, 5), of(6, 9), of(2)); }, "bias has 2 elements");
  refused([&] { linear_pair(of(2, 3, 4), of(3, 2, 5), of(6, 9), of(6)); }, "differ in more than features");
  refused([&] { linear_pair(of(3, 4), of(3, 0), of(6, 4), of(6)); }, "has no features");
  Tape tape;  // no rows: a gradient of 0
  const auto w = variable(tape, of(6, 9));
  const auto y = linear_pair(constant(tape, of(0, 4)), constant(tape, of(0, 5)), w, constant(tape, of(6)));
  backward(sum(y));
  BOOST_TEST(w.gradient().to_vector() == std::vector<float>(54), boost::test_tools::per_element());
}

// Each was a wrong gradient without a word: half of it, all but what came after backward, none.
BOOST_AUTO_TEST_CASE(one_backward_for_each_computation) {
  const auto says = [](const char* words) {
    return [=](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; };
  };
  constexpr auto square = [](auto a) { return a * a; };
  const auto one = [](float value) { return Tensor<float, 1>::full(Shape<1>(1), value); };
  Tape tape;
  {  // two losses of one computation
    const auto x = variable(tape, one(3));
    const auto y = pointwise(square, x), first = pointwise(square, y), second = add(y, y);
    backward(first);
    BOOST_CHECK_EXCEPTION(backward(second), Error, says("emptied since this loss"));
    BOOST_CHECK_EXCEPTION(backward(first), Error, says("emptied since this loss"));
    BOOST_TEST(x.gradient().item() == 4 * 27.f);
  }
  {  // their sum
    const auto x = variable(tape, one(3));
    const auto y = pointwise(square, x);
    backward(add(pointwise(square, y), add(y, y)));
    BOOST_TEST(x.gradient().item() == 4 * 27.f + 4 * 3.f);
  }
  {  // a leaf may be used again, and its gradient accumulates; a result may not
    const auto x = variable(tape, one(3));
    const auto y = pointwise(square, x);
    backward(y);
    backward(pointwise(square, x));
    BOOST_TEST(x.gradient().item() == 12.f);
    BOOST_CHECK_EXCEPTION(pointwise(square, y), Error, says("before the last backward()"));
    BOOST_CHECK_EXCEPTION(pointwise([](auto a, auto b) { return a * b; }, x, scalar(y)), Error,
                          says("before the last backward()"));
    BOOST_CHECK_EXCEPTION(add(x, y), Error, says("before the last backward()"));
    BOOST_CHECK_EXCEPTION(reshape(y, Shape(1, 1)), Error, says("before the last backward()"));
    BOOST_TEST(tape.size() == 0u);
  }
  {  // cleared without running
    const auto x = variable(tape, one(3));
    const auto y = pointwise(square, x);
    tape.clear();
    BOOST_CHECK_EXCEPTION(backward(y), Error, says("emptied since this loss"));
  }
}

// The gradient of a mean square after its input was multiplied by 100 was 66.7 for 0.667.
BOOST_AUTO_TEST_CASE(values_that_a_gradient_reads_must_stay) {
  constexpr auto times = [](auto a, auto b) { return a * b; };
  const auto refused = [](auto op, auto write) {
    Tape tape;
    const auto x = random_tensor(Shape(2, 3), 1), other = random_tensor(Shape(2, 3), 2);
    const auto loss = mse_loss(op(variable(tape, x), other), Tensor<float, 2>::zeros(Shape(2, 3)));
    write(x, other);
    BOOST_CHECK_EXCEPTION(backward(loss), Error,
                          [](const Error& e) { return std::string(e.what()).find("overwritten after") != std::string::npos; });
    BOOST_TEST(tape.size() == 0u);
  };
  const auto square = [=](auto x, auto) { return pointwise(times, x, x); };
  const auto product = [=](auto x, auto other) { return pointwise(times, x, other); };
  const auto rows = [=](auto x, auto other) { return pointwise(times, x, row(other)); };
  refused([](auto x, auto) { return x; }, [=](auto x, auto) { pointwise_into(x, times, x, value(100)); });
  refused(square, [](auto x, auto) { x.copy_from(Tensor<float, 2>::zeros(x.shape())); });
  refused(square, [](auto x, auto) { x.slice(1, 2).copy_from(Tensor<float, 2>::zeros(Shape(1, 3))); });  // by a view
  refused(square, [](auto x, auto) { cast_into(x, cast<bf16>(x)); });
  refused(product, [](auto, auto other) { softmax_into(other, other.clone()); });
  refused(rows, [=](auto, auto other) { pointwise_into(other, times, other, other); });
}

// What no gradient reads may be overwritten.
BOOST_AUTO_TEST_CASE(values_that_no_gradient_reads_may_change) {
  Tape tape;
  const auto x = random_tensor(Shape(2, 3), 1), other = random_tensor(Shape(2, 3), 2);
  const auto v = variable(tape, x);
  const auto sum = pointwise([](auto a, auto b) { return a + b; }, v, other);
  other.copy_from(x);
  backward(mse_loss(sum, x));
  BOOST_TEST(v.gradient().size() == 6);
}

BOOST_AUTO_TEST_CASE(variables_of_two_tapes_do_not_meet) {
  const auto refused = [](auto op) {
    BOOST_CHECK_EXCEPTION(op(), Error,
                          [](const Error& e) { return std::string(e.what()).find("two tapes") != std::string::npos; });
  };
  Tape one, other;
  const auto a = variable(one, random_tensor(Shape(2, 2), 1)), b = variable(other, random_tensor(Shape(2, 2), 2)),
             fixed = constant(other, random_tensor(Shape(2, 2), 3));
  const auto v = variable(other, random_tensor(Shape<1>(2), 4));
  refused([&] { return add(a, b); });
  refused([&] { return add(a, fixed); });
  refused([&] { return concat_channels(a, b); });
  refused([&] { return linear(a, b); });
  refused([&] { return linear(a, variable(one, random_tensor(Shape(2, 2), 5)), v); });
  refused([&] { return pointwise([](auto x, auto y) { return x * y; }, a, row(v)); });
  refused([&] { return layer_norm(a, v, v, 1e-5f); });
}

// What was overwritten is found before anything is added to a gradient.
BOOST_AUTO_TEST_CASE(a_backward_that_is_refused_adds_nothing) {
  Tape tape;
  const auto x = variable(tape, Tensor<float, 1>::from({3.f}, Shape<1>(1)));
  const Tensor<float, 1> v = Tensor<float, 1>::from({2.f}, Shape<1>(1));
  const auto square = [](auto a) { return a * a; };
  const auto y = variable(tape, v);
  const auto first = pointwise(square, y), loss = add(first, pointwise(square, x));
  v.copy_from(Tensor<float, 1>::from({5.f}, Shape<1>(1)));
  BOOST_CHECK_THROW(backward(loss), Error);
  backward(pointwise(square, x));
  BOOST_TEST(x.gradient().item() == 6.f);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(gradients_of_shared_variables)

// Each uses a variable more than once, in one op or in several.
BOOST_AUTO_TEST_CASE(uses_accumulate) {
  const auto x = random_tensor(Shape(3, 4), 1), y = random_tensor(Shape(3, 4), 2), w = random_tensor(Shape(4, 4), 3),
             pair = random_tensor(Shape(2, 8), 4);
  const auto bias = random_tensor(Shape<1>(2), 5);
  const auto cube = random_tensor(Shape(2, 3, 3), 6), tokens = random_tensor(Shape(1, 3, 4), 7);
  constexpr auto product = [](auto a, auto b) { return a * b; };
  const double worst = std::max({
      gradcheck([](auto a) { return add(a, a); }, x),
      gradcheck([=](auto a) { return pointwise(product, a, a); }, x),
      gradcheck([](auto a) { return concat_channels(a, a); }, x),
      gradcheck([](auto a) { return matmul(a, a); }, cube),
      gradcheck([](auto a) { return attend(a, a, a, 2); }, tokens),
      gradcheck([](auto a, auto p, auto b) { return linear_pair(a, a, p, b); }, x, pair, bias),
      gradcheck([](auto a, auto v) { return linear(linear(a, v), v); }, x, w),
      gradcheck([=](auto a, auto b) { return add(pointwise(product, a, b), add(a, b)); }, x, y),
  });
  BOOST_TEST(worst < 1e-4);
}

// Every pair of transposes against the product without any.
BOOST_AUTO_TEST_CASE(products_of_transposed_operands) {
  const auto a = random_tensor(Shape(2, 3, 4), 1), at = random_tensor(Shape(2, 4, 3), 2), b = random_tensor(Shape(2, 4, 5), 3),
             bt = random_tensor(Shape(2, 5, 4), 4);
  BOOST_TEST(gradcheck([](auto x, auto y) { return matmul(x, y); }, a, b) < 1e-4);
  BOOST_TEST(gradcheck([](auto x, auto y) { return matmul(x, y, true); }, at, b) < 1e-4);
  BOOST_TEST(gradcheck([](auto x, auto y) { return matmul(x, y, false, true); }, a, bt) < 1e-4);
  BOOST_TEST(gradcheck([](auto x, auto y) { return matmul(x, y, true, true); }, at, bt) < 1e-4);
}

// Of several pieces, of none, and in bf16, whose sum is f32.
BOOST_AUTO_TEST_CASE(sums_of_many_elements) {
  const auto x = random_tensor(Shape<1>(20001), 1, 0.5f);
  double expected = 0;
  for (double v : doubles(x)) expected += v;
  BOOST_TEST(std::abs(sum(x).item() - expected) < 1e-6 * expected);
  BOOST_TEST(std::abs(mean(x).item() - expected / 20001) < 1e-6);
  BOOST_TEST(std::abs(mean(cast<bf16>(x)).item() - expected / 20001) < 1e-3);
  BOOST_TEST(sum(Tensor<float, 1>(Shape<1>(0))).item() == 0.f);
  BOOST_CHECK_THROW(mean(Tensor<float, 1>(Shape<1>(0))), Error);
  Tape tape;
  const auto v = variable(tape, x);
  backward(sum(v) + 2.f * mean(v));
  BOOST_TEST(std::abs(v.gradient().data()[20000] - (1 + 2. / 20001)) < 1e-6);
}

BOOST_AUTO_TEST_CASE(slices) {
  const auto x = random_tensor(Shape(5, 2, 3), 1);
  BOOST_TEST(gradcheck([](auto a) { return add(slice(a, 1, 3), slice(a, 2, 4)); }, x) < 1e-4);
  Tape tape;
  BOOST_TEST(slice(constant(tape, x), 1, 3).value().data() == x.data() + 6);
  BOOST_CHECK_THROW(slice(constant(tape, x), 1, 6), Error);
}

BOOST_AUTO_TEST_CASE(operators) {
  const auto x = random_tensor(Shape(3, 4), 1),
             y = pointwise([](auto a) { return abs(a) + 0.5f; }, random_tensor(Shape(3, 4), 2));
  const auto f = [](auto a, auto b) {
    return -(a + b * 2.f) / b + (a - 0.5f) * (1.f - b) - 3.f / b + (2.f * a - b) / 4.f + (1.f + a);
  };
  Tape tape;
  const auto got = f(constant(tape, x), constant(tape, y)).value().to_vector();
  for (size_t i = 0; i < got.size(); ++i) {
    const double a = x.data()[i], b = y.data()[i];
    BOOST_TEST(std::abs(got[i] - (-(a + b * 2) / b + (a - 0.5) * (1 - b) - 3 / b + (2 * a - b) / 4 + (1 + a))) < 1e-5);
  }
  BOOST_TEST(gradcheck(f, x, y) < 1e-3);
  // No gradient flows through a detached value.
  const auto v = variable(tape, Tensor<float, 1>::full(Shape<1>(1), 3.f));
  backward(v * detach(v));
  BOOST_TEST(v.gradient().item() == 3.f);
}

// add and reshape hand their gradient on without a copy; what is added to one receiver later must not reach the other.
BOOST_AUTO_TEST_CASE(gradients_passed_on_are_safe) {
  const auto x = random_tensor(Shape(3, 4), 1), y = random_tensor(Shape(3, 4), 2);
  constexpr auto square = [](auto a) { return a * a; };
  const double worst = std::max({
      gradcheck([=](auto a, auto b) { return add(pointwise(square, a), add(a, b)); }, x, y),
      gradcheck([=](auto a, auto b) { return add(add(a, b), pointwise(square, a)); }, x, y),
      gradcheck([=](auto a, auto b) { return add(add(a, b), add(pointwise(square, b), a)); }, x, y),
      gradcheck(
          [=](auto a, auto b) { return reshape(add(reshape(add(a, b), Shape(4, 3)), reshape(a, Shape(4, 3))), Shape(2, 6)); }, x,
          y),
  });
  BOOST_TEST(worst < 1e-4);
}

// Nor what the caller writes to one of them, as for clipping.
BOOST_AUTO_TEST_CASE(gradients_are_the_variables_own) {
  Tape tape;
  const auto one = Tensor<float, 1>::full(Shape<1>(2), 1.f);
  const auto a = variable(tape, one), b = variable(tape, one);
  backward(sum(a + b));
  for (const auto* v : {&a, &b})
    pointwise_into(
        v->gradient(), [](auto g) { return 10.f * g; }, v->gradient());
  BOOST_TEST(a.gradient().data()[0] == 10.f);
  BOOST_TEST(b.gradient().data()[0] == 10.f);
}

// What nobody adds to is zero, not what was in the memory before.
BOOST_AUTO_TEST_CASE(rows_of_images_without_positions) {
  const auto check = [](Shape<4> shape, Shape<2> rows) {
    { const std::vector<Tensor<float, 2>> old(8, Tensor<float, 2>::full(rows, 777.f)); }
    Tape tape;
    const auto x = variable(tape, Tensor<float, 4>::zeros(shape));
    const auto r = variable(tape, Tensor<float, 2>::full(rows, 2.f));
    const auto c = variable(tape, Tensor<float, 1>::full(Shape(rows[1]), 3.f)),
               s = variable(tape, Tensor<float, 1>::full(Shape(1), 4.f));
    constexpr auto f = [](auto a, auto b, auto d, auto e) { return a * b * d * e; };
    backward(sum(pointwise(f, x, row(r), row(c), scalar(s))));
    BOOST_TEST(same_bits(r.gradient(), Tensor<float, 2>::zeros(rows)));
    BOOST_TEST(same_bits(c.gradient(), Tensor<float, 1>::zeros(c.shape())));
    BOOST_TEST(s.gradient().item() == 0.f);
  };
  check({2, 0, 5, 3}, {2, 3});
  check({1, 0, 5, 3}, {1, 3});
  check({0, 4, 5, 3}, {0, 3});
  check({0, 4, 5, 3000}, {0, 3000});
  check({2, 4, 5, 0}, {2, 0});
}

BOOST_AUTO_TEST_CASE(rank_zero) {
  Tape tape;
  const auto a = variable(tape, Tensor<float, 0>::full({}, 2.f));
  const auto s = variable(tape, Tensor<float, 1>::full(Shape(1), 3.f));
  const auto y = pointwise([](auto x, auto z) { return x * x * z; }, a, scalar(s));
  BOOST_TEST(y.value().item() == 12.f);
  backward(sum(y));
  BOOST_TEST(a.gradient().item() == 12.f);
  BOOST_TEST(s.gradient().item() == 4.f);
}

BOOST_AUTO_TEST_CASE(undefined_variables_are_an_error) {
  Tape tape;
  const auto one = variable(tape, Tensor<float, 1>::full(Shape<1>(1), 1.f));
  const Var<float, 1> none;
  const auto said = [](const Error& e) { return std::string(e.what()).find("undefined") != std::string::npos; };
  BOOST_CHECK_EXCEPTION(sum(none), Error, said);
  BOOST_CHECK_EXCEPTION(one * none, Error, said);
  BOOST_CHECK_EXCEPTION(pointwise([](auto x) { return -x; }, none), Error, said);
  BOOST_CHECK_EXCEPTION(detach(none), Error, said);
}

BOOST_AUTO_TEST_CASE(slots) {
  const auto full = [](float value) { return Tensor<float, 1>::full(Shape<1>(2), value); };
  const auto first = [](const auto& slot) { return slot.gradient().data()[0]; };
  GradientSlot<float, 1, Cpu> slot(Shape<1>(2));
  slot.write([&](const auto& out) { out.copy_from(full(1)); });
  slot.write([&](const auto& out) { out.copy_from(full(2)); });
  BOOST_TEST(first(slot) == 3.f);
  const auto lent = full(10);
  slot.pass(lent);
  BOOST_TEST(first(slot) == 13.f);
  slot.forget();
  BOOST_TEST(!slot.written());
  slot.pass(lent);
  BOOST_TEST(first(slot) == 10.f);
  slot.pass(lent);
  slot.write([&](const auto& out) { out.copy_from(full(1)); });
  BOOST_TEST(first(slot) == 21.f);
  BOOST_TEST(lent.data()[0] == 10.f);

  // In storage of its own, whichever way the gradient comes.
  const auto storage = full(-1);
  GradientSlot<float, 1, Cpu> placed(storage);
  placed.pass(lent);
  BOOST_TEST(storage.data()[0] == 10.f);
  placed.pass(lent);
  BOOST_TEST(storage.data()[0] == 20.f);
  placed.forget();
  placed.write([&](const auto& out) { out.copy_from(full(5)); });
  BOOST_TEST(storage.data()[0] == 5.f);
}

BOOST_AUTO_TEST_SUITE_END()
