// cuDNN has a plan that keeps our rules for every convolution and every attention of the models, on an H100: the same bits in
// every run, no sums below f32, and for f32 no TF32. Needs cuDNN and no GPU: the card is described (h100.json), and plans are
// made, compiled kernels included, but not run.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/core/file.hpp>
#include <mindgap/cuda/cudnn_attention.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/models/unet.hpp>

#include "tests/plans/recording.hpp"
#include <boost/test/unit_test.hpp>
#include <tuple>
#include <vector>

using namespace mindgap;

namespace {

using Images = Tensor<bf16, 4, Emulated>;
using P = Precision<bf16>;

// What a training step of a network calls; inference at the same batch calls the forward ones of these.
template <class Forward>
test::Recorded calls_of(const Forward& forward, Shape<4> images) {
  test::recorded() = {};
  Tape tape;
  const auto y = forward(constant(tape, Images(images)));
  backward(mse_loss(y, std::remove_cvref_t<decltype(y.value())>(y.value().shape())));
  return test::recorded();
}

test::Recorded calls_of_resnet(const std::string& name, i64 batch, i64 pixels, i64 channels, i64 width) {
  ResNet<Emulated, P> net(ResNetConfig::make(name, width, channels, 10, pixels > 64 ? Stem::large : Stem::small), 1);
  return calls_of([&](const auto& x) { return net(x); }, Shape<4>(batch, pixels, pixels, channels));
}

// The generator that ships.
test::Recorded calls_of_unet(i64 batch) {
  const UNetConfig config = read_unet_config(MINDGAP_SOURCE_DIR "/data/generator/unet/config.json");
  UNet2DModel<Emulated, P> net(config, 1);
  const Tensor<float, 1, Emulated> times{Shape<1>(batch)};
  const Tensor<i64, 1, Emulated> classes{Shape<1>(batch)};
  return calls_of([&](const auto& x) { return net(x, times, classes); },
                  Shape<4>(batch, config.sample_size, config.sample_size, config.in_channels));
}

const std::string& h100() {
  static const std::string description = read_file(MINDGAP_SOURCE_DIR "/tests/plans/h100.json");
  return description;
}

void check_attention(const AttentionGeometry& g, DType type, bool backward) {
  BOOST_TEST(cuda::attention_plan_on(h100(), g, type, backward).has_value(),
             "no plan for attention" << (backward ? " backward, " : ", ") << name(type) << ", " << g.n << " x " << g.heads
                                     << " heads of " << g.d << ", " << g.l << " x " << g.m);
}

// Each as the models call it; each forward one also with the tails that it may have.
void check_plans(const test::Recorded& calls) {
  BOOST_TEST(!calls.convolutions.empty());
  std::vector<std::tuple<ConvGeometry, cuda::ConvDirection, cuda::ConvTail>> convolutions;
  for (const auto& [g, direction] : calls.convolutions) {
    convolutions.push_back({g, direction, {}});
    if (direction == cuda::ConvDirection::forward)
      for (const cuda::ConvTail& tail : {cuda::ConvTail{false, true, false}, {false, true, true}, {true, true, true}})
        convolutions.push_back({g, direction, tail});
  }
  for (const ConvGeometry& g : calls.sums)
    for (const bool residual : {false, true})
      convolutions.push_back({g, cuda::ConvDirection::backward_data, cuda::ConvTail{residual, false, false}});
  for (const auto& [g, direction, tail] : convolutions)
    for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
      if (direction == cuda::ConvDirection::backward_data && tail.residual && !cuda::worth_compiling_a_sum(g, type)) continue;
      BOOST_TEST(cuda::conv2d_plan_on(h100(), g, type, direction, tail).has_value(),
                 "no plan for direction " << int(direction) << (tail.residual ? ", residual" : "") << (tail.bias ? ", bias" : "")
                                          << (tail.relu ? ", relu, " : ", ") << name(type) << ", x [" << g.n << ", " << g.h
                                          << ", " << g.w << ", " << g.c_in << "], w [" << g.c_out << ", " << g.kh << ", " << g.kw
                                          << "], stride " << g.stride_h);
    }
  for (const ConvGeometry& g : calls.with_sums)
    BOOST_TEST(cuda::conv2d_plan_on(h100(), g, DType::f16, cuda::ConvDirection::forward, {}, true).has_value(),
               "no plan with sums for " << g.str());
  for (const AttentionGeometry& g : calls.attention)
    for (const bool backward : {false, true}) check_attention(g, DType::bf16, backward);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plans)

BOOST_AUTO_TEST_CASE(resnet18_of_32_pixels) { check_plans(calls_of_resnet("resnet18", 512, 32, 3, 64)); }
BOOST_AUTO_TEST_CASE(resnet18_of_28_pixels) { check_plans(calls_of_resnet("resnet18", 128, 28, 1, 32)); }
BOOST_AUTO_TEST_CASE(resnet50_of_224_pixels) { check_plans(calls_of_resnet("resnet50", 256, 224, 3, 64)); }
BOOST_AUTO_TEST_CASE(generator) {
  const test::Recorded calls = calls_of_unet(32);
  BOOST_TEST(!calls.attention.empty());
  check_plans(calls);
}

// Stable Diffusion 1.5 at 512 pixels, 8 images with guidance: self-attention at four sizes, and to a text of 77 tokens.
BOOST_AUTO_TEST_CASE(stable_diffusion) {
  for (const auto& [tokens, d] : {std::pair<i64, i64>(4096, 40), {1024, 80}, {256, 160}, {64, 160}})
    for (const i64 keys : {tokens, i64(77)}) {
      check_attention({16, 8, tokens, keys, d}, DType::f16, false);
      check_attention({16, 8, tokens, keys, d}, DType::bf16, true);
    }
}

BOOST_AUTO_TEST_CASE(what_has_no_plan) {
  BOOST_TEST(
      !cuda::conv2d_plan_on(h100(), {2, 8, 8, 64, 64, 3, 3, 1, 1, 1, 1}, DType::bf16, cuda::ConvDirection::forward, {}, true));
  BOOST_TEST(!cuda::attention_plan_on(h100(), {2, 2, 64, 64, 40}, DType::f32, false));
  BOOST_TEST(!cuda::attention_plan_on(h100(), {2, 2, 64, 64, 12}, DType::bf16, false));
  BOOST_TEST(!cuda::attention_plan_on(h100(), {2, 2, 64, 64, 264}, DType::bf16, false));
  BOOST_TEST(!cuda::conv2d_plan_on("{}", {2, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1}, DType::bf16, cuda::ConvDirection::forward));
}

BOOST_AUTO_TEST_SUITE_END()
