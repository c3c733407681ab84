// AutoencoderKL: images to latents and back, under diffusers' names and configuration.
//
//   vae.encode(images [N, H, W, in])   -> [N, H / s, W / s, 2 latent]: means, then logarithms of variances
//   vae.decode(latents [N, h, w, latent]) -> [N, s h, s w, out]             s = config.scale(); images are in [-1, 1]
//
// Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022), section 3.1. The latents that a U-Net
// sees are config.scaling_factor times these. Images are independent of each other, so that a batch may be decoded in parts;
// large images go in tiles: models/autoencoder_tiles.hpp.
#pragma once

#include <mindgap/autograd/pad.hpp>
#include <mindgap/models/autoencoder_kl_config.hpp>
#include <mindgap/models/unet_blocks.hpp>
#include <mindgap/nn/freeze.hpp>

namespace mindgap {

template <Device D, class P>
struct AutoencoderKL {
  using T = typename P::compute;
  using Block = UNetBlock2D<D, P, AttentionBlock2D<D, P>>;
  struct Encoder {
    Conv2d<D, P> conv_in;
    std::vector<Block> down_blocks;
    Block mid_block;
    GroupNorm2d<D, P> conv_norm_out;
    Conv2d<D, P> conv_out;
    MINDGAP_MODULE(conv_in, down_blocks, mid_block, conv_norm_out, conv_out)
  };
  struct Decoder {
    Conv2d<D, P> conv_in;
    Block mid_block;
    std::vector<Block> up_blocks;
    GroupNorm2d<D, P> conv_norm_out;
    Conv2d<D, P> conv_out;
    MINDGAP_MODULE(conv_in, mid_block, up_blocks, conv_norm_out, conv_out)
  };

  Encoder encoder;
  Decoder decoder;
  std::optional<Conv2d<D, P>> quant_conv, post_quant_conv;
  AutoencoderConfig config;
  MINDGAP_MODULE(encoder, decoder, quant_conv, post_quant_conv)

  // Without weights, to be loaded.
  explicit AutoencoderKL(const AutoencoderConfig& c);
  AutoencoderKL(const AutoencoderKL&) = delete;
  AutoencoderKL& operator=(const AutoencoderKL&) = delete;

  // Throws for images whose sides are no multiples of config.scale().
  Tensor<T, 4, D> encode(const Tensor<T, 4, D>& images, Location at = Location::current()) const;
  Tensor<T, 4, D> decode(const Tensor<T, 4, D>& latents, Location at = Location::current()) const;

 private:
  Block middle(i64 channels) const {
    Block block;
    for (int i = 0; i < 2; ++i) block.resnets.push_back(resnet(channels, channels));
    if (config.mid_attention) block.attentions.emplace_back(channels, 1, config.norm_num_groups, eps);
    return block;
  }
  ResnetBlock2D<D, P> resnet(i64 in, i64 out) const { return {in, out, config.norm_num_groups, eps}; }
  Tensor<T, 4, D> run(const Block& block, Tensor<T, 4, D> h) const {
    using X = Tensor<T, 4, D>;
    using R = Tensor<T, 2, D>;
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      h = block.resnets[i](h, X(), R());
      if (i < block.attentions.size()) h = block.attentions[i](h, R());
    }
    if (!block.downsamplers.empty()) h = block.downsamplers[0].conv(zero_pad2d(h, {.right = 1, .bottom = 1}));
    if (!block.upsamplers.empty()) h = block.upsamplers[0].conv(upsample_nearest(h, 2 * h.extent(1), 2 * h.extent(2)));
    return h;
  }

  static constexpr float eps = 1e-6f;
};

template <Device D, class P>
AutoencoderKL<D, P>::AutoencoderKL(const AutoencoderConfig& c) : config(c) {
  c.check();
  const std::vector<i64>& channels = c.block_out_channels;
  const size_t levels = channels.size();
  const i64 deepest = channels.back(), latent = c.latent_channels;

  encoder.conv_in = Conv2d<D, P>(c.in_channels, channels[0], 3, {1, 1});
  for (size_t i = 0; i < levels; ++i) {
    Block& block = encoder.down_blocks.emplace_back();
    for (i64 layer = 0; layer < c.layers_per_block; ++layer)
      block.resnets.push_back(resnet(layer ? channels[i] : channels[i - (i > 0)], channels[i]));
    if (i + 1 < levels) block.downsamplers.push_back({Conv2d<D, P>(channels[i], channels[i], 3, {2, 0})});
  }
  encoder.mid_block = middle(deepest);
  encoder.conv_norm_out = GroupNorm2d<D, P>(c.norm_num_groups, deepest, eps);
  encoder.conv_out = Conv2d<D, P>(deepest, 2 * latent, 3, {1, 1});

  decoder.conv_in = Conv2d<D, P>(latent, deepest, 3, {1, 1});
  decoder.mid_block = middle(deepest);
  for (size_t i = levels; i-- > 0;) {
    Block& block = decoder.up_blocks.emplace_back();
    for (i64 layer = 0; layer <= c.layers_per_block; ++layer)
      block.resnets.push_back(resnet(layer ? channels[i] : channels[i + (i + 1 < levels)], channels[i]));
    if (i > 0) block.upsamplers.push_back({Conv2d<D, P>(channels[i], channels[i], 3, {1, 1})});
  }
  decoder.conv_norm_out = GroupNorm2d<D, P>(c.norm_num_groups, channels[0], eps);
  decoder.conv_out = Conv2d<D, P>(channels[0], c.out_channels, 3, {1, 1});

  if (c.use_quant_conv) quant_conv = Conv2d<D, P>(2 * latent, 2 * latent, 1);
  if (c.use_post_quant_conv) post_quant_conv = Conv2d<D, P>(latent, latent, 1);
  assign_paths(*this);
}

template <Device D, class P>
Tensor<typename P::compute, 4, D> AutoencoderKL<D, P>::encode(const Tensor<T, 4, D>& images, Location at) const {
  const Caller caller(at);
  if (images.extent(1) % config.scale() || images.extent(2) % config.scale())
    throw Error(text("autoencoder: height and width must be multiples of ", config.scale()), {{"images", images.str()}});
  Tensor<T, 4, D> h = encoder.conv_in(images);
  for (const Block& block : encoder.down_blocks) h = run(block, std::move(h));
  h = run(encoder.mid_block, std::move(h));
  h = encoder.conv_out(encoder.conv_norm_out(epilogues::silu, h, Tensor<T, 4, D>(), Tensor<T, 2, D>()));
  return quant_conv ? (*quant_conv)(h) : h;
}

template <Device D, class P>
Tensor<typename P::compute, 4, D> AutoencoderKL<D, P>::decode(const Tensor<T, 4, D>& latents, Location at) const {
  const Caller caller(at);
  Tensor<T, 4, D> h = decoder.conv_in(post_quant_conv ? (*post_quant_conv)(latents) : latents);
  h = run(decoder.mid_block, std::move(h));
  for (const Block& block : decoder.up_blocks) h = run(block, std::move(h));
  return decoder.conv_out(decoder.conv_norm_out(epilogues::silu, h, Tensor<T, 4, D>(), Tensor<T, 2, D>()));
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/models/autoencoder_kl_instances.hpp>
#endif
