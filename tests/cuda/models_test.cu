// One training step of each model on the GPU against the CPU: loss, every gradient, the parameters after a step.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/cuda/library.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/optim/optimizer.hpp>

#include "tests/cuda/parity.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

// The loss before a step, the gradients, and the weights after it.
template <Device D, class Net, class Loss>
Outputs one_step(Net& net, const Loss& loss_of) {
  FlatParameters<D> parameters(net, 5e-4f);
  Sgd<D> sgd(parameters, {0.9f, true});
  Tape tape;
  const auto loss = loss_of(tape);
  backward(loss);
  parameters.complete_gradients();
  Outputs out = outputs(loss.value(), parameters.gradients());
  sgd.step(0.05f);
  out.push_back(doubles(parameters.values().template to<Cpu>()));
  return out;
}

template <Device D, class T>
Outputs resnet_step() {
  ResNet<D, Precision<T>> net(ResNetConfig::make("resnet18", 8, 1, 10, Stem::small), 1);
  const auto images = random_on<D, T>(Shape<4>(8, 28, 28, 1), 1);
  const auto labels = Tensor<i64, 1, D>::from({0, 1, 2, 3, 4, 5, 6, 7}, Shape<1>(8));
  return one_step<D>(net, [&](Tape& tape) { return cross_entropy(net(constant(tape, images)), labels, 0.1f); });
}

template <Device D, class T>
Outputs unet_step() {
  UNetConfig config;
  config.in_channels = config.out_channels = 1;
  config.block_out_channels = {16, 32};
  config.down_attention = {false, true};
  config.up_attention = {true, false};
  config.layers_per_block = 1;
  config.norm_num_groups = 8;
  config.num_class_embeds = 11;
  UNet2DModel<D, Precision<T>> net(config, 1);
  const auto images = random_on<D, T>(Shape<4>(4, 14, 14, 1), 1), goal = random_on<D, T>(images.shape(), 2);
  const auto times = Tensor<float, 1, D>::from({10, 300, 600, 999}, Shape<1>(4));
  const auto classes = Tensor<i64, 1, D>::from({0, 3, 9, 10}, Shape<1>(4));
  return one_step<D>(net, [&](Tape& tape) { return mse_loss(net(constant(tape, images), times, classes), goal); });
}

template <Device D>
std::vector<DeviceCase> model_cases() {
  return {{"resnet18 f32", 2e-4, [] { return resnet_step<D, float>(); }},
          {"resnet18 bf16", 0.2, [] { return resnet_step<D, bf16>(); }},
          {"unet f32", 2e-4, [] { return unet_step<D, float>(); }},
          {"unet bf16", 0.2, [] { return unet_step<D, bf16>(); }}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(models)

BOOST_AUTO_TEST_CASE(agree_with_cpu) { compare_with_cpu(model_cases<Cpu>(), model_cases<Cuda>()); }

BOOST_AUTO_TEST_SUITE_END()
