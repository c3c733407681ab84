// UNet2DConditionModel: the denoising U-Net of Stable Diffusion 1 and 2, under diffusers' names and configuration.
//
//   model(x [N, H, W, in], timesteps [N] f32, model.cross_keys(text [N, M, cross_attention_dim])) -> [N, H, W, out]
//
// Its layers and their order are those of models/unet_blocks.hpp. What it asks of a text are the keys and values of its
// cross-attentions, which are the same at every step: whoever samples makes them once a text (3.8 MB each in 16 bits, of Stable
// Diffusion 1) and hands those of a batch in.
#pragma once

#include <mindgap/models/transformer_2d.hpp>
#include <mindgap/models/unet_blocks.hpp>
#include <mindgap/models/unet_condition_config.hpp>
#include <mindgap/nn/freeze.hpp>

namespace mindgap {

template <Device D, class P>
struct UNet2DConditionModel {
  using T = typename P::compute;
  using Block = UNetBlock2D<D, P, Transformer2DModel<D, P>>;
  // Of each attention, in the order in which they are met.
  using Text = std::vector<std::vector<CrossKeys<Tensor<T, 3, D>>>>;

  Conv2d<D, P> conv_in;
  TimestepEmbedding<D, P> time_embedding;
  std::vector<Block> down_blocks;
  Block mid_block;
  std::vector<Block> up_blocks;
  GroupNorm2d<D, P> conv_norm_out;
  Conv2d<D, P> conv_out;
  UNetConditionConfig config;
  MINDGAP_MODULE(conv_in, time_embedding, down_blocks, mid_block, up_blocks, conv_norm_out, conv_out)

  // Without weights, to be loaded.
  explicit UNet2DConditionModel(const UNetConditionConfig& c);
  UNet2DConditionModel(const UNet2DConditionModel&) = delete;
  UNet2DConditionModel& operator=(const UNet2DConditionModel&) = delete;

  // text [N, M, cross_attention_dim], of a text encoder.
  Text cross_keys(const Tensor<T, 3, D>& text, Location at = Location::current()) const;
  Tensor<T, 4, D> operator()(const Tensor<T, 4, D>& x, const Tensor<float, 1, D>& timesteps, const Text& text,
                             Location at = Location::current()) const;

 private:
  void check_text(const Tensor<T, 4, D>& x, const Text& text) const {
    size_t attentions = mid_block.attentions.size();
    for (const auto* blocks : {&down_blocks, &up_blocks})
      for (const Block& block : *blocks) attentions += block.attentions.size();
    if (text.size() != attentions)
      throw Error(mindgap::text("U-Net: the text was made for ", text.size(), " attentions, there are ", attentions),
                  {{"remedy", "give what cross_keys() of this network made"}});
    if (attentions && text[0][0].keys.extent(0) != x.extent(0))
      throw Error(mindgap::text("U-Net: ", text[0][0].keys.extent(0), " texts for ", x.extent(0), " images"));
  }
};

template <Device D, class P>
UNet2DConditionModel<D, P>::UNet2DConditionModel(const UNetConditionConfig& c) : config(c) {
  c.check();
  build_unet<D, P>(*this, c, [&](i64 channels, size_t level) {
    return Transformer2DModel<D, P>(channels, c.cross_attention_dim, c.heads(level), c.norm_num_groups);
  });
  assign_paths(*this);
}

template <Device D, class P>
typename UNet2DConditionModel<D, P>::Text UNet2DConditionModel<D, P>::cross_keys(const Tensor<T, 3, D>& text, Location at) const {
  const Caller caller(at);
  if (text.extent(2) != config.cross_attention_dim)
    throw Error(mindgap::text("U-Net: the text has ", text.extent(2), " channels, wanted ", config.cross_attention_dim),
                {{"text", text.str()}, {"remedy", "is the text encoder of the same model?"}});
  Text out;
  const auto of = [&](const Block& block) {
    for (const auto& attention : block.attentions) out.push_back(attention.cross_keys(text));
  };
  for (const Block& block : down_blocks) of(block);
  of(mid_block);
  for (const Block& block : up_blocks) of(block);
  return out;
}

template <Device D, class P>
Tensor<typename P::compute, 4, D> UNet2DConditionModel<D, P>::operator()(const Tensor<T, 4, D>& x,
                                                                         const Tensor<float, 1, D>& timesteps, const Text& text,
                                                                         Location at) const {
  const Caller caller(at);
  check_unet_input(x, timesteps, config.block_out_channels.size());
  check_text(x, text);
  const auto time = pointwise([](auto t) { return silu(t); }, time_embedding(x, timesteps, config));
  size_t next = 0;
  return run_unet(*this, x, time, [&](const auto& attention, const Tensor<T, 4, D>& h) { return attention(h, text.at(next++)); });
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/models/unet_condition_instances.hpp>
#endif
