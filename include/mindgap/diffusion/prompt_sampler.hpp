// Images of prompts by Stable Diffusion, with classifier-free guidance away from a negative prompt.
//
// An image is a function of the model, the settings, its prompt and its streams; which images are made together does not matter
// where the device's products do not depend on it. What the U-Net asks of a text, the keys and values of its cross-attentions, is
// made once a prompt and kept; the steps see it as inputs. Guidance is one batch of 2n, the negative prompt first.
#pragma once

#include <mindgap/diffusion/image_sampler.hpp>
#include <mindgap/diffusion/stable_diffusion.hpp>
#include <mindgap/models/autoencoder_tiles.hpp>

#include <map>

namespace mindgap {

// What the U-Net asks of prompts: as many as fit into `bytes`, the one that was asked for longest ago goes first.
template <Device D, class P>
class TextCache {
 public:
  using Text = typename UNet2DConditionModel<D, P>::Text;

  // model must live as long as this.
  TextCache(const StableDiffusion<D, P>& model, i64 bytes) : model_(&model), bytes_(bytes) {}

  // [1, tokens, channels] each; stays until the next call.
  const Text& operator()(const std::string& prompt) {
    if (const auto found = entries_.find(prompt); found != entries_.end()) {
      found->second.used = ++calls_;
      return found->second.text;
    }
    const std::vector<i64> ids = model_->info.tokenizer(prompt).ids;
    const auto tokens = Tensor<i64, 2>::from(ids, Shape<2>(1, i64(ids.size()))).template to<D>();
    Entry entry{model_->unet->cross_keys((*model_->text_encoder)(tokens)), ++calls_, 0};
    for (const auto& attention : entry.text)
      for (const auto& one : attention) entry.bytes += one.keys.bytes() + one.values.bytes();
    held_ += entry.bytes;
    while (held_ > bytes_ && !entries_.empty()) {
      const auto oldest = std::ranges::min_element(entries_, {}, [](const auto& item) { return item.second.used; });
      held_ -= oldest->second.bytes;
      entries_.erase(oldest);
    }
    return entries_.emplace(prompt, std::move(entry)).first->second.text;
  }

 private:
  struct Entry {
    Text text;
    u64 used;  // the call that asked for it last
    i64 bytes;
  };

  const StableDiffusion<D, P>* model_;
  i64 bytes_, held_ = 0;
  u64 calls_ = 0;
  std::map<std::string, Entry> entries_;
};

// The U-Net with a text an image, in memory that stays, so that a step can be replayed.
template <Device D, class P>
class TextDenoiser {
 public:
  using T = typename P::compute;
  using Text = typename UNet2DConditionModel<D, P>::Text;

  // room: images of x. unet must live as long as this.
  TextDenoiser(const UNet2DConditionModel<D, P>& unet, i64 room) : unet_(&unet), room_(room), texts_(std::make_shared<Text>()) {}

  // Of image i of x; copies of this denoiser see it too.
  void set(i64 i, const Text& text) {
    const auto room_for = [&](const Tensor<T, 3, D>& one) {
      return Tensor<T, 3, D>(Shape<3>(room_, one.extent(1), one.extent(2)));
    };
    if (texts_->empty())
      for (const auto& attention : text) {
        auto& to = texts_->emplace_back();
        for (const auto& one : attention) to.push_back({room_for(one.keys), room_for(one.values)});
      }
    for (size_t a = 0; a < text.size(); ++a)
      for (size_t b = 0; b < text[a].size(); ++b) {
        (*texts_)[a][b].keys.slice(i, i + 1).copy_from(text[a][b].keys);
        (*texts_)[a][b].values.slice(i, i + 1).copy_from(text[a][b].values);
      }
  }
  Tensor<T, 4, D> operator()(const Tensor<T, 4, D>& x, const Tensor<float, 1, D>& t) const { return (*unet_)(x, t, *texts_); }

 private:
  const UNet2DConditionModel<D, P>* unet_;
  i64 room_;
  std::shared_ptr<Text> texts_;
};

// Latents of the U-Net's scale to images, `at_once` of them at a time.
template <Device D, class P>
struct LatentDecoder {
  using T = typename P::compute;
  const AutoencoderKL<D, P>* vae;
  i64 at_once;
  bool tiled;

