// Sampling a batch of images with any denoiser (diffusion/denoiser.hpp).
//
// An image is a function of the denoiser, the sampler and its own streams: one for its latent, one for the noise of each step.
// The caller chooses them; those of an ImageKey are (seed, "latent", label, index) and (seed, "noise", label, index, step).
// Batches, their order and the number of images asked for do not matter, provided that the denoiser treats the images of a batch
// alike. After the last step a decoder may make images of latents.
// Left out: splitting a data set into batches (diffusion/generator.hpp).
#pragma once

#include <mindgap/core/replay.hpp>
#include <mindgap/core/stop.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/diffusion/denoiser.hpp>
#include <mindgap/diffusion/samplers.hpp>

#include <array>
#include <bit>
#include <functional>
#include <map>

namespace mindgap {

// The state of a batch between the steps of a sampler. T is the model's element type; the state itself is f32.
//
//   run.start(latent, noise);                      or, from images, run.start(latent, noise, images)
//   for each step: run.begin_step(); run.step(denoise(run.input(), run.timesteps()));
//
// Which step it is the device counts itself: both calls of a step are the same each time and can be replayed.
template <Real T, Device D>
class SamplerRun {
 public:
  // shape: [images, h, w, c].
  SamplerRun(const Sampler& sampler, Shape<4> shape, Guidance guidance = {})
      : sampler_(sampler),
        images_(shape[0]),
        copies_(guidance.copies()),
        guidance_(guidance),
        state_(shape),
        input_(Shape<4>(copies_ * shape[0], shape[1], shape[2], shape[3])),
        timesteps_(Shape<1>(copies_ * shape[0])),
        bad_step_(Shape<1>(shape[0])),
        step_(Shape<1>(2)) {
    if (!(std::abs(guidance_.scale) <= 1e6))
      throw Error(text("sample: guidance ", guidance_.scale), {{"remedy", "1.5 to 7.5 is usual; 1 is without guidance"}});
    if (!(guidance_.rescale >= 0 && guidance_.rescale <= 1))
      throw Error(text("sample: guidance rescale ", guidance_.rescale), {{"remedy", "0 to 1; 0 is without, 0.7 is usual"}});
    std::vector<float> grid, coefficients;
    constexpr i64 numbers = sizeof(StepCoefficients) / sizeof(float);
    for (i64 k = 0; k < sampler_.steps(); ++k) {
      grid.push_back(float(sampler_.timestep(k)));
      const auto step = std::bit_cast<std::array<float, numbers>>(sampler_.coefficients(k));
      coefficients.insert(coefficients.end(), step.begin(), step.end());
    }
    grid_ = Tensor<float, 1, D>::from(grid, Shape<1>(sampler_.steps()));
    coefficients_ = Tensor<float, 2, D>::from(coefficients, Shape<2>(sampler_.steps(), numbers));
    latent_ = Tensor<i32, 2, D>(Shape<2>(images_, 4));
    if (sampler_.draws()) noise_ = Tensor<i32, 2, D>(Shape<2>(sampler_.steps() * images_, 4));
    if (const i64 depth = sampler_.looks_back()) kept_ = Tensor<float, 2, D>(Shape<2>(depth, state_.size()));
    *begun_ = sampler_.steps();
    if (copies_ == 2 && guidance_.rescale > 0) factor_ = Tensor<float, 1, D>(Shape<1>(images_));
  }

