// What the U-Nets of diffusion have in common, under diffusers' names: the embedding of the timestep, and levels of residual
// blocks with attention whose activations go from the way down to the way up.
//
// A network has the members conv_in, time_embedding, down_blocks, mid_block, up_blocks, conv_norm_out and conv_out, and a
// configuration with the numbers that build_unet reads. A skip connection is never concatenated: the norm behind it reads both
// parts and writes one dense result, and the 1x1 shortcut is two products. The time embedding is added inside the second norm of
// a block (Ho et al., "Denoising diffusion probabilistic models" (2020), appendix B, as diffusers lays it out).
#pragma once

#include <mindgap/autograd/resize.hpp>
#include <mindgap/models/blocks.hpp>
#include <mindgap/ops/embedding.hpp>

namespace mindgap {

template <Device D, class P, class Attention>
struct UNetBlock2D {
  std::vector<ResnetBlock2D<D, P>> resnets;
  std::vector<Attention> attentions;  // one a resnet, or none (the middle block has one between two)
  std::vector<Resampler2D<D, P>> downsamplers, upsamplers;
  MINDGAP_MODULE(resnets, attentions, downsamplers, upsamplers)
};

template <Device D, class P>
struct TimestepEmbedding {
  Linear<D, P> linear_1, linear_2;
  MINDGAP_MODULE(linear_1, linear_2)

  // linear_2(silu(linear_1(sines and cosines of the timestep))) [N, 4 channels], a variable if x is one.
  template <class X, class Config>
  auto operator()(const X& x, const Tensor<float, 1, D>& timesteps, const Config& c) const {
    using T = typename P::compute;
    const auto waves = timestep_embedding<T>(timesteps, c.block_out_channels[0], c.flip_sin_to_cos, double(c.freq_shift));
    const auto input = [&] {
      if constexpr (is_tensor<X>) return waves;
      else return constant(x.tape(), waves);
    }();
    return linear_2(pointwise([](auto t) { return silu(t); }, linear_1(input)));
  }
};

// Makes the layers of a network without weights. attention(channels, level): that of a block, level 0 having the largest images.
template <Device D, class P, class Net, class Config, class F>
void build_unet(Net& net, const Config& c, F&& attention) {
  const auto& channels = c.block_out_channels;
  const size_t levels = channels.size();
  net.conv_in = Conv2d<D, P>(c.in_channels, channels[0], 3, {1, 1});
  net.time_embedding = {Linear<D, P>(channels[0], c.time_embed_dim()), Linear<D, P>(c.time_embed_dim(), c.time_embed_dim())};

  std::vector<i64> skips{channels[0]};  // channels of the activations that the up blocks take back, last one first
  i64 now = channels[0];
  const auto append = [&](auto& block, i64 in, size_t level, bool attends) {
    now = channels[level];
    block.resnets.emplace_back(in, now, c.norm_num_groups, c.norm_eps, c.time_embed_dim());
    if (attends) block.attentions.push_back(attention(now, level));
  };
  for (size_t i = 0; i < levels; ++i) {
    auto& block = net.down_blocks.emplace_back();
    for (i64 layer = 0; layer < c.layers_per_block; ++layer) {
      append(block, now, i, c.down_attention[i]);
      skips.push_back(now);
    }
    if (i + 1 == levels) continue;
    block.downsamplers.push_back({Conv2d<D, P>(now, now, 3, {2, 1})});
    skips.push_back(now);
  }
  append(net.mid_block, now, levels - 1, c.mid_attention);
  append(net.mid_block, now, levels - 1, false);
  for (size_t i = 0; i < levels; ++i) {
    auto& block = net.up_blocks.emplace_back();
    for (i64 layer = 0; layer <= c.layers_per_block; ++layer) {
      append(block, now + skips.back(), levels - 1 - i, c.up_attention[i]);
      skips.pop_back();
    }
    if (i + 1 < levels) block.upsamplers.push_back({Conv2d<D, P>(now, now, 3, {1, 1})});
  }
  net.conv_norm_out = GroupNorm2d<D, P>(c.norm_num_groups, now, c.norm_eps);
  net.conv_out = Conv2d<D, P>(now, c.out_channels, 3, {1, 1});
}

// The network's answer to x. time: silu of the embedding. attend(attention, h): called for each attention, on the way down, in
// the middle, on the way up.
template <class Net, class X, class R, class F>
X run_unet(const Net& net, const X& x, const R& time, F&& attend) {
  X h = net.conv_in(x);
  std::vector<X> skips{h};
  for (const auto& block : net.down_blocks) {
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      h = block.resnets[i](h, X(), time);
      if (!block.attentions.empty()) h = attend(block.attentions[i], h);
      skips.push_back(h);
    }
    if (block.downsamplers.empty()) continue;
    h = block.downsamplers[0].conv(h);
    skips.push_back(h);
  }
  h = net.mid_block.resnets[0](h, X(), time);
  if (!net.mid_block.attentions.empty()) h = attend(net.mid_block.attentions[0], h);
  h = net.mid_block.resnets[1](h, X(), time);
  for (const auto& block : net.up_blocks) {
    for (size_t i = 0; i < block.resnets.size(); ++i) {
      h = block.resnets[i](h, skips.back(), time);
      skips.pop_back();
      if (!block.attentions.empty()) h = attend(block.attentions[i], h);
    }
    if (!block.upsamplers.empty()) h = block.upsamplers[0].conv(upsample_nearest(h, 2 * h.extent(1), 2 * h.extent(2)));
  }
  return net.conv_out(net.conv_norm_out(epilogues::silu, h, X(), R()));
}

// Throws for images that the levels cannot halve, and for another number of timesteps.
template <class X, Device D>
void check_unet_input(const X& x, const Tensor<float, 1, D>& timesteps, size_t levels) {
  const i64 halvings = i64(1) << (levels - 1);
  if (x.extent(1) % halvings || x.extent(2) % halvings)
    throw Error(text("U-Net: height and width must be multiples of ", halvings), {{"input", x.str()}});
  if (timesteps.size() != x.extent(0)) throw Error(text("U-Net: ", timesteps.size(), " timesteps for ", x.extent(0), " images"));
}

}  // namespace mindgap
