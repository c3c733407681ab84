// Values for op tests: random tensors, conversion to double, and the error against a reference in double.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <cmath>
#include <functional>
#include <vector>

namespace mindgap::test {

// mean + deviation * normal, the same for a given id.
template <class T = float, int N>
Tensor<T, N> random_tensor(Shape<N> shape, u64 id, float mean = 0.f, float deviation = 1.f) {
  std::vector<T> values;
  const Stream stream(id, "test");
  for (i64 i = 0; i < shape.size(); ++i) values.push_back(T(mean + deviation * stream.normal(u64(i))));
  return Tensor<T, N>::from(values, shape);
}

template <Element T, int N>
std::vector<double> doubles(const Tensor<T, N>& x) {
  std::vector<double> out;
  for (T value : x.to_vector()) {
    if constexpr (std::is_integral_v<T>) out.push_back(double(value));
    else out.push_back(double(float(value)));
  }
  return out;
}

// L2 norm of the difference over that of the reference.
inline double relative_error(const std::vector<double>& values, const std::vector<double>& reference) {
  if (values.size() != reference.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    difference += (values[i] - reference[i]) * (values[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  if (!std::isfinite(difference)) return INFINITY;
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}
template <Element T, int N>
double relative_error(const Tensor<T, N>& x, const std::vector<double>& reference) {
  return relative_error(doubles(x), reference);
}

// Rounding of one stored value: the bound for an op of one pass is a small multiple.
template <class T>
inline constexpr double epsilon = std::is_same_v<T, float> ? 1.2e-7 : (std::is_same_v<T, bf16> ? 7.8e-3 : 9.8e-4);

// Gradient of sum(weight * f(x)) by central differences, in double.
inline std::vector<double> finite_differences(const std::function<std::vector<double>(const std::vector<double>&)>& f,
                                              std::vector<double> x, const std::vector<double>& weight, double step = 1e-5) {
  const auto dot = [&](const std::vector<double>& y) {
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += weight[i] * y[i];
    return sum;
  };
  std::vector<double> grad(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + step;
    const double up = dot(f(x));
    x[i] = at - step;
    const double down = dot(f(x));
    x[i] = at;
    grad[i] = (up - down) / (2 * step);
  }
  return grad;
}

}  // namespace mindgap::test
