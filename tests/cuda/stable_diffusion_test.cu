// Stable Diffusion on the GPU against the CPU: the tiny one of the golden tests from prompt to image, and the networks of version
// 1.5 in their published sizes, with weights from streams: one step of the U-Net, one encoding, one decoding.
#include <mindgap/cuda/library.hpp>
#include <mindgap/diffusion/prompt_images.hpp>

#include "tests/cuda/parity.hpp"
#include "tests/golden/golden.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

// In the project that the program runs in, which may have been packed on another machine.
std::filesystem::path tiny_pipeline() {
  const std::filesystem::path here = "tests/golden/pipeline";
  return std::filesystem::exists(here) ? here : std::filesystem::path(golden_folder + "pipeline");
}

template <Device D, class T>
Outputs images_of_prompts(SamplerKind kind) {
  using P = Precision<Computed<D, T>>;
  const StableDiffusionInfo info = read_stable_diffusion_info(tiny_pipeline(), kind);
  const StableDiffusion<D, P> model = load_stable_diffusion<D, P>(info);
  const Sampler sampler(info.scheduler, 6);
  PromptSettings settings;
  settings.guidance.scale = 3, settings.negative = "blurry", settings.height = 16, settings.width = 24;
  PromptSampler<D, P> sample(model, sampler, settings);
  std::vector<PromptImage> wanted;
  for (const char* prompt : {"a photo of a tabby cat, on the old grey wall", "a dog"})
    wanted.push_back({prompt, streams_of(7, prompt, 3, sampler)});
  return outputs(sample(wanted));
}

template <class Net>
void fill(Net& net) {
  fill_golden(state_items(net, ""), false);
}
template <Device D, class T>
Tensor<T, 4, D> images_on(const std::string& purpose, Shape<4> shape) {
  return cast<T>(golden_images(purpose, shape).template to<D>());
}

template <Device D, class T>
Outputs unet_step() {
  UNet2DConditionModel<D, Precision<T>> unet(published_configs(1).unet);
  fill(unet);
  const auto text = Tensor<float, 3>::from(centred("golden:text", 77 * 768, std::sqrt(3.)), Shape(1, 77, 768)).template to<D>();
  const auto timestep = Tensor<float, 1, D>::from({601}, Shape(1));
  return outputs(unet(images_on<D, T>("golden:input", {1, 64, 64, 4}), timestep, unet.cross_keys(cast<T>(text))));
}

template <Device D, class T>
Outputs autoencoder() {
  AutoencoderKL<D, Precision<T>> vae(published_configs(1).vae);
  fill(vae);
  return outputs(vae.encode(images_on<D, T>("golden:input", {1, 512, 512, 3})),
                 vae.decode(images_on<D, T>("golden:latents", {1, 64, 64, 4})));
}

// The CPU takes seconds over each, and answers both types.
template <auto function>
Outputs once() {
  static const Outputs out = function();
  return out;
}

template <Device D>
std::vector<DeviceCase> tiny_cases() {
  return {{"images f32, pndm", 2e-3, [] { return images_of_prompts<D, float>(SamplerKind::pndm); }},
          {"images f32, euler_a", 2e-3, [] { return images_of_prompts<D, float>(SamplerKind::euler_a); }},
          {"images f16, pndm", 0.2, [] { return images_of_prompts<D, f16>(SamplerKind::pndm); }}};
}
template <Device D>
std::vector<DeviceCase> published_cases() {
  return {{"U-Net f32", 2e-3, [] { return once<unet_step<D, float>>(); }},
          {"U-Net f16", 0.2, [] { return once<unet_step<D, Computed<D, f16>>>(); }},
          {"autoencoder f32", 2e-3, [] { return once<autoencoder<D, float>>(); }},
          {"autoencoder f16", 0.2, [] { return once<autoencoder<D, Computed<D, f16>>>(); }}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stable_diffusion)

BOOST_AUTO_TEST_CASE(tiny) { compare_with_cpu(tiny_cases<Cpu>(), tiny_cases<Cuda>()); }
BOOST_AUTO_TEST_CASE(published_sizes) { compare_with_cpu(published_cases<Cpu>(), published_cases<Cuda>()); }

BOOST_AUTO_TEST_SUITE_END()
