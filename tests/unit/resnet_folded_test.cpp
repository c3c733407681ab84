// A folded ResNet answers as the network in evaluation mode does.
#include <mindgap/models/resnet_folded.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// Norms that do something: statistics of two batches, gamma and beta at random.
template <class P>
void settle(ResNet<Cpu, P>& net, const Tensor<typename P::compute, 4>& images) {
  u64 id = 10;
  for_each_module(net, [&](const std::string&, auto& module) {
    if constexpr (requires { module.frozen_statistics; }) {
      for (auto* p : {&module.weight, &module.bias}) {
        p->master.copy_from(random_tensor(p->shape(), ++id, p == &module.weight ? 1.f : 0.f, 0.2f));
        p->refresh();
      }
    }
  });
  for (int k = 0; k < 2; ++k) net(images);
  set_training(net, false);
}

template <class T>
double difference(const std::string& name, i64 width, Stem stem) {
  ResNet<Cpu, Precision<T>> net(ResNetConfig::make(name, width, 3, 10, stem), 1);
  const auto images = random_tensor<T>(Shape<4>(4, 40, 40, 3), 2);
  settle(net, images);
  const FoldedResNet<Cpu, Precision<T>> folded(net);
  return relative_error(folded(images), doubles(net(images)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resnet_folded)

BOOST_AUTO_TEST_CASE(answers_of_the_network) {
  for (Stem stem : {Stem::small, Stem::large}) {
    BOOST_TEST(difference<float>("resnet18", 8, stem) < 1e-5);
    BOOST_TEST(difference<float>("resnet50", 4, stem) < 1e-5);
    BOOST_TEST(difference<bf16>("resnet18", 8, stem) < 3e-2);
  }
}

// The classifier was shared: a network that was trained on changed half of its folded form.
BOOST_AUTO_TEST_CASE(it_keeps_what_it_was_made_of) {
  ResNet<Cpu, Precision<float>> net(ResNetConfig::make("resnet18", 4, 1, 3, Stem::small), 1);
  const auto images = random_tensor(Shape<4>(2, 12, 12, 1), 2);
  settle(net, images);
  const FoldedResNet<Cpu, Precision<float>> folded(net);
  const auto before = folded(images).clone();
  for_each_parameter(net, [](const std::string&, auto& p) { p.value.copy_from(random_tensor(p.shape(), 3)); });
  BOOST_TEST(same_bits(folded(images), before));
}

BOOST_AUTO_TEST_SUITE_END()
