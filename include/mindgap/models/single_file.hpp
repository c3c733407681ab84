// Stable Diffusion in one file, in the naming of CompVis' latent-diffusion: its parts under diffusers' and transformers' names.
//
// Such a file has the weights of all three networks and nothing else: which version it is its shapes say; vocabulary, scheduler
// and what the U-Net predicts it does not say. What training left in it (averages under model_ema, tables of the noise
// schedule) is not read.
#pragma once

#include <mindgap/models/autoencoder_kl_config.hpp>
#include <mindgap/models/clip_text_config.hpp>
#include <mindgap/models/unet_condition_config.hpp>
#include <mindgap/nn/state_dict.hpp>

namespace mindgap {

// What the published config.json files of a version say.
struct StableDiffusionConfigs {
  ClipTextConfig text_encoder;
  UNetConditionConfig unet;
  AutoencoderConfig vae;
};

struct StableDiffusionWeights {
  Weights text_encoder, unet, vae;
};

// version: 1 or 2.
StableDiffusionConfigs published_configs(i64 version);
// Version 1 (CLIP ViT-L/14) or 2 (OpenCLIP ViT-H), by the width of the text that the U-Net attends to. Throws for others (SDXL, a
// U-Net alone, an inpainting model).
StableDiffusionConfigs single_file_configs(const Weights& file);
// Throws for a tensor that belongs to none of the networks, and for names that do not fit the configurations.
StableDiffusionWeights split_single_file(const Weights& file, const StableDiffusionConfigs& configs);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/models/single_file.ipp>
#endif