  // latent: one stream an image. noise: where steps draw any, one stream an image for every step, steps * images in all.
  // images: where the sampler needs them, or to start from all the same, of the state's shape.
  void start(const std::vector<Stream>& latent, const std::vector<Stream>& noise = {}, const Tensor<float, 4, D>& images = {}) {
    if (i64(latent.size()) != images_ || (noise_.defined() && i64(noise.size()) != images_ * sampler_.steps()))
      throw Error(text(sampler_.name(), ": ", latent.size(), " latent and ", noise.size(), " noise streams for ", images_,
                       " images and ", sampler_.steps(), " steps"));
    if (images.defined() ? !sampler_.image_level() || images.shape() != state_.shape() : sampler_.needs_images())
      throw Error(text(sampler_.name(), images.defined() ? ": these are no images to start from" : ": no images to start from"),
                  {{"images", images.defined() ? images.str() : "none"},
                   {"remedy", sampler_.image_level() ? text("give images ", state_.str(), " where strength is below 1")
                                                     : std::string("start steps of one's own from noise")}});
    upload(latent_, latent);
    if (noise_.defined()) upload(noise_, noise);
    if (kept_.defined()) Runtime<D>::zero(kept_.data(), kept_.bytes());
    Runtime<D>::zero(bad_step_.data(), bad_step_.bytes());
    Runtime<D>::zero(step_.data(), step_.bytes());
    *begun_ = 0;
    const Tensor<float, 4, D> given = aligned(images);
    const NoiseLevel level = images.defined() ? *sampler_.image_level() : NoiseLevel{0, sampler_.initial_scale()};
    Runtime<D>::launch(Grid{images_},
                       kernel::LatentStart<T>{state_.data(), input_.data(), streams(latent_), given.data(), images_, image_size(),
                                              copies_, float(level.alpha), float(level.sigma)});
  }

  // What the model is asked next: the state in each copy, and the timestep of each image of it.
  const Tensor<T, 4, D>& input() const { return input_; }
  const Tensor<float, 1, D>& timesteps() const { return timesteps_; }
  const Tensor<float, 4, D>& state() const { return state_; }

  // The first and every further step. Throws for more than sampler.steps() after a start.
  void begin_step() {
    each_run([begun = begun_, steps = sampler_.steps()] {
      if (*begun == steps)
        throw Error(text("sampler: all ", steps, " steps are made, or none was started"),
                    {{"remedy", "start() comes before the first step"}});
      ++*begun;
    });
    Runtime<D>::launch(Grid{1}, kernel::BeginSamplerStep{step_.data(), timesteps_.data(), grid_.data(), timesteps_.size()});
  }
  // The step that was begun, from what the model said about input().
  void step(const Tensor<T, 4, D>& answer) {
    const Op<D> op("sampler step");
    op.moves(state_, state_, answer, input_);
    if (answer.shape() != input_.shape())
      throw Error("sampler: the model's output has another shape than its input",
                  {{"input", input_.str()}, {"output", answer.str()}});
    const Tensor<T, 4, D> output = aligned(answer);
    if (factor_.defined())
      Runtime<D>::launch(Grid{images_}, kernel::GuidanceRescale<T>{factor_.data(), output.data(), images_, image_size(),
                                                                   float(guidance_.scale), float(guidance_.rescale)});
    if (kept_.defined()) launch_step<true>(output);
    else launch_step<false>(output);
  }

  // For each image 1 + the first step at which the model's output was NaN or infinite, or 0. Waits for the device.
  std::vector<i32> bad_steps() const { return bad_step_.to_vector(); }

 private:
  template <bool looks_back>
  void launch_step(const Tensor<T, 4, D>& output) {
    Runtime<D>::launch(Grid{images_},
                       kernel::SamplerStep<T, looks_back>{
                           state_.data(), kept_.data(), input_.data(), output.data(), factor_.data(), streams(noise_),
                           bad_step_.data(), reinterpret_cast<const StepCoefficients*>(coefficients_.data()), step_.data(),
                           images_, image_size(), copies_, looks_back ? i32(kept_.extent(0)) : 0, float(guidance_.scale)});
  }
  // The kernels move four elements at a time.
  template <class U>
  static Tensor<U, 4, D> aligned(const Tensor<U, 4, D>& x) {
    return is_vector_aligned(x.data()) ? x : x.clone();
  }
  // A stream is four 32-bit words.
  static void upload(const Tensor<i32, 2, D>& to, const std::vector<Stream>& streams) {
    static_assert(sizeof(Stream) == 16 && std::is_trivially_copyable_v<Stream>);
    Runtime<D>::from_host(to.data(), streams.data(), to.bytes());
  }
  static const Stream* streams(const Tensor<i32, 2, D>& words) { return reinterpret_cast<const Stream*>(words.data()); }

