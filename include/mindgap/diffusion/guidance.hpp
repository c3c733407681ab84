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

#include <mindgap/core/tensor.hpp>
#include <mindgap/diffusion/samplers.hpp>

namespace mindgap {

namespace detail {

// Streams on the device; a stream is four 32-bit words.
template <Device D>
Tensor<i32, 2, D> upload(const std::vector<Stream>& streams) {
  static_assert(sizeof(Stream) == 16 && std::is_trivially_copyable_v<Stream>);
  std::vector<i32> words(4 * streams.size());
  if (!streams.empty()) std::memcpy(words.data(), streams.data(), 4 * words.size());
  return Tensor<i32, 2, D>::from(words, Shape<2>(i64(streams.size()), 4));
}

}  // namespace detail

// The state of a batch between the steps of a sampler. T is the model's element type; the state itself is f32.
template <Real T, Device D>
class SamplerRun {
 public:
  // shape: [images, h, w, c]. copies: 2 for guidance, else 1. latent: one stream an image.
  // noise: one stream an image for every step, steps * images in all; may be empty for samplers that draw none.
  SamplerRun(const Sampler& sampler, Shape<4> shape, i64 copies, const std::vector<Stream>& latent,
             const std::vector<Stream>& noise = {})
      : sampler_(sampler),
        images_(shape[0]),
        state_(shape),
        input_(Shape<4>(copies * shape[0], shape[1], shape[2], shape[3])),
        bad_step_(Tensor<i32, 1, D>::zeros(Shape<1>(shape[0]))) {
    if (i64(latent.size()) != images_ || (!noise.empty() && i64(noise.size()) != images_ * sampler.steps()))
      throw Error(text("sampler: ", latent.size(), " latent and ", noise.size(), " noise streams for ", images_, " images"));
    if (sampler_.keeps_history()) previous_ = Tensor<float, 4, D>::zeros(shape);
    if (!noise.empty()) noise_ = detail::upload<D>(noise);
    const Tensor<i32, 2, D> streams = detail::upload<D>(latent);
    Runtime<D>::launch(Grid{images_},
                       LatentStart<T>{state_.data(), input_.data(), reinterpret_cast<const Stream*>(streams.data()), images_,
                                      image_size(), copies, float(sampler.initial_scale())});
  }

  // What the model is asked next: the state in each copy.
  const Tensor<T, 4, D>& input() const { return input_; }
  const Tensor<float, 4, D>& state() const { return state_; }

  // Step k, from what the model said about input(). guidance is used with two copies only.
  void step(i64 k, const Tensor<T, 4, D>& output, double guidance = 1) {
    if (output.shape() != input_.shape())
      throw Error("sampler: the model's output has another shape than its input",
                  {{"input", input_.str()}, {"output", output.str()}});
    const StepCoefficients& c = sampler_.coefficients(k);
    if (c.noise != 0 && !noise_.defined()) throw Error(text(name(sampler_.config().sampler), ": step ", k, " needs noise"));
    const Stream* noise = c.noise != 0 ? reinterpret_cast<const Stream*>(noise_.data()) + k * images_ : nullptr;
    Runtime<D>::launch(Grid{images_}, SamplerStep<T>{state_.data(), previous_.data(), input_.data(), output.data(), noise,
                                                     bad_step_.data(), images_, image_size(),
                                                     input_.extent(0) / std::max<i64>(images_, 1), float(guidance), c, i32(k)});
  }

  // For each image 1 + the first step at which the model's output was NaN or infinite, or 0. Waits for the device.
  std::vector<i32> bad_steps() const { return bad_step_.to_vector(); }

 private:
  i64 image_size() const { return images_ ? state_.size() / images_ : 0; }