  Tensor<float, 4, D> operator()(const Tensor<float, 4, D>& latents) const {
    const i64 n = latents.extent(0), scale = vae->config.scale();
    const Tensor<float, 4, D> out(Shape<4>(n, scale * latents.extent(1), scale * latents.extent(2), vae->config.out_channels));
    for (i64 begin = 0; begin < n; begin += at_once) {
      const i64 end = std::min(begin + at_once, n);
      const auto unscaled =
          pointwise([](auto x, auto s) { return x / s; }, latents.slice(begin, end), value(float(vae->config.scaling_factor)));
      const auto z = cast<T>(unscaled);
      out.slice(begin, end).copy_from(cast<float>(tiled ? tiled_decode(*vae, z) : vae->decode(z)));
    }
    return out;
  }
};

struct PromptSettings {
  Guidance guidance;
  std::string negative;  // prompt; empty: the empty text
  i64 height = 512, width = 512;
  i64 decoded_at_once = 1;          // images that the autoencoder sees together; changes no image
  bool tiled = false;               // the autoencoder works in tiles (models/autoencoder_tiles.hpp)
  i64 text_bytes = i64(256) << 20;  // of the device, for texts that are kept
};

struct PromptImage {
  std::string prompt;
  ImageStreams streams;
};

// Throws for sides that the networks cannot halve often enough.
inline void check_image_size(const StableDiffusionInfo& info, i64 height, i64 width) {
  const i64 multiple = info.configs.vae.scale() << (info.configs.unet.block_out_channels.size() - 1);
  for (i64 side : {height, width})
    if (side < multiple || side % multiple)
      throw Error(text("an image of ", height, " x ", width, " pixels"),
                  {{"remedy", text("sides are multiples of ", multiple, "; the model was trained on ", info.default_size())}});
}

template <Device D, class P>
class PromptSampler {
 public:
  // Throws as check_image_size() does. model must live as long as this.
  PromptSampler(const StableDiffusion<D, P>& model, const Sampler& sampler, const PromptSettings& settings)
      : model_(model), sampler_(sampler), settings_(settings), texts_(model, settings.text_bytes) {
    check_image_size(model.info, settings.height, settings.width);
  }

  // Images [n, height, width, 3], nominally in [-1, 1]; throws where one is not finite. The next call for as many overwrites
  // them. from: latents to start from, where the sampler's strength is below 1.
  Tensor<float, 4, D> operator()(const std::vector<PromptImage>& images, const Tensor<float, 4, D>& from = {}) {
    return prepared(images).sample(streams(images), from);
  }
  // The same without throwing for those that are not finite.
  SampledImages<D> attempt(const std::vector<PromptImage>& images, const Tensor<float, 4, D>& from = {}) {
    return prepared(images).sample.attempt(streams(images), from);
  }

  // Latents of images [n, height, width, 3] in [-1, 1], drawn from what the encoder says of each (Kingma and Welling 2014, arXiv
  // 1312.6114, section 3) with its own stream, in the U-Net's scale.
  Tensor<float, 4, D> latents_of(const Tensor<float, 4, D>& images, const std::vector<Stream>& streams) const {
    using T = typename P::compute;
    const Tensor<T, 4, D> input = cast<T>(images);
    const std::vector<float> moments =
        cast<float>(settings_.tiled ? tiled_encode(*model_.vae, input) : model_.vae->encode(input)).to_vector();
    const Shape<4> shape = latents(i64(streams.size()));
    const i64 channels = shape[3], size = shape.size() / shape[0];
    std::vector<float> out(size_t(shape.size()));
    for (i64 i = 0; i < shape.size(); ++i) {
      const float* m = moments.data() + i / channels * 2 * channels + i % channels;
      const float std = std::exp(0.5f * std::clamp(m[channels], -30.f, 20.f));
      out[size_t(i)] = (m[0] + std * streams[size_t(i / size)].normal(u64(i % size))) * float(model_.vae->config.scaling_factor);
    }
    return Tensor<float, 4>::from(out, shape).template to<D>();
  }

 private:
  using Denoise = TextDenoiser<D, P>;
  struct OneSize {
    Denoise denoise;
    ImageSampler<typename P::compute, D, Guided<Denoise>, LatentDecoder<D, P>> sample;

    OneSize(const PromptSampler& all, i64 n)
        : denoise(*all.model_.unet, all.settings_.guidance.copies() * n),
          sample({denoise, all.settings_.guidance}, all.sampler_, all.latents(n),
                 {all.model_.vae.get(), all.settings_.decoded_at_once, all.settings_.tiled}) {}
  };

  // With the texts of the images.
  OneSize& prepared(const std::vector<PromptImage>& images) {
    const i64 n = i64(images.size());
    auto& one = sizes_[n];
    if (!one) one = std::make_unique<OneSize>(*this, n);
    const Guidance& guidance = settings_.guidance;
    for (i64 i = 0; i < n; ++i) {
      if (guidance.unconditional()) one->denoise.set(i, texts_(settings_.negative));
      if (guidance.conditional()) one->denoise.set(guidance.unconditional() ? n + i : i, texts_(images[size_t(i)].prompt));
    }
    return *one;
  }
  static std::vector<ImageStreams> streams(const std::vector<PromptImage>& images) {
    std::vector<ImageStreams> out;
    for (const PromptImage& image : images) out.push_back(image.streams);
    return out;
  }

  Shape<4> latents(i64 n) const {
    const i64 scale = model_.info.configs.vae.scale();
    return {n, settings_.height / scale, settings_.width / scale, model_.info.latent_channels()};
  }

  const StableDiffusion<D, P>& model_;
  Sampler sampler_;
  PromptSettings settings_;
  TextCache<D, P> texts_;
  std::map<i64, std::unique_ptr<OneSize>> sizes_;
};

}  // namespace mindgap
