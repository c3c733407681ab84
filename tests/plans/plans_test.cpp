// cuDNN has a plan for every convolution and every attention of the models, on an H100 and on an A100, and none that may be
// taken breaks our rules: the same bits in every run, no sums below f32, and in f32 no TF32, Winograd or FFT. Needs cuDNN and no
// GPU: the cards are described (h100.json, a100.json), and plans are made, compiled kernels included, but not run.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/cuda/cudnn_attention.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/models/autoencoder_kl.hpp>
#include <mindgap/models/clip_text.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/models/single_file.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/models/unet_condition.hpp>

#include "tests/plans/recording.hpp"
#include <array>
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

// Runs Stable Diffusion of a version, in the size that it was trained on: the U-Net for these numbers of images (with guidance,
// twice as many), the autoencoder both ways, the text encoder.
struct StableDiffusionCalls {
  using T = f16;
  using P16 = Precision<T>;
  StableDiffusionConfigs configs;

  explicit StableDiffusionCalls(i64 version) : configs(published_configs(version)) {}

  void unet(const std::vector<i64>& batches) const {
    const UNet2DConditionModel<Emulated, P16> net(configs.unet);
    const i64 size = configs.unet.sample_size;
    for (const i64 n : batches) {
      const Tensor<T, 3, Emulated> text(Shape<3>(n, 77, configs.unet.cross_attention_dim));
      net(Tensor<T, 4, Emulated>(Shape<4>(n, size, size, 4)), Tensor<float, 1, Emulated>(Shape<1>(n)), net.cross_keys(text));
    }
  }
  Tensor<T, 4, Emulated> latents(i64 n) const {
    return Tensor<T, 4, Emulated>(Shape<4>(n, configs.unet.sample_size, configs.unet.sample_size, 4));
  }
  void encode(const std::vector<i64>& batches) const {
    const AutoencoderKL<Emulated, P16> net(configs.vae);
    const i64 side = configs.unet.sample_size * configs.vae.scale();
    for (const i64 n : batches) net.encode(Tensor<T, 4, Emulated>(Shape<4>(n, side, side, 3)));
  }
  void decode(const std::vector<i64>& batches) const {
    const AutoencoderKL<Emulated, P16> net(configs.vae);
    for (const i64 n : batches) net.decode(latents(n));
  }
  void text(const std::vector<i64>& batches) const {
    const CLIPTextModel<Emulated, P16> net(configs.text_encoder);
    for (const i64 n : batches) net(Tensor<i64, 2, Emulated>(Shape<2>(n, 77)));
  }
};

std::string described(const std::string& card) { return read_file(MINDGAP_SOURCE_DIR "/tests/plans/" + card + ".json"); }
const std::array<std::string, 2> cards{"h100", "a100"};