  Sampler sampler_;
  i64 images_;
  Tensor<float, 4, D> state_, previous_;
  Tensor<T, 4, D> input_;
  Tensor<i32, 2, D> noise_;
  Tensor<i32, 1, D> bad_step_;
};

struct SampleRequest {
  std::vector<i64> labels;   // the class of each image, 0 <= label < null_class
  std::vector<i64> indices;  // the image's number within its class
  u64 seed = 0;
  double guidance = 1;
  Shape<3> image;      // h, w, c
  i64 null_class = 0;  // the number of classes: the last row of the class embedding
};

// Images [n, h, w, c] in f32, nominally in [-1, 1]. model(x [b, h, w, c] T, timesteps [b] f32, classes [b] i64) returns what it
// predicts, [b, h, w, c] T; b is n, or 2n with guidance. Throws when an image is not finite at the end; never returns one.
template <Real T, Device D, class Model>
Tensor<float, 4, D> sample(const Model& model, const Sampler& sampler, const SampleRequest& request) {
  const i64 n = i64(request.labels.size());
  if (n == 0 || request.indices.size() != request.labels.size())
    throw Error(text("sample: ", n, " labels and ", request.indices.size(), " indices"),
                {{"remedy", "give one of each for every image"}});
  for (i64 label : request.labels)
    if (label < 0 || label >= request.null_class)
      throw Error(text("sample: class ", label, " is outside 0 to ", request.null_class - 1));
  if (!(std::abs(request.guidance) <= 1e6))
    throw Error(text("sample: guidance ", request.guidance), {{"remedy", "1.5 to 7.5 is usual; 1 is without guidance"}});
  if (sampler.amplifies_errors())
    throw Error(text(name(sampler.config().sampler), ": a model that predicts noise cannot start at timestep ",
                     sampler.timestep(0), ", where 1 / ", i64(1 / sampler.level(0).alpha), " of the image is left"),
                {{"remedy", "use leading spacing, ddim or ddpm with clip_sample, or a model that predicts v"}});

  std::vector<Stream> latent, noise;
  bool stochastic = false;
  for (i64 k = 0; k < sampler.steps(); ++k) stochastic |= sampler.coefficients(k).noise != 0;
  for (i64 i = 0; i < n; ++i)
    latent.emplace_back(request.seed, "latent", u64(request.labels[size_t(i)]), u64(request.indices[size_t(i)]));
  for (i64 k = 0; stochastic && k < sampler.steps(); ++k)
    for (i64 i = 0; i < n; ++i)
      noise.emplace_back(request.seed, "noise", u64(request.labels[size_t(i)]), u64(request.indices[size_t(i)]), u64(k));

  const bool guided = request.guidance != 0 && request.guidance != 1;
  std::vector<i64> classes;
  if (request.guidance != 1) classes.assign(size_t(n), request.null_class);
  if (request.guidance != 0) classes.insert(classes.end(), request.labels.begin(), request.labels.end());
  const i64 batch = i64(classes.size());
  const auto class_ids = Tensor<i64, 1, D>::from(classes, Shape<1>(batch));

  SamplerRun<T, D> run(sampler, Shape<4>(n, request.image[0], request.image[1], request.image[2]), guided ? 2 : 1, latent, noise);
  for (i64 k = 0; k < sampler.steps(); ++k)
    run.step(k, model(run.input(), Tensor<float, 1, D>::full(Shape<1>(batch), float(sampler.timestep(k))), class_ids),
             request.guidance);

  const std::vector<i32> bad = run.bad_steps();
  const std::vector<float> images = run.state().to_vector();
  const i64 size = i64(images.size()) / n;
  for (i64 i = 0; i < n; ++i) {
    bool finite = bad[size_t(i)] == 0;
    for (i64 j = i * size; j < (i + 1) * size; ++j) finite = finite && std::isfinite(images[size_t(j)]);
    if (!finite)
      throw Error(text("sample: the image of class ", request.labels[size_t(i)], " with index ", request.indices[size_t(i)],
                       " is not finite"),
                  {{"step", bad[size_t(i)] ? text("the model's output was NaN or infinite at step ", bad[size_t(i)] - 1, " of ",
                                                  sampler.steps())
                                           : "the last"},
                   {"remedy", text("check the weights, lower the guidance (", request.guidance, ") or use --precision f32")}});
  }
  return run.state();
}

}  // namespace mindgap
