// An error names the line that called the library, not the one that found the fault.
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/pointwise.hpp>
#include <mindgap/autograd/pool.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/autograd/resize.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/nn/attention.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/nn/state_dict.hpp>
#include <mindgap/optim/optimizer.hpp>

#include "tests/files.hpp"
#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

using F32 = Precision<float>;

template <int N>
Tensor<float, N> zeros(Shape<N> shape) {
  return Tensor<float, N>::zeros(shape);
}

void check_line(const std::string& said, int line) {
  const std::string at = text("\n  at      tests/unit/caller_test.cpp:", line);
  BOOST_TEST(said.ends_with(at), said << "\nshould end with" << at);
}

}  // namespace

// The error of an expression names the expression's line.
#define NAMES_ITS_LINE(...) check_line(error_of([&] { (void)(__VA_ARGS__); }), __LINE__)

BOOST_AUTO_TEST_SUITE(caller)

BOOST_AUTO_TEST_CASE(of_functions) {
  const auto image = zeros<4>({2, 5, 5, 3}), weight = zeros<4>({4, 3, 3, 2});
  const auto matrix = zeros<2>({2, 3}), wide = zeros<2>({2, 4});
  const auto row = zeros(Shape<1>(3)), short_row = zeros(Shape<1>(2));
  const auto batch = zeros<3>({2, 3, 4});
  NAMES_ITS_LINE(conv2d(image, weight));
  NAMES_ITS_LINE(linear(matrix, wide));
  NAMES_ITS_LINE(matmul(batch, batch));
  NAMES_ITS_LINE(attention(batch, batch, batch, 3));
  NAMES_ITS_LINE(layer_norm(matrix, short_row, row, 1e-5f));
  NAMES_ITS_LINE(group_norm(epilogues::silu, GroupNormInput{image}, 2, 1e-5f, row, row));
  NAMES_ITS_LINE(batch_statistics(zeros<2>({1, 3}), 1e-5f));
  NAMES_ITS_LINE(max_pool2d(image, 2, 1, 5));
  NAMES_ITS_LINE(avg_pool2d(image, 9, 1, 0));
  NAMES_ITS_LINE(upsample_nearest(image, 0, 4));
  NAMES_ITS_LINE(concat_channels(matrix, zeros<2>({3, 3})));
  NAMES_ITS_LINE(cross_entropy(matrix, Tensor<i64, 1>::full(Shape<1>(2), 7)));
  NAMES_ITS_LINE(mse_loss(matrix, wide));
  NAMES_ITS_LINE(argmax(zeros<2>({2, 0})));
  NAMES_ITS_LINE(embedding(Tensor<i64, 1>::full(Shape<1>(1), 9), matrix));
  NAMES_ITS_LINE(mean(zeros(Shape<1>(0))));
}

BOOST_AUTO_TEST_CASE(of_tensors) {
  const auto x = zeros<2>({2, 3});
  NAMES_ITS_LINE(Tensor<float, 2>(Shape<2>(-1, 3)));
  NAMES_ITS_LINE(Tensor<float, 2>::zeros(Shape<2>(-1, 3)));
  NAMES_ITS_LINE(Tensor<float, 1>::from({1.f, 2.f}, Shape<1>(3)));
  NAMES_ITS_LINE(Tensor<float, 1>::full(Shape<1>(-3), 1.f));
  NAMES_ITS_LINE(x.reshape(Shape<1>(5)));
  NAMES_ITS_LINE(x.slice(0, 3));
  NAMES_ITS_LINE(x.item());
  NAMES_ITS_LINE(x.copy_from(zeros<2>({3, 2})));
  NAMES_ITS_LINE(zeros(Shape<1>(3)).as<i64>());
}

BOOST_AUTO_TEST_CASE(of_variables) {
  Tape tape;
  const auto x = variable(tape, zeros<2>({2, 3})), wide = variable(tape, zeros<2>({2, 4}));
  const auto image = variable(tape, zeros<4>({2, 5, 5, 3}));
  NAMES_ITS_LINE(linear(x, wide));
  NAMES_ITS_LINE(conv2d(image, variable(tape, zeros<4>({4, 3, 3, 2}))));
  NAMES_ITS_LINE(max_pool2d(image, 2, 1, 5));
  NAMES_ITS_LINE(add(x, variable(tape, zeros<2>({3, 2}))));
  NAMES_ITS_LINE(mse_loss(x, wide.value()));
  NAMES_ITS_LINE(reshape(x, Shape<1>(5)));
  NAMES_ITS_LINE(slice(x, 0, 3));
  NAMES_ITS_LINE(x.gradient());
  NAMES_ITS_LINE(backward(variable(tape, zeros(Shape<1>(2)))));
  // The fault is found in the backward of an op.
  const auto squares = pointwise([](auto a) { return square(a); }, x);
  const auto loss = sum(squares);
  x.value().copy_from(zeros<2>({2, 3}));
  NAMES_ITS_LINE(backward(loss));
}