// What cuDNN notes of a configuration's engine, read here anew, so that no mistake of the library's in reading it is passed on.
template <class Note>
std::vector<Note> notes_of(const cuda::detail::Descriptor& configuration, cudnnBackendAttributeName_t name,
                           cudnnBackendAttributeType_t type) {
  cudnnBackendDescriptor_t engine = nullptr;
  int64_t count = 0;
  std::vector<Note> notes(256);
  BOOST_REQUIRE(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS);
  BOOST_REQUIRE(cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                         &count, &engine) == CUDNN_STATUS_SUCCESS);
  BOOST_REQUIRE(cudnnBackendGetAttribute(engine, name, type, int64_t(notes.size()), &count, notes.data()) ==
                CUDNN_STATUS_SUCCESS);
  cudnnBackendDestroyDescriptor(engine);
  BOOST_REQUIRE(count < int64_t(notes.size()));
  notes.resize(size_t(count));
  return notes;
}
std::string broken_rules(const cuda::detail::Descriptor& configuration, DType type) {
  std::string broken;
  for (const auto note :
       notes_of<cudnnBackendNumericalNote_t>(configuration, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE)) {
    if (note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) broken += " sums below f32";
    if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) broken += " other bits in every run";
    if (type != DType::f32) continue;
    if (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) broken += " TF32";
    if (note == CUDNN_NUMERICAL_NOTE_FFT) broken += " FFT";
    if (note == CUDNN_NUMERICAL_NOTE_WINOGRAD || note == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 ||
        note == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 || note == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13)
      broken += " Winograd";
  }
  return broken;
}
bool compiles(const cuda::detail::Descriptor& configuration) {
  const auto notes =
      notes_of<cudnnBackendBehaviorNote_t>(configuration, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE);
  return std::find(notes.begin(), notes.end(), CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != notes.end();
}

// Whether a call has a plan on a card. Nothing that it might take breaks a rule; only the first is made.
template <class Key>
bool has_plan_on(const std::string& card, const Key& key) {
  using namespace cuda::detail;
  std::unique_ptr<Plan> plan;
  try {
    const Card described_card(described(card));
    const OperationGraph operations = key.graph();
    const Descriptor graph = operations.finalized(described_card);
    std::vector<Descriptor> proposed = proposals(graph, described_card);
    for (size_t place = 0; place < proposed.size(); ++place) {
      Descriptor& configuration = proposed[place];
      if (!Notes(configuration).allowed_by(key.rules())) continue;
      std::string broken = broken_rules(configuration, key.type);
      if (compiles(configuration) && key.rules().most_compiled == 0) broken += " compiled";
      BOOST_TEST(broken.empty(), card << ": plan " << place << " of " << key.str() << ":" << broken);
      if (!plan) plan = make_plan(described_card, std::move(configuration), int(place), key.rules());
    }
  } catch (const CudnnFailure&) {  // cuDNN knows no such graph
  }
  return plan != nullptr;
}

bool has_attention_plan_on(const std::string& card, const AttentionGeometry& g, DType type, bool backward) {
  return cuda::detail::may_attend(g, type, backward) && has_plan_on(card, cuda::detail::AttentionKey{g, type, backward});
}
void check_attention(const AttentionGeometry& g, DType type, bool backward) {
  for (const std::string& card : cards) {
    if (card == "a100" && backward && g.d > 128) continue;  // cuDNN has none there; attention is then two products
    BOOST_TEST(has_attention_plan_on(card, g, type, backward),
               card << ": no plan for attention" << (backward ? " backward, " : ", ") << name(type) << ", " << g.n << " x "
                    << g.heads << " heads of " << g.d << ", " << g.l << " x " << g.m);
  }
}

bool has_conv_plan_on(const std::string& card, const ConvGeometry& g, DType type, cuda::ConvDirection direction,
                      cuda::ConvEpilogue epilogue = {}, bool sums = false) {
  return has_plan_on(card, cuda::detail::conv_key(g, type, direction, epilogue, sums));
}

// Each as the models call it; each forward one also with the epilogues that it may have.
void check_plans(const test::Recorded& calls) {
  BOOST_TEST(!calls.convolutions.empty());
  std::vector<std::tuple<ConvGeometry, cuda::ConvDirection, cuda::ConvEpilogue>> convolutions;
  for (const auto& [g, direction] : calls.convolutions) {
    convolutions.push_back({g, direction, {}});
    if (direction == cuda::ConvDirection::forward)
      for (const cuda::ConvEpilogue& epilogue : {cuda::ConvEpilogue{false, true, false}, {false, true, true}, {true, true, true}})
        convolutions.push_back({g, direction, epilogue});
  }
  for (const ConvGeometry& g : calls.sums)
    for (const bool residual : {false, true})
      convolutions.push_back({g, cuda::ConvDirection::backward_data, cuda::ConvEpilogue{residual, false, false}});
  for (const std::string& card : cards) {
    for (const auto& [g, direction, epilogue] : convolutions)
      for (const DType type : {DType::bf16, DType::f16, DType::f32}) {
        if (direction == cuda::ConvDirection::backward_data && epilogue.residual)
          if (card != "h100" || !cuda::worth_compiling_a_sum(g, type)) continue;  // compiled, for seconds
        BOOST_TEST(has_conv_plan_on(card, g, type, direction, epilogue),
                   card << ": no plan for " << cuda::detail::conv_key(g, type, direction, epilogue).str());
      }
    for (const ConvGeometry& g : calls.with_sums)
      if (card == "h100")  // for an A100 it would compile them
        BOOST_TEST(has_conv_plan_on(card, g, DType::f16, cuda::ConvDirection::forward, {}, true),
                   card << ": no plan with sums for " << g.str());
  }
  for (const AttentionGeometry& g : calls.attention)
    for (const bool backward : {false, true}) check_attention(g, DType::bf16, backward);
}

// One image and 8, with and without guidance. Attention of one head of 512 channels and of a text to itself, which is causal, are
// products.
void check_stable_diffusion(i64 version) {
  test::recorded() = {};
  const StableDiffusionCalls model(version);
  model.unet({1, 2, 16});
  model.encode({1, 8});
  model.decode({1, 8});
  model.text({1});
  const test::Recorded calls = test::recorded();
  BOOST_TEST(calls.convolutions.size() > 100u);
  for (const std::string& card : cards)
    for (const auto& [g, direction] : calls.convolutions)
      for (const DType type : {DType::f16, DType::bf16, DType::f32})
        for (const bool bias : {false, true})
          BOOST_TEST(has_conv_plan_on(card, g, type, direction, {false, bias, false}),
                     card << ": no plan for " << cuda::detail::conv_key(g, type, direction, {false, bias, false}).str());
  int of_cudnn = 0;
  for (const AttentionGeometry& g : calls.attention)
    if (!g.causal && g.d <= 256) check_attention(g, DType::f16, false), ++of_cudnn;
  BOOST_TEST(of_cudnn >= 3 * 8);
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

BOOST_AUTO_TEST_CASE(what_has_no_plan) {
  for (const std::string& card : cards) {
    BOOST_TEST(!has_conv_plan_on(card, {2, 8, 8, 64, 64, 3, 3, 1, 1, 1, 1}, DType::bf16, cuda::ConvDirection::forward, {}, true));
    BOOST_TEST(!has_attention_plan_on(card, {2, 2, 64, 64, 40}, DType::f32, false));
    BOOST_TEST(!has_attention_plan_on(card, {2, 2, 64, 64, 12}, DType::bf16, false));
    BOOST_TEST(!has_attention_plan_on(card, {2, 2, 64, 64, 264}, DType::bf16, false));
    BOOST_TEST(!has_attention_plan_on(card, {8, 1, 4096, 4096, 512}, DType::f16, false));  // the autoencoder's
  }
  BOOST_CHECK_THROW(cuda::detail::Card("{}"), cuda::detail::CudnnFailure);
}

BOOST_AUTO_TEST_SUITE_END()

// A test of its own: cuDNN compiles a hundred kernels of attention.
BOOST_AUTO_TEST_SUITE(stable_diffusion)

BOOST_AUTO_TEST_CASE(version_1) {
  check_stable_diffusion(1);
  for (const auto& [tokens, d] : {std::pair<i64, i64>(4096, 40), {1024, 80}, {256, 160}, {64, 160}})
    for (const i64 keys : {tokens, i64(77)}) check_attention({16, 8, tokens, keys, d}, DType::bf16, true);
}
BOOST_AUTO_TEST_CASE(version_2) { check_stable_diffusion(2); }

// What bench/gpu_roofline.py counts of version 1.5 are the operations of our ops, apart from those of a text's keys.
BOOST_AUTO_TEST_CASE(operations_of_the_roofline) {
  const StableDiffusionCalls model(1);
  const auto operations = [](const auto& run) {
    Profile<Emulated>::start();
    run();
    double flops = 0;
    for (const ProfileLine& line : Profile<Emulated>::stop()) flops += line.flops;
    return flops;
  };
  double text_keys = 0;
  for (const auto& [channels, attentions] : {std::pair(320., 5), {640., 5}, {1280., 6}})
    text_keys += attentions * 2 * 2 * 77 * 768 * channels;
  for (const auto& [n, counted] : {std::pair<i64, double>(16, 12.805e12), {2, 1.6006e12}})
    BOOST_TEST(operations([&, n = n] { model.unet({n}); }) - double(n) * text_keys == counted,
               boost::test_tools::tolerance(1e-3));
  BOOST_TEST(operations([&] { model.decode({8}); }) == 20.116e12, boost::test_tools::tolerance(1e-3));
}

BOOST_AUTO_TEST_SUITE_END()
