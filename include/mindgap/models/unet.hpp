// UNet2DModel: the denoising U-Net of class-conditional diffusion, under diffusers' names and configuration.
//
//   model(x [N, H, W, in], timesteps [N] f32, classes [N] i64) -> [N, H, W, out]
//
// Its layers and their order are those of models/unet_blocks.hpp; the class is added to the embedding of the timestep.
#pragma once

#include <mindgap/models/unet_blocks.hpp>
#include <mindgap/models/unet_config.hpp>
#include <mindgap/nn/freeze.hpp>

namespace mindgap {

template <Device D, class P>
struct UNet2DModel {
  using Block = UNetBlock2D<D, P, AttentionBlock2D<D, P>>;

  Conv2d<D, P> conv_in;
  TimestepEmbedding<D, P> time_embedding;
  std::optional<Embedding<D, P>> class_embedding;
  std::vector<Block> down_blocks;
  Block mid_block;
  std::vector<Block> up_blocks;
  GroupNorm2d<D, P> conv_norm_out;
  Conv2d<D, P> conv_out;
  UNetConfig config;
  MINDGAP_MODULE(conv_in, time_embedding, class_embedding, down_blocks, mid_block, up_blocks, conv_norm_out, conv_out)

  // Without weights, to be loaded.
  explicit UNet2DModel(const UNetConfig& c);
  // Initialised from `seed` by torch's defaults, to be trained.
  UNet2DModel(const UNetConfig& c, u64 seed) : UNet2DModel(c) { initialise(*this, seed); }
  UNet2DModel(const UNet2DModel&) = delete;
  UNet2DModel& operator=(const UNet2DModel&) = delete;

  // Defined outside the class, like the constructor, so that explicit instances are possible.
  template <class X>
  X operator()(const X& x, const Tensor<float, 1, D>& timesteps, const Tensor<i64, 1, D>& classes,
               Location at = Location::current()) const;
};

template <Device D, class P>
UNet2DModel<D, P>::UNet2DModel(const UNetConfig& c) : config(c) {
  c.check();
  build_unet<D, P>(*this, c, [&](i64 channels, size_t) {
    return AttentionBlock2D<D, P>(channels, c.heads(channels), c.norm_num_groups, c.norm_eps);
  });
  if (c.num_class_embeds) class_embedding = Embedding<D, P>(c.num_class_embeds, c.time_embed_dim());
  assign_paths(*this);
}

template <Device D, class P>
template <class X>
X UNet2DModel<D, P>::operator()(const X& x, const Tensor<float, 1, D>& timesteps, const Tensor<i64, 1, D>& classes,
                                Location at) const {
  const Caller caller(at);
  check_unet_input(value_of(x), timesteps, config.block_out_channels.size());
  if (class_embedding && classes.size() != x.extent(0))
    throw Error(text("U-Net: ", classes.size(), " classes for ", x.extent(0), " images"));
  auto time = time_embedding(x, timesteps, config);
  if (class_embedding) time = add(time, (*class_embedding)(classes, x));
  time = pointwise([](auto t) { return silu(t); }, time);
  return run_unet(*this, x, time, [](const auto& attention, const X& h) { return attention(h, decltype(time)()); });
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/models/unet_instances.hpp>
#endif