struct Two {
  Linear<Cpu, F32> first{3, 4}, second{5, 2};
  MINDGAP_MODULE(first, second)

  static constexpr int line = __LINE__ + 1;  // of the wrong call
  auto operator()(const Tensor<float, 2>& x) { return second(first(x)); }
};

BOOST_AUTO_TEST_CASE(of_layers) {
  const auto image = zeros<4>({2, 5, 5, 3});
  const auto matrix = zeros<2>({2, 3});
  const auto conv = Conv2d<Cpu, F32>(4, 2, 3);
  const auto dense = Linear<Cpu, F32>(4, 2);
  const auto groups = GroupNorm2d<Cpu, F32>(2, 4, 1e-5f);
  const auto rows = LayerNorm<Cpu, F32>(4);
  const auto table = Embedding<Cpu, F32>(4, 2);
  auto batch = BatchNorm2d<Cpu, F32>(3);
  Tape tape;
  NAMES_ITS_LINE(conv(image));
  NAMES_ITS_LINE(conv(variable(tape, image)));
  NAMES_ITS_LINE(conv.with_moments(image));
  NAMES_ITS_LINE(dense(matrix));
  NAMES_ITS_LINE(groups(epilogues::silu, image, Tensor<float, 4>(), Tensor<float, 2>()));
  NAMES_ITS_LINE(rows(matrix));
  NAMES_ITS_LINE(batch(matrix.slice(0, 1)));
  NAMES_ITS_LINE(table(Tensor<i64, 1>::full(Shape<1>(1), 9), matrix));
  // In a module of one's own it is the module's line; in one of ours the line that calls it, and `in` says which layer it is.
  Two two;
  check_line(error_of([&] { two(matrix); }), Two::line);
  ResNet<Cpu, F32> net(ResNetConfig::make("resnet18", 4, 1, 10, Stem::small), 0);
  NAMES_ITS_LINE(net(image));
  BOOST_TEST(error_of([&] { net(image); }).find("in      conv1") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(of_networks_and_optimizers) {
  using Layer = Linear<Cpu, F32>;
  NAMES_ITS_LINE(Layer(-3, 2));
  NAMES_ITS_LINE(Conv2d<Cpu, F32>(3, -2, 3));
  NAMES_ITS_LINE(BatchNorm2d<Cpu, F32>(-1));
  NAMES_ITS_LINE(GroupNorm2d<Cpu, F32>(2, -4, 1e-5f));
  NAMES_ITS_LINE(LayerNorm<Cpu, F32>(-1));
  NAMES_ITS_LINE(Embedding<Cpu, F32>(-1, 2));
  NAMES_ITS_LINE(MultiheadAttention<Cpu, F32>(-4, 2));
  Layer layer(3, 2);
  NAMES_ITS_LINE(freeze(layer, {"nothing"}));
  NAMES_ITS_LINE(unfreeze(layer, {"nothing"}));
  NAMES_ITS_LINE(freeze_statistics(layer, {"nothing"}));
  NAMES_ITS_LINE(unfreeze_statistics(layer, {"nothing"}));
  NAMES_ITS_LINE(reinitialise(layer, 1, {"nothing"}));
  NAMES_ITS_LINE(load(layer, "/there is no such file"));
  NAMES_ITS_LINE(save(layer, "/there is no such folder/file"));
  initialise(layer, 1);
  FlatParameters<Cpu> parameters(layer);
  NAMES_ITS_LINE(FlatParameters<Cpu>(layer, 0.f));
  NAMES_ITS_LINE(parameters.set_group("nothing", 1.f, 0.f));
  Sgd<Cpu> sgd(parameters, {});
  NAMES_ITS_LINE(sgd.step());
  AdamW<Cpu> adam(parameters, {});
  NAMES_ITS_LINE(adam.step());
  Layer frozen(3, 2);
  freeze(frozen, {"bias"});
  FlatParameters<Cpu> others(frozen);
  Sgd<Cpu> of_others(others, {});
  unfreeze(frozen, {"bias"});
  NAMES_ITS_LINE(of_others.step(0.1f));
  NAMES_ITS_LINE(of_others.prepare(0.1f));
}

// What takes any number of operands cannot take a line; a Caller of the program's own names one.
BOOST_AUTO_TEST_CASE(of_ones_own) {
  constexpr auto sum = [](auto a, auto b) { return a + b; };
  const auto x = zeros<2>({2, 3}), y = zeros<2>({3, 2});
  BOOST_TEST(error_of([&] { pointwise(sum, x, y); }).find("at      include/mindgap/ops/pointwise.hpp") != std::string::npos);
  const int line = __LINE__ + 2;
  const std::string said = error_of([&] {
    const Caller here;
    pointwise(sum, x, y);
  });
  check_line(said, line);
  // It ends with its scope, also after an error.
  const int next = __LINE__ + 1;
  check_line(error_of([] { throw Error("something else"); }), next);
}

BOOST_AUTO_TEST_SUITE_END()
