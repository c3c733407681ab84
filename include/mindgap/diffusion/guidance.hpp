// Sampling a batch of images with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598).
//
//   m = model(x, t, no class) + guidance (model(x, t, class) - model(x, t, no class))
//
// Both halves are one batch of 2N, the images without class first, as in diffusers; guidance 1 needs the conditional half
// alone and guidance 0 the other. The class that stands for "no class" is the last row of the model's class embedding.
//
// An image is a function of (seed, class, index, settings): its latent is the stream (seed, "latent", class, index), its noise
// at step k the stream (seed, "noise", class, index, k). Batches, their order and the number of images asked for do not matter,
// provided that the model treats the images of a batch alike.
// Left out: splitting a data set into batches (apps/sample.cpp), guidance rescaling.
#pragma once

#include <mindgap/core/replay.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/diffusion/samplers.hpp>

namespace mindgap {

// The state of a batch between the steps of a sampler. T is the model's element type; the state itself is f32.
//
//   run.start(latent, noise);
//   for each step: run.begin_step(); run.step(model(run.input(), run.timesteps(), ...), guidance);
//
// Which step it is the device counts itself: both calls of a step are the same each time and can be replayed.
template <Real T, Device D>
class SamplerRun {
 public:
  // shape: [images, h, w, c]. copies: 2 for guidance, else 1.
  SamplerRun(const Sampler& sampler, Shape<4> shape, i64 copies)
      : sampler_(sampler),
        images_(shape[0]),
        copies_(copies),
        state_(shape),
        input_(Shape<4>(copies * shape[0], shape[1], shape[2], shape[3])),
        timesteps_(Shape<1>(copies * shape[0])),
        bad_step_(Shape<1>(shape[0])),
        step_(Shape<1>(2)) {
    std::vector<float> grid, coefficients;
    for (i64 k = 0; k < sampler_.steps(); ++k) {
      grid.push_back(float(sampler_.timestep(k)));
      const StepCoefficients& c = sampler_.coefficients(k);
      draws_ = draws_ || c.noise != 0;
      for (float number : {c.x0_x, c.x0_m, c.clip, c.x, c.m, c.x0, c.previous, c.noise}) coefficients.push_back(number);
    }
    grid_ = Tensor<float, 1, D>::from(grid, Shape<1>(sampler_.steps()));
    coefficients_ = Tensor<float, 2, D>::from(coefficients, Shape<2>(sampler_.steps(), 8));
    latent_ = Tensor<i32, 2, D>(Shape<2>(images_, 4));
    if (draws_) noise_ = Tensor<i32, 2, D>(Shape<2>(sampler_.steps() * images_, 4));
    if (sampler_.keeps_history()) previous_ = Tensor<float, 4, D>(shape);
  }

  // Whether any step draws noise.
  bool draws() const { return draws_; }

  // latent: one stream an image. noise: where steps draw any, one stream an image for every step, steps * images in all.
  void start(const std::vector<Stream>& latent, const std::vector<Stream>& noise = {}) {
    if (i64(latent.size()) != images_ || (draws_ && i64(noise.size()) != images_ * sampler_.steps()))
      throw Error(text(name(sampler_.config().sampler), ": ", latent.size(), " latent and ", noise.size(), " noise streams for ",
                       images_, " images and ", sampler_.steps(), " steps"));
    upload(latent_, latent);
    if (draws_) upload(noise_, noise);
    if (previous_.defined()) Runtime<D>::zero(previous_.data(), previous_.bytes());
    Runtime<D>::zero(bad_step_.data(), bad_step_.bytes());
    Runtime<D>::zero(step_.data(), step_.bytes());
    Runtime<D>::launch(Grid{images_}, LatentStart<T>{state_.data(), input_.data(), streams(latent_), images_, image_size(),
                                                     copies_, float(sampler_.initial_scale())});
  }

  // What the model is asked next: the state in each copy, and the timestep of each image of it.
  const Tensor<T, 4, D>& input() const { return input_; }
  const Tensor<float, 1, D>& timesteps() const { return timesteps_; }
  const Tensor<float, 4, D>& state() const { return state_; }

  // The first and every further step, at most sampler.steps() after a start.
  void begin_step() {
    Runtime<D>::launch(Grid{1}, BeginSamplerStep{step_.data(), timesteps_.data(), grid_.data(), timesteps_.size()});
  }
  // The step that was begun, from what the model said about input(). guidance is used with two copies only.
  void step(const Tensor<T, 4, D>& output, double guidance = 1) {
    const Op<D> op("sampler step");
    op.moves(state_, state_, output, input_);
    if (output.shape() != input_.shape())
      throw Error("sampler: the model's output has another shape than its input",
                  {{"input", input_.str()}, {"output", output.str()}});
    Runtime<D>::launch(Grid{images_},
                       SamplerStep<T>{state_.data(), previous_.data(), input_.data(), output.data(), streams(noise_),
                                      bad_step_.data(), reinterpret_cast<const StepCoefficients*>(coefficients_.data()),
                                      step_.data(), images_, image_size(), copies_, float(guidance)});
  }

  // For each image 1 + the first step at which the model's output was NaN or infinite, or 0. Waits for the device.
  std::vector<i32> bad_steps() const { return bad_step_.to_vector(); }

 private:
  // A stream is four 32-bit words.
  static void upload(const Tensor<i32, 2, D>& to, const std::vector<Stream>& streams) {
    static_assert(sizeof(Stream) == 16 && std::is_trivially_copyable_v<Stream>);
    Runtime<D>::from_host(to.data(), streams.data(), to.bytes());
  }
  static const Stream* streams(const Tensor<i32, 2, D>& words) { return reinterpret_cast<const Stream*>(words.data()); }

