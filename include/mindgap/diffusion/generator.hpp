// A generator folder, and the images that come out of one.
//
//   unet/diffusion_pytorch_model.safetensors, unet/config.json     UNet2DModel, as diffusers writes and reads it; the weights may
//                                                                  be a variant (....fp16.safetensors) or sharded with an index
//   scheduler/scheduler_config.json                                the noise schedule and what the network predicts
//   classes.json                                                   the class names in the order of their labels (ours; where
//                                                                  it is missing each row of the class embedding is a class,
//                                                                  "0", "1", ...)
//   training.txt                                                   how it was made, a setting a line (ours; may be missing)
//
// The network is conditioned on a class. Where classes.json has one name less than its class embedding has rows, the last row
// stands for "no class", which guidance needs; diffusers knows no such row. Pixels are 2 v / 255 - 1.
// An image depends on the generator, the seed, its class, its index and the sampler's settings; the number of images that are
// sampled together changes nothing.
#pragma once

#include <mindgap/data/shards.hpp>
#include <mindgap/diffusion/image_sampler.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/nn/state_dict.hpp>

namespace mindgap {

// What a generator saw, which is a property of every set that it makes.
struct GeneratorOrigin {
  i64 images = 0;            // labelled real images that it was trained on; 0: not recorded
  std::optional<bool> flip;  // mirrored at random; empty: not recorded
};

struct GeneratorFiles {
  std::filesystem::path folder;
  // What is written.
  std::filesystem::path weights() const { return folder / "unet" / "diffusion_pytorch_model.safetensors"; }
  // What is read, as diffusers chooses among the forms of save_pretrained: the weights without a variant, else the only variant;
  // one file, or the index of several. Empty where there are none; throws where they are PyTorch's or cannot be told apart.
  std::filesystem::path stored_weights() const;
  std::filesystem::path unet_config() const { return folder / "unet" / "config.json"; }
  std::filesystem::path scheduler() const { return folder / "scheduler" / "scheduler_config.json"; }
  std::filesystem::path classes() const { return folder / "classes.json"; }
  std::filesystem::path training() const { return folder / "training.txt"; }

  // Throws one Error that lists every file that is missing.
  void check() const;
  // SHA-256 over the files that are read: what a synthetic set says that it came from.
  std::string hash() const;
  // rows: of the class embedding. The file has a name for each, or for each but the last; where there is no file, each has one.
  std::vector<std::string> read_class_names(i64 rows) const;
  void write_class_names(const std::vector<std::string>& names) const;
  // As training.txt says; throws where it says it in another way than train_generator does.
  GeneratorOrigin read_origin() const;
};

// What a generator is, apart from its weights.
struct GeneratorInfo {
  UNetConfig unet;
  SchedulerConfig scheduler;
  std::vector<std::string> class_names;

  Shape<3> image() const { return Shape<3>(unet.sample_size, unet.sample_size, unet.out_channels); }
  i64 classes() const { return i64(class_names.size()); }
  // The same. Throws for a scale that needs a row for "no class" where there is none.
  Guidance guidance(Guidance wanted) const;
};

// sampler: the one that will sample; empty takes the file's.
GeneratorInfo read_generator_info(const GeneratorFiles& files, std::optional<SamplerKind> sampler = {});
void write_generator_info(const GeneratorFiles& files, const GeneratorInfo& info);

template <Device D, class P>
struct Generator {
  GeneratorInfo info;
  std::unique_ptr<UNet2DModel<D, P>> unet;
  std::string hash;

  i64 classes() const { return info.classes(); }
};

template <Device D, class P>
Generator<D, P> load_generator(const std::filesystem::path& folder, std::optional<SamplerKind> sampler = {}) {
  const GeneratorFiles files{folder};
  files.check();
  Generator<D, P> out{read_generator_info(files, sampler), nullptr, files.hash()};
  out.unet = std::make_unique<UNet2DModel<D, P>>(out.info.unet);
  load(*out.unet, files.stored_weights());
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

// Images u8 [n, h, w, c], and of each what its line says besides the set's settings, where the set has lines.
struct MadeImages {
  Tensor<u8, 4, Cpu> pixels;
  std::vector<Fields> fields;

  MadeImages(Tensor<u8, 4, Cpu> pixels_, std::vector<Fields> fields_ = {})
      : pixels(std::move(pixels_)), fields(std::move(fields_)) {}
};

// What makes the images of a set, as far as writing one, going on with it and dividing it need to know:
//   device                 where it makes them
//   manifest()             what a set of its images says of itself: their shape, the classes, the hash of what makes them and the
//                          settings. Seed and images a class are the set's own
//   batch()                images at a time that suit it; they change no image
//   make(keys)             the MadeImages of n keys, or their pixels alone: each a function of the manifest and its key
template <class M>
concept ImageMaker = Device<typename M::device> && requires(M& make, const std::vector<ImageKey>& keys) {
  { make.manifest() } -> std::convertible_to<ShardManifest>;
  { make.batch() } -> std::convertible_to<i64>;
  { make(keys) } -> std::convertible_to<MadeImages>;
};

// Images of a generator's classes, `batch` at a time (with guidance the network sees twice as many).
template <Device D, class P>
class GeneratedImages {
 public:
  using device = D;

  // unet must live as long as this. hash: of the generator's files, for manifests.
  GeneratedImages(const UNet2DModel<D, P>& unet, const GeneratorInfo& info, const Sampler& sampler, Guidance guidance, i64 batch,
                  const std::string& hash = "")
      : sample_(unet, sampler, info.image(), info.classes(), info.guidance(guidance)), batch_(batch) {
    manifest_.class_names = info.class_names;
    manifest_.height = info.image()[0], manifest_.width = info.image()[1], manifest_.channels = info.image()[2];
    manifest_.generator = hash;
    manifest_.sampler = sampler.describe();
    if (guidance.copies() == 2 && guidance.rescale > 0) manifest_.sampler += ", guidance rescale " + exact(guidance.rescale);
    manifest_.steps = sampler.requested_steps();
    manifest_.guidance = guidance.scale;
    manifest_.precision = precision_name<D, P>();
  }
  GeneratedImages(const Generator<D, P>& generator, const Sampler& sampler, Guidance guidance, i64 batch)
      : GeneratedImages(*generator.unet, generator.info, sampler, guidance, batch, generator.hash) {}

  const ShardManifest& manifest() const { return manifest_; }
  i64 batch() const { return batch_; }

  Tensor<u8, 4, Cpu> operator()(const std::vector<ImageKey>& keys) {
    const i64 n = i64(keys.size());
    const Tensor<u8, 4, Cpu> out(Shape<4>(n, manifest_.height, manifest_.width, manifest_.channels));
    for (i64 begin = 0; begin < n; begin += batch_) {
      const i64 end = std::min(begin + batch_, n);
      out.slice(begin, end).copy_from(to_bytes(sample_({keys.begin() + begin, keys.begin() + end})));
    }
    return out;
  }

 private:
  ClassSampler<typename P::compute, D, UNet2DModel<D, P>> sample_;
  i64 batch_;
  ShardManifest manifest_;
};

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/diffusion/generator.ipp>
#endif