  i64 image_size() const { return images_ ? state_.size() / images_ : 0; }

  Sampler sampler_;
  i64 images_, copies_;
  Guidance guidance_;  // used with two copies
  Tensor<float, 4, D> state_;
  Tensor<T, 4, D> input_;
  Tensor<float, 2, D> kept_;  // [steps that are looked back on, state]
  Tensor<float, 1, D> timesteps_, grid_, factor_;
  Tensor<float, 2, D> coefficients_;  // [steps, numbers of StepCoefficients]
  Tensor<i32, 2, D> latent_, noise_;  // streams
  Tensor<i32, 1, D> bad_step_, step_;
  std::shared_ptr<i64> begun_ = std::make_shared<i64>();  // steps since the start
};

// What an image of a labelled set is keyed by.
struct ImageKey {
  u64 seed = 0;
  i64 label = 0, index = 0;  // the image's number within its class
};

struct ImageStreams {
  Stream latent;
  std::vector<Stream> noise;                   // of each step; may be empty where no step draws any
  std::string name = "an image of the batch";  // for errors
};

// label: the class's number, or a hash of its id; name: for errors.
inline ImageStreams streams_of(u64 seed, u64 label, i64 index, const Sampler& sampler, std::string name) {
  ImageStreams out{Stream(seed, "latent", label, u64(index)), {}, std::move(name)};
  for (i64 k = 0; sampler.draws() && k < sampler.steps(); ++k) out.noise.emplace_back(seed, "noise", label, u64(index), u64(k));
  return out;
}
inline ImageStreams streams_of(const ImageKey& key, const Sampler& sampler) {
  return streams_of(key.seed, u64(key.label), key.index, sampler,
                    text("the image of class ", key.label, " with index ", key.index));
}

template <Device D>
struct SampledImages {
  Tensor<float, 4, D> images;
  std::vector<std::string> problems;  // of each image: at which step it was not finite; empty: it is
};

// Samples batches of one size, one after the other: the steps of all of them are one replay.
// Denoise: a Denoiser, or a Guided one. Decode: what makes f32 images [n, ...] of the last state [n, h, w, c] f32.
template <Real T, Device D, class Denoise, class Decode = std::identity>
class ImageSampler {
  static_assert(Denoiser<Denoise, T, D>,
                "denoise(Tensor<T, 4, D> x, Tensor<float, 1, D> t) of a sampler returns a Tensor<T, 4, D>");

 public:
  // shape: [n, h, w, c] of the state.
  ImageSampler(Denoise denoise, const Sampler& sampler, Shape<4> shape, Decode decode = {})
      : denoise_(std::move(denoise)), decode_(std::move(decode)), sampler_(sampler), run_(sampler, shape, guidance_of(denoise_)) {
    if (shape[0] < 1) throw Error(text("sample: a batch of ", shape[0], " images"));
    if (sampler.amplifies_errors())
      throw Error(
          text(sampler.name(), ": a model that predicts noise cannot start at timestep ", sampler.timestep(0), ", where 1 / ",
               i64(std::hypot(1, sampler.error_gain())), " of the image is left"),
          {{"remedy",
            "use leading spacing (sample: --spacing leading), ddim or ddpm with clip_sample, or a model that predicts v"}});
  }

  // n images, nominally in [-1, 1]; the next call overwrites them. Throws when an image is not finite at the end; never returns
  // one. from: the state's images to start from (SamplerRun::start).
  Tensor<float, 4, D> operator()(const std::vector<ImageStreams>& images, const Tensor<float, 4, D>& from = {}) {
    const SampledImages<D> out = attempt(images, from);
    for (size_t i = 0; i < images.size(); ++i)
      if (!out.problems[i].empty())
        throw Error(text("sample: ", images[i].name, " is not finite"),
                    {{"step", out.problems[i]},
                     {"remedy",
                      text("check the weights, lower the guidance (", guidance_of(denoise_).scale, ") or use --precision f32")}});
    return out.images;
  }
  // The same without throwing for those that are not finite.
  SampledImages<D> attempt(const std::vector<ImageStreams>& images, const Tensor<float, 4, D>& from = {}) {
    std::vector<Stream> latent, noise;
    for (const ImageStreams& image : images) latent.push_back(image.latent);
    for (i64 k = 0; sampler_.draws() && k < sampler_.steps(); ++k)
      for (const ImageStreams& image : images)
        if (k < i64(image.noise.size())) noise.push_back(image.noise[size_t(k)]);
    run_.start(latent, noise, from);
    for (i64 k = 0; k < sampler_.steps(); ++k) {
      StopHook::ask();
      replay_.run([this] {
        run_.begin_step();
        run_.step(denoise_(run_.input(), run_.timesteps()));
      });
    }
    const Tensor<float, 4, D> out = decode_(run_.state());
    return {out, problems(out)};
  }

