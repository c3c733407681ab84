// Optimizers over all parameters at once. Parameters, gradients and states are flat f32 buffers in which every parameter
// starts at a multiple of `group` elements; two small tables give the rate and the decay of each group.
//
// One pass updates the master, its working copy in the type of the network (2 bytes an element where that is bf16 or f16) and,
// where there is one, the running average (8 bytes more):
//   SgdStep         reads value, gradient, velocity; writes value, velocity                       20 bytes an element
//   AdamWStep       reads value, gradient, both moments; writes value and moments                 28 bytes an element
//   SquareSums      reads the gradient, for its norm                                               4 bytes an element
//   GradientFactor  one block: from the sums of squares, what every gradient is multiplied by
//
// Numbers that change from step to step are read from the device, so that a captured step sees today's.
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/vectorised.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

inline constexpr i64 optimizer_group = 64;                    // elements that share rate and decay
inline constexpr i64 optimizer_chunk = 64 * optimizer_group;  // elements that a block does

struct FlatGroups {
  static constexpr float frozen = -1.f;

  const float* rate;   // [groups]   multiplies the learning rate; `frozen`: the group is left alone
  const float* decay;  // [groups]   weight decay
  i64 groups;

  // Calls f(width, i, rate, decay) for the elements i .. i + width - 1 of the block, which are of one group.
  template <class B, class F>
  MG_HD void each(B& block, F&& f) const {
    const i64 begin = block.id() * optimizer_chunk, size = groups * optimizer_group;
    const i64 end = begin + optimizer_chunk < size ? begin + optimizer_chunk : size;
    if constexpr (B::is_team) {
      constexpr int V = 8;
      for (i64 i = begin + i64(block.rank()) * V; i < end; i += i64(block.size()) * V)
        if (const float r = rate[i / optimizer_group]; r >= 0.f)
          f(std::integral_constant<int, V>{}, i, r, decay[i / optimizer_group]);
    } else {
      for (i64 g = begin / optimizer_group; g < end / optimizer_group; ++g) {
        const float r = rate[g], d = decay[g];
        if (r < 0.f) continue;
#pragma GCC ivdep
        for (i64 i = g * optimizer_group; i < (g + 1) * optimizer_group; ++i) f(std::integral_constant<int, 1>{}, i, r, d);
      }
    }
  }
};

// The f32 value of a parameter, and what follows it.
template <class T>
struct Updated {
  float* value;
  T* working;                 // the copy that the network computes with; null where it computes with the value
  float* average;             // average += average_step (value - average); null: none is kept
  const float* average_step;  // one element

  template <int V>
  MG_HD void store(i64 i, const float* now) const {
    mindgap::store<V>(value + i, now);
    if (working) mindgap::store<V>(working + i, now);
    if (average) {
      float a[V];
      load<V>(a, average + i);
      for (int j = 0; j < V; ++j) a[j] += *average_step * (now[j] - a[j]);
      mindgap::store<V>(average + i, a);
    }
  }
};

// The gradient as the step takes it: times `factor`, which clips it and takes a loss scale out. A factor of 0 says that the
// gradients are not finite and that the step is left out.
struct ScaledGradient {
  const float* gradient;
  const float* factor;  // one element, or null: 1

  MG_HD float multiplier() const { return factor ? *factor : 1.f; }
};

// torch.optim.SGD: g += decay p; v = momentum v + g; p -= lr (nesterov ? g + momentum v : v)
template <class T>
struct SgdStep {
  Updated<T> target;
  float* velocity;
  ScaledGradient source;
  const float* learning_rate;  // one element
  FlatGroups groups;
  float momentum;
  bool nesterov;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float scale = source.multiplier(), lr = *learning_rate;
    if (scale == 0.f) return;
    const float of_gradient = nesterov ? 1.f : 0.f, of_velocity = nesterov ? momentum : 1.f;
    groups.each(block, [=, this](auto width, i64 i, float rate, float decay) {
      float p[width], v[width], gradient[width];
      load<width>(p, target.value + i);
      load<width>(v, velocity + i);
      load<width>(gradient, source.gradient + i);
      for (int j = 0; j < width; ++j) {
        const float g = scale * gradient[j] + decay * p[j];
        v[j] = momentum * v[j] + g;
        p[j] -= lr * rate * (of_gradient * g + of_velocity * v[j]);
      }
      store<width>(velocity + i, v);
      target.template store<width>(i, p);
    });
  }
};

// Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2, as torch.optim.AdamW.
template <class T>
struct AdamWStep {
  Updated<T> target;
  float* first;   // running mean of the gradient
  float* second;  // running mean of its square
  ScaledGradient source;
  const float* schedule;  // [3]: learning rate, 1 - beta1^step, 1 - beta2^step
  FlatGroups groups;
  float beta1, beta2, epsilon;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float scale = source.multiplier();
    if (scale == 0.f) return;
    const float learning_rate = schedule[0], correction1 = schedule[1], root = 1.f / sqrtf(schedule[2]);
    groups.each(block, [=, this](auto width, i64 i, float rate, float decay) {
      float p[width], m[width], s[width], gradient[width];
      load<width>(p, target.value + i);
      load<width>(m, first + i);
      load<width>(s, second + i);
      load<width>(gradient, source.gradient + i);
      const float lr = learning_rate * rate;
      for (int j = 0; j < width; ++j) {
        const float g = scale * gradient[j];
        m[j] = beta1 * m[j] + (1.f - beta1) * g;
        s[j] = beta2 * s[j] + (1.f - beta2) * g * g;
        p[j] = p[j] * (1.f - lr * decay) - lr / correction1 * m[j] / (sqrtf(s[j]) * root + epsilon);
      }
      store<width>(first + i, m);
      store<width>(second + i, s);
      target.template store<width>(i, p);
    });
  }
};

// partial[block] = sum of the squares of the block's elements
struct SquareSums {
  float* partial;  // [blocks]
  const float* x;  // 16-byte aligned
  i64 size;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * optimizer_chunk, left = size - begin;
    const float* from = x + begin;
    float sum = 0.f;
    for_vectors<vector_size<float>>(block, left < optimizer_chunk ? left : optimizer_chunk, true, [&](auto width, i64 i) {
      float v[width];
      load<width>(v, from + i);
      for (int j = 0; j < width; ++j) sum += v[j] * v[j];
    });
    sum = block.reduce(sum, Sum{});
    if (block.rank() == 0) partial[block.id()] = sum;
  }
};

// Loss scaling: backward starts from `scale` instead of 1, lest f16 gradients vanish, and the scale follows what f16 can hold:
// halved when a gradient is not finite, doubled after `growth_interval` steps without that (Micikevicius et al., "Mixed precision
// training", 2018, section 3.2, with the constants of torch.amp.GradScaler).
//
// norm = sqrt(sum of partial) / scale, the joint L2 norm of the gradients; factor = what they are multiplied by: 1 / scale, times
// limit / norm where that is below 1 (torch.nn.utils.clip_grad_norm_), or 0 where the norm is not finite under a loss scale.
struct GradientFactor {
  static constexpr float growth_interval = 2000;

  float* factor;         // one element
  float* norm;           // one element
  float* scale;          // [3]: the scale, steps since it changed, steps left out so far; null: there is no loss scale
  const float* partial;  // [blocks], of SquareSums
  i64 blocks;
  float limit;  // 0: no clipping

  template <Block B>
  MG_HD void operator()(B& block) const {
    double square = 0;
    for (i64 i = block.rank(); i < blocks; i += block.size()) square += double(partial[i]);
    square = block.reduce(square, Sum{});
    if (block.rank() != 0) return;
    const float unscale = scale ? 1.f / scale[0] : 1.f, joint = float(sqrt(square)) * unscale;
    *norm = joint;
    const float clip = limit > 0.f && joint > limit ? limit / (joint + 1e-6f) : 1.f;
    const bool finite = joint <= 3.4028234e38f;
    *factor = finite || !scale ? unscale * clip : 0.f;
    if (!scale) return;
    if (!finite) {
      scale[0] *= 0.5f;
      scale[1] = 0.f;
      scale[2] += 1.f;
    } else if ((scale[1] += 1.f) == growth_interval) {
      scale[0] *= 2.f;
      scale[1] = 0.f;
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
