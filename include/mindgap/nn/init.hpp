// Initialisers, as torch.nn.init. Each value is a number of a stream keyed by (seed, "init:" + name), so that a layer's
// initial weights depend on its name alone, not on what else the network contains. Values are made in the published
// layout, which makes them reproducible from other languages.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/nn/parameter.hpp>

#include <cmath>

namespace mindgap::init {

// Fills a parameter with f(i), i being the index in the published layout, and its master, which is made if need be.
template <int N, Device D, class P, class F>
void fill(Parameter<N, D, P>& parameter, F&& f) {
  std::vector<float> values(static_cast<size_t>(parameter.shape().size()));
  for (i64 i = 0; i < parameter.shape().size(); ++i) values[size_t(i)] = f(i);
  if (!parameter.master.defined()) parameter.master = Tensor<float, N, D>(parameter.shape());
  from_published(parameter.master, values.data(), DType::f32);
  parameter.refresh();
}

template <int N, Device D, class P>
void constant(Parameter<N, D, P>& parameter, float number) {
  fill(parameter, [number](i64) { return number; });
}

// Uniform in [-bound, bound).
template <int N, Device D, class P>
void uniform(Parameter<N, D, P>& parameter, float bound, u64 seed, const std::string& name) {
  const Stream stream(seed, "init:" + name);
  fill(parameter, [&](i64 i) { return (2.f * stream.uniform(u64(i)) - 1.f) * bound; });
}

template <int N, Device D, class P>
void normal(Parameter<N, D, P>& parameter, float deviation, u64 seed, const std::string& name) {
  const Stream stream(seed, "init:" + name);
  fill(parameter, [&](i64 i) { return deviation * stream.normal(u64(i)); });
}

// The default of torch.nn.Conv2d and torch.nn.Linear, kaiming_uniform with a = sqrt(5): bound 1 / sqrt(fan_in).
inline float default_bound(i64 fan_in) { return fan_in > 0 ? 1.f / std::sqrt(float(fan_in)) : 0.f; }

// kaiming_normal with mode fan_out for ReLU (He et al., "Delving deep into rectifiers", 2015): deviation sqrt(2 / fan_out).
inline float kaiming_deviation(i64 fan_out) { return std::sqrt(2.f / float(fan_out)); }

}  // namespace mindgap::init