 private:
  std::vector<std::string> problems(const Tensor<float, 4, D>& images) const {
    const std::vector<i32> bad = run_.bad_steps();
    const std::vector<float> values = images.to_vector();
    const size_t size = values.size() / bad.size();
    std::vector<std::string> out(bad.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const auto begin = values.begin() + i64(i * size);
      if (bad[i]) out[i] = text("the model's output was NaN or infinite at step ", bad[i] - 1, " of ", sampler_.steps());
      else if (!std::all_of(begin, begin + i64(size), [](float v) { return std::isfinite(v); })) out[i] = "the last";
    }
    return out;
  }

  Denoise denoise_;
  Decode decode_;
  Sampler sampler_;
  SamplerRun<T, D> run_;
  Replay<D> replay_{"sampling step"};
};

// One batch. image: h, w, c of the state.
template <Real T, Device D, class Denoise, class Decode = std::identity>
Tensor<float, 4, D> sample(Denoise denoise, const Sampler& sampler, Shape<3> image, const std::vector<ImageStreams>& images,
                           Decode decode = {}, const Tensor<float, 4, D>& from = {}) {
  const Shape<4> shape(i64(images.size()), image[0], image[1], image[2]);
  return ImageSampler<T, D, Denoise, Decode>(std::move(denoise), sampler, shape, std::move(decode))(images, from);
}

// Samples images of classes, with guidance: of any number at once, and a replay for each number that it was asked for.
template <Real T, Device D, class Model>
class ClassSampler {
 public:
  // model: of a ClassDenoiser; it must live as long as this. image: h, w, c. Labels are 0 to classes - 1; where guidance needs
  // it, the model is told `classes` for "no class".
  ClassSampler(const Model& model, const Sampler& sampler, Shape<3> image, i64 classes, Guidance guidance = {})
      : model_(model), sampler_(sampler), image_(image), classes_(classes), guidance_(guidance) {}

  // Images [n, h, w, c], which the next call for as many overwrites.
  Tensor<float, 4, D> operator()(const std::vector<ImageKey>& keys) {
    std::vector<i64> labels;
    std::vector<ImageStreams> streams;
    for (const ImageKey& key : keys) {
      if (key.label < 0 || key.label >= classes_)
        throw Error(text("sample: class ", key.label, " is outside 0 to ", classes_ - 1));
      labels.push_back(key.label);
      streams.push_back(streams_of(key, sampler_));
    }
    const i64 n = i64(keys.size());
    auto& one = sizes_[n];
    if (!one) one = std::make_unique<OneSize>(*this, n);
    one->classes.set(guidance_.conditions(std::vector<i64>(size_t(n), classes_), labels));
    return one->sample(streams);
  }

 private:
  using Classes = ClassDenoiser<D, Model>;
  struct OneSize {
    Classes classes;
    ImageSampler<T, D, Guided<Classes>> sample;

    OneSize(const ClassSampler& all, i64 n)
        : classes(all.model_, all.guidance_.copies() * n),
          sample({classes, all.guidance_}, all.sampler_, Shape<4>(n, all.image_[0], all.image_[1], all.image_[2])) {}
  };

  const Model& model_;
  Sampler sampler_;
  Shape<3> image_;
  i64 classes_;
  Guidance guidance_;
  std::map<i64, std::unique_ptr<OneSize>> sizes_;
};

}  // namespace mindgap
