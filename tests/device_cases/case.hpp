// Device cases: calls of ops written once for any device D, for the comparison of a device with the CPU.
//
//   emulated (tests/emulated/)   D = Emulated against D = Cpu, for several block sizes and seeds
//   parity (tests/cuda/)         D = Cuda against D = Cpu, where there is a GPU; compiled everywhere that has nvcc
//
// A case names a function that makes its inputs from fixed random streams, calls the op and returns what it wrote.
#pragma once

#include <mindgap/core/tensor.hpp>

#include "tests/values.hpp"
#include <cmath>

namespace mindgap::test {

using Outputs = std::vector<std::vector<double>>;

struct DeviceCase {
  std::string name;
  double tolerance;  // of largest_difference
  std::function<Outputs()> run;
};

template <class... Tensors>
Outputs outputs(const Tensors&... tensors) {
  return {doubles(tensors.template to<Cpu>())...};
}

template <Device D, class T = float, int N>
Tensor<T, N, D> random_on(Shape<N> shape, u64 id, float mean = 0.f, float deviation = 1.f) {
  return random_tensor<T>(shape, id, mean, deviation).template to<D>();
}

// The type that device D computes T's case in. The CPU stands for exact arithmetic: it takes the same rounded numbers in f32,
// which also lets it check f16, in which it has no products.
template <Device D, class T>
using Computed = std::conditional_t<std::is_same_v<D, Cpu>, float, T>;

// random_on<D, T>, in the type that D computes in.
template <Device D, class T, int N>
Tensor<Computed<D, T>, N, D> rounded_on(Shape<N> shape, u64 id, float mean = 0.f, float deviation = 1.f) {
  const Tensor<T, N> rounded = random_tensor<T>(shape, id, mean, deviation);
  if constexpr (std::is_same_v<D, Cpu>) {
    std::vector<float> values;
    for (T value : rounded.to_vector()) values.push_back(float(value));
    return Tensor<float, N>::from(values, shape);
  } else {
    return rounded.template to<D>();
  }
}

// The largest |a - b| / max(1, |b|) over all outputs; infinite where one is NaN and the other is not.
inline double largest_difference(const Outputs& a, const Outputs& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    if (a[k].size() != b[k].size()) return INFINITY;
    for (size_t i = 0; i < a[k].size(); ++i) {
      if (std::isnan(a[k][i]) != std::isnan(b[k][i])) return INFINITY;
      if (!std::isnan(b[k][i]) && a[k][i] != b[k][i])
        largest = std::max(largest, std::abs(a[k][i] - b[k][i]) / std::max(1., std::abs(b[k][i])));
    }
  }
  return largest;
}

}  // namespace mindgap::test
