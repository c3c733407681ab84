// What a sampler asks: any callable denoise(x, t) that says what its steps take (noise, image or v) of noisy images.
//
//   x [n, h, w, c]   images or latents, alpha x0 + sigma e        t [n] f32   the timestep of each
//
// A denoiser that is conditioned holds its condition in memory that stays, so that a step can be replayed: ClassDenoiser is a
// model with a class an image. Guided wraps a denoiser in classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598):
//
//   m = u + scale (c - u)            u without the condition, c with it
//
// Both halves are one batch of 2n, u first, as in diffusers; scale 1 needs c alone and scale 0 u. The sampler writes x twice and
// mixes the halves in the kernel of the step, so guidance moves no memory of its own. Guidance rescale (Lin et al. 2023, arXiv
// 2305.08891, section 3.4; diffusers' guidance_rescale) brings each image's m back to the deviation of its c, or part of the way:
//
//   m = (1 - rescale + rescale std(c) / std(m)) m            where both halves were asked for
#pragma once

#include <mindgap/core/host_input.hpp>

namespace mindgap {

template <class F, class T, class D>
concept Denoiser = requires(const F& denoise, const Tensor<T, 4, D>& x, const Tensor<float, 1, D>& t) {
  { denoise(x, t) } -> std::same_as<Tensor<T, 4, D>>;
};

// How the answers about an image become one. Without guidance: scale 1.
struct Guidance {
  double scale, rescale;  // rescale: 0 to 1

  Guidance(double weight = 1, double rescaling = 0) : scale(weight), rescale(rescaling) {}

  bool unconditional() const { return scale != 1; }
  bool conditional() const { return scale != 0; }
  i64 copies() const { return i64(unconditional()) + i64(conditional()); }

  // The conditions of a batch as its denoiser sees them, one an image of x: `none` and `with` hold one an image of the batch.
  template <class C>
  std::vector<C> conditions(std::vector<C> none, const std::vector<C>& with) const {
    if (!unconditional()) return with;
    if (conditional()) none.insert(none.end(), with.begin(), with.end());
    return none;
  }
};

// denoise: sees guidance.copies() times as many images as the batch has, in the order of guidance.conditions().
template <class F>
struct Guided {
  F denoise;
  Guidance guidance;

  auto operator()(const auto& x, const auto& t) const { return denoise(x, t); }
};

template <class F>
Guidance guidance_of(const F&) {
  return {};
}
template <class F>
Guidance guidance_of(const Guided<F>& guided) {
  return guided.guidance;
}

// model(x, t, classes [n] i64), with the classes that were set last. The model must live as long as this.
template <Device D, class Model>
class ClassDenoiser {
 public:
  // room: images of x, at most.
  ClassDenoiser(const Model& model, i64 room) : model_(&model), classes_(room) {}

  // One an image of x; copies of this denoiser see them too.
  void set(const std::vector<i64>& classes) { classes_.set(classes); }
  auto operator()(const auto& x, const Tensor<float, 1, D>& t) const { return (*model_)(x, t, classes_.tensor()); }

 private:
  const Model* model_;
  HostInput<i64, D> classes_;
};

}  // namespace mindgap
