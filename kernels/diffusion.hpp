// Kernels of diffusion: the start of sampling, one sampler step, guidance rescale, and the noisy images of a training batch.
//
// One block is one image, and each thread makes four neighbouring elements at a time, since Philox gives normals in fours.
// What differs from step to step (which step it is) is read from the device, so that a step can be captured and replayed.
// Bytes moved an element (T is the model's type): LatentStart writes 4 + sizeof(T) a copy. SamplerStep reads 4 + sizeof(T) a
// copy and writes the same; a method that looks back reads 4 more for each step that it looks at and writes 4 more; its noise is
// made in registers. GuidanceRescale reads 6 sizeof(T), two thirds of it from the cache. NoisyImages reads 4, writes 2 sizeof(T).
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/kernels/rows.hpp>

#include <limits>

namespace mindgap {

// The coefficients of one step; see diffusion/samplers.hpp.
//   y = clamp(y_x x + y_m m, -clip, clip)
//   x' = x x + m m + y y + past[0] y1 + past[1] y2 + ... + noise z      y1, y2, ... are the y of one, two, ... steps before
struct StepCoefficients {
  static constexpr int most_kept = 4;

  float y_x = 0, y_m = 0, clip = std::numeric_limits<float>::infinity();
  float x = 0, m = 0, y = 0;
  float past[most_kept] = {};
  float noise = 0;
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

// x = scale z, or signal image + scale z, and the same as the model's first input, in `copies` copies.
template <class T>
struct LatentStart {
  float* x;              // [images, size]
  T* input;              // [copies, images, size]
  const Stream* latent;  // [images]
  const float* given;    // [images, size] the images; null for noise alone
  i64 images, size, copies;
  float signal, scale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id(), quads = (size + 3) / 4;
    for (i64 quad = block.rank(); quad < quads; quad += block.size()) {
      float z[4];
      latent[image].normals(u64(quad), z);
      for (float& value : z) value *= scale;
      each_of_quad(quad, size, z, [&](auto width, i64 i, const float* noise) {
        float values[width];
        for (int j = 0; j < width; ++j) values[j] = noise[j];
        if (given) {
          float clean[width];
          load<width>(clean, given + image * size + i);
          for (int j = 0; j < width; ++j) values[j] += signal * clean[j];
        }
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

// What guidance rescale (Lin et al. 2023, arXiv 2305.08891, section 3.4) multiplies an image's guided answer by:
//   factor = 1 - rescale + rescale std(c) / std(u + guidance (c - u))      over all elements of the image; 1 where both are 0
// One block an image.
template <class T>
struct GuidanceRescale {
  float* factor;    // [images]
  const T* output;  // [2, images, size] u and c
  i64 images, size;
  float guidance, rescale;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id();
    const T *none = output + image * size, *with = none + images * size;
    const auto conditional = [=](i64 i) { return float(with[i]); };
    const auto guided = [=, this](i64 i) { return float(none[i]) + guidance * (float(with[i]) - float(none[i])); };
    const float least = variance(block, conditional), most = variance(block, guided);
    if (block.rank() == 0) factor[image] = most == 0.f && least == 0.f ? 1.f : 1.f - rescale + rescale * sqrtf(least / most);
  }

 private:
  // Times size.
  template <class B, class F>
  MG_HD float variance(B& block, F f) const {
    const float mean = row_reduce(block, size, 0.f, Sum{}, f) / float(size);
    return row_reduce(block, size, 0.f, Sum{}, [=](i64 i) { return (f(i) - mean) * (f(i) - mean); });
  }
};

// One sampler step with classifier-free guidance:
//   m = u + guidance (c - u)  for two copies (u without class, c with), else the model's only output
//   y and x' as in StepCoefficients, z fresh normals
// The y of the last `depth` steps lie in a ring: that of step k at k % depth. Methods that look back on none have a kernel of
// their own, which leaves its registers to more blocks.
template <class T, bool looks_back>
struct SamplerStep {
  float* x;                       // [images, size], updated
  float* kept;                    // [depth, images, size], of which this step's y replaces the oldest; used where looks_back
  T* input;                       // [copies, images, size] the model's next input, written
  const T* output;                // [copies, images, size] what the model said
  const float* factor;            // [images] of GuidanceRescale; null without
  const Stream* noise;            // [steps, images]; null when no step draws any
  i32* bad_step;                  // [images] 1 + the first step whose model output was not finite; 0 while all were
  const StepCoefficients* steps;  // [steps]; their past[i] is 0 for i >= depth
  const i32* step;                // which one this is
  i64 images, size, copies;
  i32 depth;
  float guidance;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 image = block.id(), quads = (size + 3) / 4, all = images * size;
    const i32 now = *step;
    const StepCoefficients c = steps[now];
    const float rescale = factor ? factor[image] : 1.f;
    bool finite = true;
    for (i64 quad = block.rank(); quad < quads; quad += block.size()) {
      float normals[4] = {0, 0, 0, 0};
      if (c.noise != 0.f) noise[now * images + image].normals(u64(quad), normals);
      each_of_quad(quad, size, normals, [&](auto width, i64 i, const float* z) {
        const i64 at = image * size + i;
        float m[width], conditional[width], before[width], next[width], y[width];
        load<width>(m, output + at);
        if (copies == 2) load<width>(conditional, output + all + at);
        load<width>(before, x + at);
        for (int j = 0; j < width; ++j) {
          if (copies == 2) m[j] += guidance * (conditional[j] - m[j]);
          m[j] *= rescale;
          finite = finite && fabsf(m[j]) <= 3.4028234e38f;
          y[j] = c.y_x * before[j] + c.y_m * m[j];
          y[j] = y[j] < -c.clip ? -c.clip : (y[j] > c.clip ? c.clip : y[j]);
          next[j] = c.x * before[j] + c.m * m[j];
          if (c.y != 0.f) next[j] += c.y * y[j];
        }
        if constexpr (looks_back) {
          for (int back = 0; back < depth; ++back) {
            const float weight = steps[now].past[back];
            if (weight == 0.f) continue;
            float p[width];
            load<width>(p, kept + (now + depth - 1 - back) % depth * all + at);
            for (int j = 0; j < width; ++j) next[j] += weight * p[j];
          }
          store<width>(kept + now % depth * all + at, y);
        }
        if (c.noise != 0.f)
          for (int j = 0; j < width; ++j) next[j] += c.noise * z[j];
        store<width>(x + at, next);
        for (i64 copy = 0; copy < copies; ++copy) store<width>(input + copy * all + at, next);
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
