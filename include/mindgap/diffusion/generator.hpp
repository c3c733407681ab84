// A generator folder, and the images that come out of one.
//
//   unet/diffusion_pytorch_model.safetensors, unet/config.json     UNet2DModel, as diffusers writes and reads it
//   scheduler/scheduler_config.json                                the noise schedule and what the network predicts
//   classes.json                                                   the class names in the order of their labels (ours; where
//                                                                  it is missing the names are "0", "1", ...)
//   training.txt                                                   how it was made, a setting a line (ours; may be missing)
//
// The network is conditioned on a class; the last row of its class embedding stands for "no class". Pixels are 2 v / 255 - 1.
// An image depends on the generator, the seed, its class, its index and the sampler's settings; the number of images that are
// sampled together changes nothing.
#pragma once

#include <mindgap/diffusion/guidance.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/nn/state_dict.hpp>

#include <map>

namespace mindgap {

// What a generator saw, which is a property of every set that it makes.
struct GeneratorOrigin {
  i64 images = 0;            // labelled real images that it was trained on; 0: not recorded
  std::optional<bool> flip;  // mirrored at random; empty: not recorded
};

struct GeneratorFiles {
  std::filesystem::path folder;
  std::filesystem::path weights() const { return folder / "unet" / "diffusion_pytorch_model.safetensors"; }
  std::filesystem::path unet_config() const { return folder / "unet" / "config.json"; }
  std::filesystem::path scheduler() const { return folder / "scheduler" / "scheduler_config.json"; }
  std::filesystem::path classes() const { return folder / "classes.json"; }
  std::filesystem::path training() const { return folder / "training.txt"; }

  // Throws one Error that lists every file that is missing.
  void check() const;
  // SHA-256 over the files: what a synthetic set says that it came from.
  std::string hash() const;
  // count: names to make up where there is no file; else the file must have so many.
  std::vector<std::string> read_class_names(i64 count) const;
  void write_class_names(const std::vector<std::string>& names) const;
  // As training.txt says; throws where it says it in another way than train_generator does.
  GeneratorOrigin read_origin() const;
};

// What a generator is, apart from its weights.
struct GeneratorInfo {
  UNetConfig unet;
  SchedulerConfig scheduler;
  std::vector<std::string> class_names;
};

// sampler: the one that will sample; empty takes the file's.
GeneratorInfo read_generator_info(const GeneratorFiles& files, std::optional<SamplerKind> sampler = {});
void write_generator_info(const GeneratorFiles& files, const GeneratorInfo& info);

template <Device D, class P>
struct Generator {
  GeneratorInfo info;
  std::unique_ptr<UNet2DModel<D, P>> unet;
  std::string hash;

  i64 classes() const { return i64(info.class_names.size()); }
  Shape<3> image() const { return Shape<3>(info.unet.sample_size, info.unet.sample_size, info.unet.out_channels); }
};

template <Device D, class P>
Generator<D, P> load_generator(const std::filesystem::path& folder, std::optional<SamplerKind> sampler = {}) {
  const GeneratorFiles files{folder};
  files.check();
  Generator<D, P> out{read_generator_info(files, sampler), nullptr, files.hash()};
  out.unet = std::make_unique<UNet2DModel<D, P>>(out.info.unet);
  load(*out.unet, files.weights());
  return out;
}

template <Device D, class P>
void save_generator(const std::filesystem::path& folder, UNet2DModel<D, P>& unet, const GeneratorInfo& info) {
  const GeneratorFiles files{folder};
  make_folder(folder / "unet");
  make_folder(folder / "scheduler");
  write_generator_info(files, info);
  save(unet, files.weights(), {{"format", "pt"}});
}

// f32 [-1, 1] to u8 [0, 255], rounded to nearest; values outside are clamped.
template <Device D>
Tensor<u8, 4, Cpu> to_bytes(const Tensor<float, 4, D>& images) {
  const Tensor<u8, 4, Cpu> out(images.shape());
  const std::vector<float> values = images.to_vector();
  for (size_t i = 0; i < values.size(); ++i) out.data()[i] = u8(std::clamp((values[i] + 1) * 127.5f, 0.f, 255.f) + 0.5f);
  return out;
}

// Images u8 [n, h, w, c] of the given classes and indices, `batch` at a time (with guidance the network sees twice as many).
// Keeps a sampler for each number of images that it was asked for: seed, guidance and image size are the same in all requests.
template <Device D, class P>
class GeneratedImages {
 public:
  GeneratedImages(const UNet2DModel<D, P>& unet, Sampler sampler, i64 batch)
      : unet_(unet), sampler_(std::move(sampler)), batch_(batch) {}

  Tensor<u8, 4, Cpu> operator()(SampleRequest request) {
    const i64 n = i64(request.labels.size());
    const Tensor<u8, 4, Cpu> out(Shape<4>(n, request.image[0], request.image[1], request.image[2]));
    const std::vector<i64> labels = std::move(request.labels), indices = std::move(request.indices);
    for (i64 begin = 0; begin < n; begin += batch_) {
      const i64 end = std::min(begin + batch_, n);
      request.labels.assign(labels.begin() + begin, labels.begin() + end);
      request.indices.assign(indices.begin() + begin, indices.begin() + end);
      auto& images = samplers_[end - begin];
      if (!images) images = std::make_unique<OneSize>(unet_, sampler_, request);
      out.slice(begin, end).copy_from(to_bytes((*images)(request)));
    }
    return out;
  }

 private:
  using OneSize = ImageSampler<typename P::compute, D, UNet2DModel<D, P>>;

  const UNet2DModel<D, P>& unet_;
  Sampler sampler_;
  i64 batch_;
  std::map<i64, std::unique_ptr<OneSize>> samplers_;  // by the number of images
};

template <Device D, class P>
Tensor<u8, 4, Cpu> generate(const UNet2DModel<D, P>& unet, const Sampler& sampler, const SampleRequest& request, i64 batch) {
  return GeneratedImages<D, P>(unet, sampler, batch)(request);
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/generator.ipp>
#endif