  i64 image_size() const { return images_ ? state_.size() / images_ : 0; }

  Sampler sampler_;
  i64 images_, copies_;
  bool draws_ = false;
  Tensor<float, 4, D> state_, previous_;
  Tensor<T, 4, D> input_;
  Tensor<float, 1, D> timesteps_, grid_;
  Tensor<float, 2, D> coefficients_;  // [steps, 8], of StepCoefficients
  Tensor<i32, 2, D> latent_, noise_;  // streams
  Tensor<i32, 1, D> bad_step_, step_;
};

struct SampleRequest {
  std::vector<i64> labels;   // the class of each image, 0 <= label < null_class
  std::vector<i64> indices;  // the image's number within its class
  u64 seed = 0;
  double guidance = 1;
  Shape<3> image;      // h, w, c
  i64 null_class = 0;  // the number of classes: the last row of the class embedding
};

// Samples batches of one size, one after the other: the steps of all of them are one replay.
template <Real T, Device D, class Model>
class ImageSampler {
 public:
  // model(x [b, h, w, c] T, timesteps [b] f32, classes [b] i64) returns what it predicts, [b, h, w, c] T; b is n, or 2n with
  // guidance. It must live as long as this. `like`: n, the size of the images and the guidance of the requests to come.
  ImageSampler(const Model& model, const Sampler& sampler, const SampleRequest& like)
      : model_(model),
        sampler_(sampler),
        n_(i64(like.labels.size())),
        guidance_(like.guidance),
        run_(sampler, Shape<4>(n_, like.image[0], like.image[1], like.image[2]), guided() ? 2 : 1),
        classes_(run_.timesteps().shape()) {
    if (!(std::abs(guidance_) <= 1e6))
      throw Error(text("sample: guidance ", guidance_), {{"remedy", "1.5 to 7.5 is usual; 1 is without guidance"}});
    if (sampler.amplifies_errors())
      throw Error(text(name(sampler.config().sampler), ": a model that predicts noise cannot start at timestep ",
                       sampler.timestep(0), ", where 1 / ", i64(1 / sampler.level(0).alpha), " of the image is left"),
                  {{"remedy", "use leading spacing, ddim or ddpm with clip_sample, or a model that predicts v"}});
  }

  // Images [n, h, w, c] in f32, nominally in [-1, 1]; the next call overwrites them. Throws when an image is not finite at the
  // end; never returns one.
  Tensor<float, 4, D> operator()(const SampleRequest& request) {
    check(request);
    const auto stream = [&](const char* use, i64 i, auto... step) {
      return Stream(request.seed, use, u64(request.labels[size_t(i)]), u64(request.indices[size_t(i)]), step...);
    };
    std::vector<Stream> latent, noise;
    for (i64 i = 0; i < n_; ++i) latent.push_back(stream("latent", i));
    for (i64 k = 0; run_.draws() && k < sampler_.steps(); ++k)
      for (i64 i = 0; i < n_; ++i) noise.push_back(stream("noise", i, u64(k)));
    std::vector<i64> classes;
    if (guidance_ != 1) classes.assign(size_t(n_), request.null_class);
    if (guidance_ != 0) classes.insert(classes.end(), request.labels.begin(), request.labels.end());
    Runtime<D>::from_host(classes_.data(), classes.data(), classes_.bytes());

    run_.start(latent, noise);
    for (i64 k = 0; k < sampler_.steps(); ++k)
      replay_.run([this] {
        run_.begin_step();
        run_.step(model_(run_.input(), run_.timesteps(), classes_), guidance_);
      });
    check_finite(request);
    return run_.state();
  }

 private:
  bool guided() const { return guidance_ != 0 && guidance_ != 1; }

  void check(const SampleRequest& request) const {
    if (n_ == 0 || i64(request.labels.size()) != n_ || request.indices.size() != request.labels.size())
      throw Error(text("sample: ", request.labels.size(), " labels and ", request.indices.size(), " indices"),
                  {{"remedy", "give one of each for every image"}});
    for (i64 label : request.labels)
      if (label < 0 || label >= request.null_class)
        throw Error(text("sample: class ", label, " is outside 0 to ", request.null_class - 1));
  }
  void check_finite(const SampleRequest& request) const {
    const std::vector<i32> bad = run_.bad_steps();
    const std::vector<float> images = run_.state().to_vector();
    const i64 size = i64(images.size()) / n_;
    for (i64 i = 0; i < n_; ++i) {
      bool finite = bad[size_t(i)] == 0;
      for (i64 j = i * size; j < (i + 1) * size; ++j) finite = finite && std::isfinite(images[size_t(j)]);
      if (!finite)
        throw Error(text("sample: the image of class ", request.labels[size_t(i)], " with index ", request.indices[size_t(i)],
                         " is not finite"),
                    {{"step", bad[size_t(i)] ? text("the model's output was NaN or infinite at step ", bad[size_t(i)] - 1, " of ",
                                                    sampler_.steps())
                                             : "the last"},
                     {"remedy", text("check the weights, lower the guidance (", guidance_, ") or use --precision f32")}});
    }
  }

  const Model& model_;
  Sampler sampler_;
  i64 n_;
  double guidance_;
  SamplerRun<T, D> run_;
  Tensor<i64, 1, D> classes_;  // of each image of the model's input
  Replay<D> replay_{"sampling step"};
};

// One batch.
template <Real T, Device D, class Model>
Tensor<float, 4, D> sample(const Model& model, const Sampler& sampler, const SampleRequest& request) {
  return ImageSampler<T, D, Model>(model, sampler, request)(request);
}

}  // namespace mindgap
