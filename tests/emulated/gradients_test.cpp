// Gradients of weights that a device leaves in a 16-bit type: converted together before a step, or when somebody looks.
#include <mindgap/emulated/library.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/optim/flat.hpp>

#include "tests/emulate.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

using Types = std::tuple<bf16, f16>;

template <class T>
struct TwoConvolutions {
  Conv2d<Emulated, Precision<T>> first{8, 8, 3, {1, 1}, false}, second{8, 16, 1, {}, false};
  MINDGAP_MODULE(first, second)

  // The first one `times` over, so that its gradients are added.
  template <class X>
  auto operator()(const X& x, int times) {
    auto h = x;
    for (int i = 0; i < times; ++i) h = first(h);
    return second(h);
  }
};

// What backward leaves: the gradients of both weights, one after the other, by read(net, parameters).
template <class T, class Read>
std::vector<float> gradients(int times, const Read& read) {
  TwoConvolutions<T> net;
  initialise(net, 1);
  FlatParameters<Emulated> parameters(net, 0.f);
  Tape tape;
  const auto y = net(constant(tape, random_on<Emulated, T>(Shape<4>(2, 5, 5, 8), 2)), times);
  y.slot()->pass(random_on<Emulated, T>(y.shape(), 3));
  tape.run();
  return read(net, parameters);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradients_in_16_bits)

BOOST_AUTO_TEST_CASE_TEMPLATE(are_converted, T, Types) {
  for (const int times : {1, 2}) {
    const auto one_by_one = gradients<T>(times, [](auto& net, auto&) {
      std::vector<float> out = net.first.weight.slot->gradient().to_vector();
      for (float value : net.second.weight.slot->gradient().to_vector()) out.push_back(value);
      return out;
    });
    const auto together = gradients<T>(times, [](auto&, auto& parameters) {
      parameters.complete_gradients();
      return parameters.gradients().to_vector();
    });
    for (float value : together) BOOST_REQUIRE(std::isfinite(value));
    BOOST_TEST((together == one_by_one));  // the weights fill whole groups of the flat buffer
    float largest = 0;
    for (float value : together) largest = std::max(largest, std::abs(value));
    BOOST_TEST(largest > 0.1f);
  }
}

// One that waits for its conversion is gone with its step, not added to the next one's.
BOOST_AUTO_TEST_CASE(are_forgotten) {
  gradients<bf16>(1, [](auto& net, auto& parameters) {
    parameters.forget_gradients();
    BOOST_CHECK_THROW(net.first.weight.slot->gradient(), Error);
    parameters.complete_gradients();
    for (float value : parameters.gradients().to_vector()) BOOST_TEST(value == 0.f);
    return std::vector<float>();
  });
}

// More pieces than a launch takes, of other lengths, some of less than a vector; blocks find theirs.
BOOST_AUTO_TEST_CASE(many_pieces) {
  const i64 sizes[] = {1, 4096, 4097, 9000, 7, 8192};
  kernel::ConvertAll<float, bf16> all;
  std::vector<Tensor<float, 1>> to;
  std::vector<Tensor<bf16, 1>> from;
  for (int i = 0; i < all.most; ++i) {
    const Shape<1> shape(sizes[i % 6]);
    from.push_back(random_tensor<bf16>(shape, u64(i)));
    to.push_back(Tensor<float, 1>::zeros(shape));
    all.add({to.back().data(), from.back().data(), shape[0]});
  }
  run_fibers({all.blocks(), 32}, all, 1);
  for (int i = 0; i < all.most; ++i)
    for (i64 j = 0; j < to[size_t(i)].size(); ++j) BOOST_REQUIRE(to[size_t(i)].data()[j] == float(from[size_t(i)].data()[j]));
}

BOOST_AUTO_TEST_SUITE_END()
