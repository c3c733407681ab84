// The networks of Stable Diffusion 1.5 in their published sizes, with made-up weights: what the benches run.
#pragma once

#include <mindgap/models/autoencoder_kl.hpp>
#include <mindgap/models/clip_text.hpp>
#include <mindgap/models/single_file.hpp>
#include <mindgap/models/unet_condition.hpp>

#include "timing.hpp"

namespace mindgap::bench {

// Numbers that keep activations at the size of one, without a stream's cost for 860 million of them.
template <class M>
void fill_weights(M& net) {
  for_each_parameter(net, [](const std::string&, auto& p) {
    const i64 size = p.shape().size(), fan_in = std::max<i64>(1, size / p.shape()[0]);
    if (std::remove_cvref_t<decltype(p)>::rank == 1) return init::constant(p, 0.5f);
    std::vector<float> values(static_cast<size_t>(size));
    const float bound = std::sqrt(3.f / float(fan_in));
    for (size_t i = 0; i < values.size(); ++i) values[i] = (float(u32(i) * 2654435761u) * 0x1p-31f - 1) * bound;
    from_published(p.value, values.data(), DType::f32);
  });
}

template <Device D, class P>
struct LatentUNet {
  using T = typename P::compute;
  UNet2DConditionModel<D, P> net;
  Tensor<T, 4, D> latents;
  Tensor<float, 1, D> timesteps;
  typename UNet2DConditionModel<D, P>::Text texts;

  explicit LatentUNet(i64 images) : net(published_configs(1).unet), latents(normals<T, D>(Shape<4>(images, 64, 64, 4))) {
    fill_weights(net);
    timesteps = Tensor<float, 1, D>::full(Shape<1>(images), 500.f);
    texts = net.cross_keys(normals<T, D>(Shape<3>(images, 77, 768)));
  }
  void operator()() const { net(latents, timesteps, texts); }
  // Of the first images.
  typename UNet2DConditionModel<D, P>::Text texts_of(i64 images) const {
    auto out = texts;
    for (auto& attention : out)
      for (auto& one : attention) one = {one.keys.slice(0, images), one.values.slice(0, images)};
    return out;
  }
};

template <Device D, class P>
struct LatentAutoencoder {
  using T = typename P::compute;
  AutoencoderKL<D, P> net;
  Tensor<T, 4, D> latents, images;

  explicit LatentAutoencoder(i64 count)
      : net(published_configs(1).vae),
        latents(normals<T, D>(Shape<4>(count, 64, 64, 4))),
        images(normals<T, D>(Shape<4>(count, 512, 512, 3))) {
    fill_weights(net);
  }
  void decode() const { net.decode(latents); }
  void encode() const { net.encode(images); }
};

template <Device D, class P>
struct PromptEncoder {
  CLIPTextModel<D, P> net;
  Tensor<i64, 2, D> ids;

  explicit PromptEncoder(i64 prompts)
      : net(published_configs(1).text_encoder), ids(Tensor<i64, 2, D>::full(Shape<2>(prompts, 77), 320)) {
    fill_weights(net);
  }
  void operator()() const { net(ids); }
};

}  // namespace mindgap::bench
