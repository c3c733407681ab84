// The versions of the kernel lab. What is expected: softmax and products of the library, and moments by plain loops in double.
#pragma once

#include <mindgap/kernels/lab/moments.hpp>
#include <mindgap/kernels/lab/product.hpp>
#include <mindgap/kernels/lab/softmax.hpp>
#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/softmax.hpp>

#include "tests/device_cases/case.hpp"

namespace mindgap::test {

template <Device D, class T, template <class> class Kernel>
Outputs lab_softmax(Shape<2> shape) {
  const auto x = random_on<D, T>(shape, 1, 0.f, 3.f);
  if constexpr (std::same_as<D, Cpu>) return outputs(softmax(x));
  const Tensor<T, 2, D> y(shape);
  const Kernel<T> kernel{y.data(), x.data(), shape[0], shape[1]};
  Runtime<D>::launch(kernel.grid(), kernel);
  return outputs(y);
}

template <Device D, class T, template <class> class Kernel>
Outputs lab_moments(Shape<2> shape, i64 rows_per_chunk) {
  const auto x = random_on<D, T>(shape, 1, 5.f);
  const i64 rows = shape[0], cols = shape[1], chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
  if constexpr (std::same_as<D, Cpu>) {
    const std::vector<double> in = doubles(x);
    Outputs out(2);
    for (i64 chunk = 0; chunk < chunks; ++chunk)
      for (i64 c = 0; c < cols; ++c) {
        const i64 begin = chunk * rows_per_chunk, end = std::min(rows, begin + rows_per_chunk);
        double mean = 0, square = 0;
        for (i64 r = begin; r < end; ++r) mean += in[size_t(r * cols + c)] / double(end - begin);
        for (i64 r = begin; r < end; ++r) square += std::pow(in[size_t(r * cols + c)] - mean, 2);
        out[0].push_back(mean), out[1].push_back(square);
      }
    return out;
  }
  const Tensor<float, 2, D> mean({chunks, cols}), square(mean.shape());
  const Kernel<T> kernel{kernel::lab::Moments<T>{mean.data(), square.data(), x.data(), rows, cols, rows_per_chunk}};
  Runtime<D>::launch(kernel.grid(), kernel);
  return outputs(mean, square);
}

template <Device D, class T, template <class> class Kernel>
Outputs lab_product(i64 m, i64 n, i64 k) {
  const auto a = rounded_on<D, T>(Shape(m, k), 1), b = rounded_on<D, T>(Shape(n, k), 2, 0.f, 1.f / std::sqrt(float(k)));
  if constexpr (std::same_as<D, Cpu>) {
    return outputs(linear(a, b));
  } else {
    const Tensor<T, 2, D> c({m, n});
    const kernel::lab::Product<T> product{c.data(), a.data(), b.data(), m, n, k};
    if constexpr (std::constructible_from<Kernel<T>, const kernel::lab::Product<T>&, float*, float*>) {
      const Tensor<float, 2, D> mean({m / 128, n}), square(mean.shape());
      const Kernel<T> kernel{product, mean.data(), square.data()};
      Runtime<D>::launch(kernel.grid(), kernel);
    } else {
      const Kernel<T> kernel{product};
      Runtime<D>::launch(kernel.grid(), kernel);
    }
    return outputs(c);
  }
}

template <Device D, template <class> class Kernel>
void add_product_cases(std::vector<DeviceCase>& cases, const std::string& version) {
  cases.push_back({"lab product " + version + ", bf16", 0.02, [] { return lab_product<D, bf16, Kernel>(128, 64, 96); }});
  cases.push_back({"lab product " + version + ", f16", 0.003, [] { return lab_product<D, f16, Kernel>(256, 128, 32); }});
}

template <Device D, template <class> class Kernel>
void add_softmax_cases(std::vector<DeviceCase>& cases, const std::string& version) {
  cases.push_back({"lab softmax " + version + ", 100 columns", 1e-6, [] { return lab_softmax<D, float, Kernel>({37, 100}); }});
  cases.push_back({"lab softmax " + version + ", 333 columns", 1e-6, [] { return lab_softmax<D, float, Kernel>({5, 333}); }});
  cases.push_back({"lab softmax " + version + ", bf16", 0.02, [] { return lab_softmax<D, bf16, Kernel>({9, 264}); }});
}

template <Device D, template <class> class Kernel>
void add_moments_cases(std::vector<DeviceCase>& cases, const std::string& version) {
  cases.push_back({"lab moments " + version + ", 16 columns", 1e-5, [] { return lab_moments<D, float, Kernel>({130, 16}, 50); }});
  cases.push_back({"lab moments " + version + ", 17 columns", 1e-5, [] { return lab_moments<D, float, Kernel>({70, 17}, 32); }});
  cases.push_back({"lab moments " + version + ", bf16", 1e-5, [] { return lab_moments<D, bf16, Kernel>({40, 520}, 17); }});
}

template <Device D>
std::vector<DeviceCase> lab_cases() {
  std::vector<DeviceCase> cases;
  add_softmax_cases<D, kernel::lab::SoftmaxPlain>(cases, "v1");
  add_softmax_cases<D, kernel::lab::SoftmaxCoalesced>(cases, "v2");
  add_softmax_cases<D, kernel::lab::SoftmaxVectorised>(cases, "v3");
  add_softmax_cases<D, kernel::lab::SoftmaxRegisters>(cases, "v4");
  add_moments_cases<D, kernel::lab::MomentsPlain>(cases, "v1");
  add_moments_cases<D, kernel::lab::MomentsCoalesced>(cases, "v2");
  add_moments_cases<D, kernel::lab::MomentsVectorised>(cases, "v3");
  add_moments_cases<D, kernel::lab::MomentsOnePass>(cases, "v4");
  add_product_cases<D, kernel::lab::ProductPlain>(cases, "v1");
  add_product_cases<D, kernel::lab::ProductTiles>(cases, "v2");
  add_product_cases<D, kernel::lab::ProductTensorCores>(cases, "v3");
  add_product_cases<D, kernel::lab::ProductRing>(cases, "v4");
  return cases;
}

}  // namespace mindgap::test
