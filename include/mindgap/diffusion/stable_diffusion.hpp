// Stable Diffusion 1 and 2 from their published weights: a diffusers folder, or one safetensors file in the original naming.
//
//   text_encoder/config.json, model.safetensors                   CLIPTextModel
//   unet/config.json, diffusion_pytorch_model.safetensors         UNet2DConditionModel
//   vae/config.json, diffusion_pytorch_model.safetensors          AutoencoderKL
//   tokenizer/vocab.json, merges.txt                              CLIPTokenizer
//   scheduler/scheduler_config.json                               the noise schedule and what the U-Net predicts
//
// Weights may be f32, f16 or bf16, a variant (....fp16.safetensors), or several files with an index; other files of the folder (a
// safety checker) are not read. A single file has the three networks alone: the vocabulary is then the one that is shipped
// (data/vocabulary), the schedule that of both versions, and what the U-Net predicts is said by the caller.
#pragma once

#include <mindgap/diffusion/scheduler_config.hpp>
#include <mindgap/models/autoencoder_kl.hpp>
#include <mindgap/models/clip_text.hpp>
#include <mindgap/models/single_file.hpp>
#include <mindgap/models/unet_condition.hpp>
#include <mindgap/text/clip_tokenizer.hpp>

#include <memory>

namespace mindgap {

// What a folder or file is, apart from its weights.
struct StableDiffusionInfo {
  std::filesystem::path path;
  bool single_file = false;
  StableDiffusionConfigs configs;
  SchedulerConfig scheduler;
  CLIPTokenizer tokenizer;

  i64 latent_channels() const { return configs.unet.in_channels; }
  // Pixels of a side where nobody says a size.
  i64 default_size() const { return configs.unet.sample_size * configs.vae.scale(); }
  // The files that are read.
  std::vector<std::filesystem::path> files() const;
  // A tree hash (io/hash.hpp) of each of these, and of what the caller said of a single file: what images say they came from.
  // Reads all of the weights, on all cores: a second or two.
  std::string hash() const;
};

// Whether a path is one of these (or meant to be), and not the folder of a class-conditional generator.
bool is_stable_diffusion(const std::filesystem::path& path);

// Throws one Error that lists all missing files, and for parts that do not fit each other. sampler: the one that will sample;
// empty takes the file's. prediction: of a single file, which cannot tell; noise (epsilon) where empty. Throws where a folder
// says another one.
StableDiffusionInfo read_stable_diffusion_info(const std::filesystem::path& path, std::optional<SamplerKind> sampler = {},
                                               std::optional<Prediction> prediction = {});

template <Device D, class P>
struct StableDiffusion {
  StableDiffusionInfo info;
  std::unique_ptr<CLIPTextModel<D, P>> text_encoder;
  std::unique_ptr<UNet2DConditionModel<D, P>> unet;
  std::unique_ptr<AutoencoderKL<D, P>> vae;
};

namespace detail {

StableDiffusionWeights read_stable_diffusion_weights(const StableDiffusionInfo& info);

}  // namespace detail

template <Device D, class P>
StableDiffusion<D, P> load_stable_diffusion(const StableDiffusionInfo& info) {
  StableDiffusion<D, P> out{info, std::make_unique<CLIPTextModel<D, P>>(info.configs.text_encoder),
                            std::make_unique<UNet2DConditionModel<D, P>>(info.configs.unet),
                            std::make_unique<AutoencoderKL<D, P>>(info.configs.vae)};
  const StableDiffusionWeights weights = detail::read_stable_diffusion_weights(info);
  load(*out.text_encoder, weights.text_encoder);
  load(*out.unet, weights.unet);
  load(*out.vae, weights.vae);
  return out;
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/stable_diffusion.ipp>
#endif
