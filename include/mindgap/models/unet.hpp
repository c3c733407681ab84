// UNet2DModel: the denoising U-Net of class-conditional diffusion, under diffusers' names and configuration.
//
//   model(x [N, H, W, in], timesteps [N] f32, classes [N] i64) -> [N, H, W, out]
//
// Ho et al., "Denoising diffusion probabilistic models" (2020), appendix B, as diffusers' UNet2DModel lays it out. A skip
// connection is never concatenated: the norm behind it reads both parts and writes one dense result, and the 1x1 shortcut
// is two products. The time embedding is added inside the second norm of a block.
#pragma once

#include <mindgap/autograd/resize.hpp>
#include <mindgap/models/blocks.hpp>
#include <mindgap/models/unet_config.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/ops/embedding.hpp>

namespace mindgap {

template <Device D, class P>
struct UNetBlock2D {
  std::vector<ResnetBlock2D<D, P>> resnets;
  std::vector<AttentionBlock2D<D, P>> attentions;  // one a resnet, or none (the middle block has one between two)
  std::vector<Resampler2D<D, P>> downsamplers, upsamplers;
  MINDGAP_MODULE(resnets, attentions, downsamplers, upsamplers)
};

template <Device D, class P>
struct UNet2DModel {
  using Block = UNetBlock2D<D, P>;
  struct TimeEmbedding {
    Linear<D, P> linear_1, linear_2;
    MINDGAP_MODULE(linear_1, linear_2)
  };

  Conv2d<D, P> conv_in;
  TimeEmbedding time_embedding;
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

 private:
  void check_input(const auto& x, const Tensor<float, 1, D>& timesteps, const Tensor<i64, 1, D>& classes) const {
    const i64 halvings = i64(1) << (config.block_out_channels.size() - 1);
    if (x.extent(1) % halvings || x.extent(2) % halvings)
      throw Error(text("U-Net: height and width must be multiples of ", halvings), {{"input", x.str()}});
    if (timesteps.size() != x.extent(0) || (class_embedding && classes.size() != x.extent(0)))
      throw Error(text("U-Net: ", timesteps.size(), " timesteps and ", classes.size(), " classes for ", x.extent(0), " images"));
  }

  // linear_2(silu(linear_1(sines and cosines of the timestep))), a variable if x is one.
  template <class X>
  auto embed(const X& x, const Tensor<float, 1, D>& timesteps) const {
    using T = typename P::compute;
    const auto waves =
        timestep_embedding<T>(timesteps, config.block_out_channels[0], config.flip_sin_to_cos, double(config.freq_shift));
    const auto input = [&] {
      if constexpr (is_tensor<X>) return waves;
      else return constant(x.tape(), waves);
    }();
    return time_embedding.linear_2(pointwise([](auto t) { return silu(t); }, time_embedding.linear_1(input)));
  }
};

template <Device D, class P>
UNet2DModel<D, P>::UNet2DModel(const UNetConfig& c) : config(c) {
  c.check();
  const auto& channels = c.block_out_channels;
  const size_t levels = channels.size();
  conv_in = Conv2d<D, P>(c.in_channels, channels[0], 3, {1, 1});
  time_embedding = {Linear<D, P>(channels[0], c.time_embed_dim()), Linear<D, P>(c.time_embed_dim(), c.time_embed_dim())};
  if (c.num_class_embeds) class_embedding = Embedding<D, P>(c.num_class_embeds, c.time_embed_dim());

  std::vector<i64> skips{channels[0]};  // channels of the activations that the up blocks take back, last one first
  i64 now = channels[0];
  const auto append = [&](Block& block, i64 in, i64 out, bool attention) {
    block.resnets.emplace_back(in, out, c.norm_num_groups, c.norm_eps, c.time_embed_dim());
    if (attention) block.attentions.emplace_back(out, c.heads(out), c.norm_num_groups, c.norm_eps);
    now = out;
  };
  for (size_t i = 0; i < levels; ++i) {
    Block& block = down_blocks.emplace_back();
    for (i64 layer = 0; layer < c.layers_per_block; ++layer) {
      append(block, now, channels[i], c.down_attention[i]);
      skips.push_back(now);
    }
    if (i + 1 == levels) continue;
    block.downsamplers.push_back({Conv2d<D, P>(now, now, 3, {2, 1})});
    skips.push_back(now);
  }
  append(mid_block, now, now, c.mid_attention);
  append(mid_block, now, now, false);
  for (size_t i = 0; i < levels; ++i) {
    Block& block = up_blocks.emplace_back();
    for (i64 layer = 0; layer <= c.layers_per_block; ++layer) {
      append(block, now + skips.back(), channels[levels - 1 - i], c.up_attention[i]);
      skips.pop_back();
    }
    if (i + 1 < levels) block.upsamplers.push_back({Conv2d<D, P>(now, now, 3, {1, 1})});
  }
  conv_norm_out = GroupNorm2d<D, P>(c.norm_num_groups, now, c.norm_eps);
  conv_out = Conv2d<D, P>(now, c.out_channels, 3, {1, 1});
  assign_paths(*this);
}

template <Device D, class P>
template <class X>
X UNet2DModel<D, P>::operator()(const X& x, const Tensor<float, 1, D>& timesteps, const Tensor<i64, 1, D>& classes,
                                Location at) const {
  const Caller caller(at);
  check_input(value_of(x), timesteps, classes);
  auto time = embed(x, timesteps);
  if (class_embedding) time = add(time, (*class_embedding)(classes, x));
  time = pointwise([](auto t) { return silu(t); }, time);
  using R = decltype(time);

  X h = conv_in(x);
  std::vector<X> skips{h};
  for (const Block& block : down_blocks) {
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      h = block.resnets[i](h, X(), time);
      if (!block.attentions.empty()) h = block.attentions[i](h, R());
      skips.push_back(h);
    }
    if (block.downsamplers.empty()) continue;
    h = block.downsamplers[0].conv(h);
    skips.push_back(h);
  }
  h = mid_block.resnets[0](h, X(), time);
  if (!mid_block.attentions.empty()) h = mid_block.attentions[0](h, R());
  h = mid_block.resnets[1](h, X(), time);
  for (const Block& block : up_blocks) {
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      h = block.resnets[i](h, skips.back(), time);
      skips.pop_back();
      if (!block.attentions.empty()) h = block.attentions[i](h, R());
    }
    if (!block.upsamplers.empty()) h = block.upsamplers[0].conv(upsample_nearest(h, 2 * h.extent(1), 2 * h.extent(2)));
  }
  return conv_out(conv_norm_out(epilogues::silu, h, X(), R()));
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/models/unet_instances.hpp>
#endif
