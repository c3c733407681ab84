// Optimizers over all parameters at once. Parameters, gradients and states are flat f32 buffers in which every parameter
// starts at a multiple of `group` elements; two small tables give the rate and the decay of each group.
//
//   Sgd     reads value, gradient, velocity; writes value, velocity                       20 bytes an element
//   AdamW   reads value, gradient, both moments; writes value and moments                 28 bytes an element
//   Ema     reads average, value; writes average                                          12 bytes an element
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/block.hpp>

namespace mindgap {

inline constexpr i64 optimizer_group = 64;             // elements that share rate and decay
inline constexpr i64 optimizer_groups_per_block = 64;  // groups that a block does

struct FlatGroups {
  const float* rate;   // [groups]   multiplies the learning rate
  const float* decay;  // [groups]   weight decay
  i64 groups;

  // Calls f(element, rate, decay) for every element of the block's groups.
  template <class B, class F>
  MG_HD void each(B& block, F&& f) const {
    const i64 begin = block.id() * optimizer_groups_per_block;
    const i64 end = begin + optimizer_groups_per_block < groups ? begin + optimizer_groups_per_block : groups;
    for (i64 g = begin; g < end; ++g) {
      const float r = rate[g], d = decay[g];
#pragma GCC ivdep
      for (i64 i = g * optimizer_group + block.rank(); i < (g + 1) * optimizer_group; i += block.size()) f(i, r, d);
    }
  }
};

// torch.optim.SGD: g += decay p; v = momentum v + g; p -= lr (nesterov ? g + momentum v : v)
struct SgdStep {
  float* value;
  float* velocity;
  const float* gradient;
  FlatGroups groups;
  float learning_rate, momentum;
  bool nesterov;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float of_gradient = nesterov ? 1.f : 0.f, of_velocity = nesterov ? momentum : 1.f;
    groups.each(block, [=, this](i64 i, float rate, float decay) {
      const float g = gradient[i] + decay * value[i];
      const float v = momentum * velocity[i] + g;
      velocity[i] = v;
      value[i] -= learning_rate * rate * (of_gradient * g + of_velocity * v);
    });
  }
};

// Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2, as torch.optim.AdamW.
struct AdamWStep {
  float* value;
  float* first;   // running mean of the gradient
  float* second;  // running mean of its square
  const float* gradient;
  FlatGroups groups;
  float learning_rate, beta1, beta2, epsilon;
  float correction1, correction2;  // 1 - beta^step

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float root = 1.f / sqrtf(correction2);
    groups.each(block, [=, this](i64 i, float rate, float decay) {
      const float g = gradient[i], lr = learning_rate * rate;
      const float m = beta1 * first[i] + (1.f - beta1) * g, s = beta2 * second[i] + (1.f - beta2) * g * g;
      first[i] = m;
      second[i] = s;
      value[i] = value[i] * (1.f - lr * decay) - lr / correction1 * m / (sqrtf(s) * root + epsilon);
    });
  }
};

// average += (1 - decay) (value - average)
struct EmaStep {
  float* average;
  const float* value;
  i64 size;
  float decay;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 chunk = optimizer_group * optimizer_groups_per_block, begin = block.id() * chunk;
    const i64 end = begin + chunk < size ? begin + chunk : size;
#pragma GCC ivdep
    for (i64 i = begin + block.rank(); i < end; i += block.size()) average[i] += (1.f - decay) * (value[i] - average[i]);
  }
};

// partial[block] = sum of the squares of the block's elements
struct SquareSums {
  float* partial;  // [blocks]
  const float* x;
  i64 size;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 chunk = optimizer_group * optimizer_groups_per_block, begin = block.id() * chunk;
    const i64 end = begin + chunk < size ? begin + chunk : size;
    float sum = 0.f;
    for (i64 i = begin + block.rank(); i < end; i += block.size()) sum += x[i] * x[i];
    sum = block.reduce(sum, Sum{});
    if (block.rank() == 0) partial[block.id()] = sum;
  }
};

}  // namespace mindgap
