// Kernels of diffusion: the start of sampling, one sampler step, and the noisy images of a training batch.
//
// One block is one image, and each thread makes four neighbouring elements at a time, since Philox gives normals in fours.
// Bytes moved an element (T is the model's type): LatentStart writes 4 + sizeof(T) a copy. SamplerStep reads 4 + sizeof(T) a
// copy and writes the same; a method with history reads and writes 4 more; its noise is made in registers. NoisyImages reads 4,
// writes 2 sizeof(T).
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/kernels/block.hpp>

namespace mindgap {

// x = scale z, and the same as the model's first input, in `copies` copies.
template <class T>
struct LatentStart {
  float* x;              // [images, size]
  T* input;              // [copies, images, size]
  const Stream* latent;  // [images]
  i64 images, size, copies;
  float scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id(), quads = (size + 3) / 4;
    for (i64 quad = block.rank(); quad < quads; quad += block.size()) {
      float z[4];
      latent[image].normals(u64(quad), z);
      for (i64 i = 4 * quad; i < size && i < 4 * quad + 4; ++i) {
        const float value = scale * z[i - 4 * quad];
        x[image * size + i] = value;
        for (i64 copy = 0; copy < copies; ++copy) input[(copy * images + image) * size + i] = T(value);
      }
    }
  }
};

// The coefficients of one step; see diffusion/samplers.hpp.
struct StepCoefficients {
  float x0_x, x0_m, clip;           // x0 = clamp(x0_x x + x0_m m, -clip, clip)
  float x, m, x0, previous, noise;  // x' = x x + m m + x0 x0 + previous p + noise z
};

// One sampler step with classifier-free guidance:
//   m = u + guidance (c - u)  for two copies (u without class, c with), else the model's only output
//   x0 and x' as in StepCoefficients, p being the x0 of the step before and z fresh normals
template <class T>
struct SamplerStep {
  float* x;             // [images, size], updated
  float* previous;      // [images, size] x0 of the step before, replaced by this step's; null when the method keeps none
  T* input;             // [copies, images, size] the model's next input, written
  const T* output;      // [copies, images, size] what the model said
  const Stream* noise;  // [images]; null when c.noise is 0
  i32* bad_step;        // [images] 1 + the first step whose model output was not finite; 0 while all were
  i64 images, size, copies;
  float guidance;
  StepCoefficients c;
  i32 step;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id(), quads = (size + 3) / 4, second = images * size;
    bool finite = true;
    for (i64 quad = block.rank(); quad < quads; quad += block.size()) {
      float z[4] = {0, 0, 0, 0};
      if (noise) noise[image].normals(u64(quad), z);
      for (i64 i = 4 * quad; i < size && i < 4 * quad + 4; ++i) {
        const i64 at = image * size + i;
        float m = float(output[at]);
        if (copies == 2) m += guidance * (float(output[second + at]) - m);
        finite = finite && fabsf(m) <= 3.4028234e38f;
        float x0 = c.x0_x * x[at] + c.x0_m * m;
        x0 = x0 < -c.clip ? -c.clip : (x0 > c.clip ? c.clip : x0);
        float next = c.x * x[at] + c.m * m;
        if (c.x0 != 0.f) next += c.x0 * x0;
        if (c.previous != 0.f) next += c.previous * previous[at];
        if (c.noise != 0.f) next += c.noise * z[i - 4 * quad];
        if (previous) previous[at] = x0;
        x[at] = next;
        for (i64 copy = 0; copy < copies; ++copy) input[copy * second + at] = T(next);
      }
    }
    if (!finite && bad_step[image] == 0) bad_step[image] = step + 1;  // every thread that writes, writes the same value
  }
};

// Training pairs: noisy = alpha x0 + sigma z, target = target_x0 x0 + target_z z, with coefficients for each image.
template <class T>
struct NoisyImages {
  T* noisy;                   // [images, size]
  T* target;                  // [images, size]
  const float* x0;            // [images, size]
  const float* coefficients;  // [images, 4]: alpha, sigma, target_x0, target_z
  const Stream* noise;        // [images]
  i64 size;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id(), quads = (size + 3) / 4;
    const float* c = coefficients + 4 * image;
    for (i64 quad = block.rank(); quad < quads; quad += block.size()) {
      float z[4];
      noise[image].normals(u64(quad), z);
      for (i64 i = 4 * quad; i < size && i < 4 * quad + 4; ++i) {
        const i64 at = image * size + i;
        noisy[at] = T(c[0] * x0[at] + c[1] * z[i - 4 * quad]);
        target[at] = T(c[2] * x0[at] + c[3] * z[i - 4 * quad]);
      }
    }
  }
};

}  // namespace mindgap
