// Kernels of diffusion: the start of sampling, one sampler step, and the noisy images of a training batch.
//
// One block is one image, and each thread makes four neighbouring elements at a time, since Philox gives normals in fours.
// What differs from step to step (which step it is) is read from the device, so that a step can be captured and replayed.
// Bytes moved an element (T is the model's type): LatentStart writes 4 + sizeof(T) a copy. SamplerStep reads 4 + sizeof(T) a
// copy and writes the same; a method with history reads and writes 4 more; its noise is made in registers. NoisyImages reads 4,
// writes 2 sizeof(T).
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/kernels/vectorised.hpp>

namespace mindgap {

// The coefficients of one step; see diffusion/samplers.hpp.
struct StepCoefficients {
  float x0_x, x0_m, clip;           // x0 = clamp(x0_x x + x0_m m, -clip, clip)
  float x, m, x0, previous, noise;  // x' = x x + m m + x0 x0 + previous p + noise z
};

namespace kernel {
inline namespace MINDGAP_SET {

// f(width, i, z) for the elements i .. i + width - 1 of quad `quad` of an image of `size` elements: all four at once where images
// begin at multiples of four, else one by one; z are the quad's normals from element i on.
template <class F>
MG_HD void each_of_quad(i64 quad, i64 size, const float* z, F&& f) {
  if (size % 4 == 0) f(std::integral_constant<int, 4>{}, 4 * quad, z);
  else
    for (i64 i = 4 * quad; i < size && i < 4 * quad + 4; ++i) f(std::integral_constant<int, 1>{}, i, z + (i - 4 * quad));
}

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
      for (float& value : z) value *= scale;
      each_of_quad(quad, size, z, [&](auto width, i64 i, const float* values) {
        store<width>(x + image * size + i, values);
        for (i64 copy = 0; copy < copies; ++copy) store<width>(input + (copy * images + image) * size + i, values);
      });
    }
  }
};

// The start of a step, one block: counts, and tells the model the time.
struct BeginSamplerStep {
  i32* step;          // [2]: the step that begins, and the next one
  float* timesteps;   // [count], all equal
  const float* grid;  // [steps]
  i64 count;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i32 now = step[1];
    block.sync();
    for (i64 i = block.rank(); i < count; i += block.size()) timesteps[i] = grid[now];
    if (block.rank() == 0) step[0] = now, step[1] = now + 1;
  }
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
  const Stream* noise;  // [steps, images]; null when no step draws any
  i32* bad_step;        // [images] 1 + the first step whose model output was not finite; 0 while all were
  const StepCoefficients* steps;  // [steps]
  const i32* step;                // which one this is
  i64 images, size, copies;
  float guidance;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id(), quads = (size + 3) / 4, second = images * size;
    const i32 now = *step;
    const StepCoefficients c = steps[now];
    bool finite = true;
    for (i64 quad = block.rank(); quad < quads; quad += block.size()) {
      float normals[4] = {0, 0, 0, 0};
      if (c.noise != 0.f) noise[now * images + image].normals(u64(quad), normals);
      each_of_quad(quad, size, normals, [&](auto width, i64 i, const float* z) {
        const i64 at = image * size + i;
        float m[width], conditional[width], before[width], p[width] = {}, next[width], x0[width];
        load<width>(m, output + at);
        if (copies == 2) load<width>(conditional, output + second + at);
        load<width>(before, x + at);
        if (previous) load<width>(p, previous + at);
        for (int j = 0; j < width; ++j) {
          if (copies == 2) m[j] += guidance * (conditional[j] - m[j]);
          finite = finite && fabsf(m[j]) <= 3.4028234e38f;
          x0[j] = c.x0_x * before[j] + c.x0_m * m[j];
          x0[j] = x0[j] < -c.clip ? -c.clip : (x0[j] > c.clip ? c.clip : x0[j]);
          next[j] = c.x * before[j] + c.m * m[j];
          if (c.x0 != 0.f) next[j] += c.x0 * x0[j];
          if (c.previous != 0.f) next[j] += c.previous * p[j];
          if (c.noise != 0.f) next[j] += c.noise * z[j];
        }
        if (previous) store<width>(previous + at, x0);
        store<width>(x + at, next);
        for (i64 copy = 0; copy < copies; ++copy) store<width>(input + copy * second + at, next);
      });
    }
    if (!finite && bad_step[image] == 0) bad_step[image] = now + 1;  // every thread that writes, writes the same value
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
      float normals[4];
      noise[image].normals(u64(quad), normals);
      each_of_quad(quad, size, normals, [&](auto width, i64 i, const float* z) {
        const i64 at = image * size + i;
        float clean[width], mixed[width], goal[width];
        load<width>(clean, x0 + at);
        for (int j = 0; j < width; ++j) {
          mixed[j] = c[0] * clean[j] + c[1] * z[j];
          goal[j] = c[2] * clean[j] + c[3] * z[j];
        }
        store<width>(noisy + at, mixed);
        store<width>(target + at, goal);
      });
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace kernel
}  // namespace mindgap
