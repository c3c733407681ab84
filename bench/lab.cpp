// Every version of the kernels in kernels/lab: run on fibers as a GPU would run it, and held against plain loops in double; and
// timed on the CPU where it has a form for it. A line each:
//
//   error    the largest difference from the loops on small inputs, over max(1, |value|)
//   ms       best of several runs by the serial executor on all cores, f32 (products: bf16)
//   rate     GB/s of the bytes that the operation must move, and their share of a plain copy's in the same run; or GFLOP/s
//
//   bench/lab          exits with 1 where a version is wrong
//
// Versions are made for a GPU, where bench/gpu_kernels times them. On a CPU a block is one thread, and v2 to v4 of the product,
// whose threads divide a tile among themselves, have no serial form.
#include <mindgap/kernels/fiber_block.hpp>
#include <mindgap/kernels/lab/moments.hpp>
#include <mindgap/kernels/lab/product.hpp>
#include <mindgap/kernels/lab/softmax.hpp>

#include "timing.hpp"
#include <cmath>
#include <cstdio>

using namespace mindgap;
using namespace mindgap::bench;

namespace {

double copy_rate = 0;  // bytes a second, read and written
bool all_right = true;

double best_seconds(const std::function<void()>& f) { return time_it<Cpu>(f, 1, 7).least; }

double largest_error(const std::vector<double>& values, const std::vector<double>& exact) {
  double largest = 0;
  for (size_t i = 0; i < exact.size(); ++i)  // not std::max, which may hide a NaN
    if (const double error = std::abs(values[i] - exact[i]) / std::max(1., std::abs(exact[i])); !(error <= largest))
      largest = error;
  return largest;
}

template <class T, int N>
std::vector<double> doubles(const Tensor<T, N>& x) {
  std::vector<double> out;
  for (T value : x.to_vector()) out.push_back(double(float(value)));
  return out;
}

void print_error(const char* name, double error, double tolerance) {
  const bool right = error <= tolerance;
  all_right = all_right && right;
  std::printf("%-28s %9.1e%s", name, error, right ? "  " : " !");
}
void print_bytes(double seconds, double bytes) {
  std::printf("%10.2f %8.2f GB/s %5.0f %%\n", 1e3 * seconds, 1e-9 * bytes / seconds, 100 * bytes / seconds / copy_rate);
}

// Runs a kernel on fibers or by the serial executor.
constexpr auto on_fibers = [](const auto& kernel) { run_fibers(kernel.grid(), kernel, 1); };
constexpr auto on_cpu = [](const auto& kernel) { run_serial(kernel.grid(), kernel); };

template <template <class> class Kernel>
void softmax(const char* name) {
  const auto run = [](const Tensor<float, 2>& x, const Tensor<float, 2>& y, auto executor) {
    executor(Kernel<float>{y.data(), x.data(), x.rows(), x.cols()});
  };
  const auto x = normals<float, Cpu>(Shape<2>(37, 333)), y = x.clone();
  run(x, y, on_fibers);
  std::vector<double> exact;
  for (i64 r = 0; r < x.rows(); ++r) {
    double sum = 0;
    for (i64 c = 0; c < x.cols(); ++c) sum += std::exp(double(x.data()[r * x.cols() + c]));
    for (i64 c = 0; c < x.cols(); ++c) exact.push_back(std::exp(double(x.data()[r * x.cols() + c])) / sum);
  }
  print_error(name, largest_error(doubles(y), exact), 1e-6);
  const auto large = normals<float, Cpu>(Shape<2>(1 << 15, 512)), out = large.clone();
  print_bytes(best_seconds([&] { run(large, out, on_cpu); }), 2. * double(large.bytes()));
}

template <template <class> class Kernel>
void moments(const char* name) {
  const auto run = [](const Tensor<float, 2>& x, i64 rows_per_chunk, const Tensor<float, 2>& mean, const Tensor<float, 2>& m2,
                      auto executor) {
    executor(Kernel<float>{kernel::lab::Moments<float>{mean.data(), m2.data(), x.data(), x.rows(), x.cols(), rows_per_chunk}});
  };
  const i64 rows = 130, cols = 17, chunk = 65;
  const auto x = normals<float, Cpu>(Shape(rows, cols));
  const Tensor<float, 2> mean({rows / chunk, cols}), m2(mean.shape());
  run(x, chunk, mean, m2, on_fibers);
  std::vector<double> means, squares;
  for (i64 first = 0; first < rows; first += chunk)
    for (i64 c = 0; c < cols; ++c) {
      double sum = 0, square = 0;
      for (i64 r = first; r < first + chunk; ++r) sum += x.data()[r * cols + c];
      for (i64 r = first; r < first + chunk; ++r) square += std::pow(x.data()[r * cols + c] - sum / double(chunk), 2);
      means.push_back(sum / double(chunk)), squares.push_back(square);
    }
  print_error(name, std::max(largest_error(doubles(mean), means), largest_error(doubles(m2), squares)), 1e-5);
  const auto large = normals<float, Cpu>(Shape<2>(64 * 56 * 56, 64));
  const Tensor<float, 2> large_mean({large.rows() / 512, large.cols()}), large_m2(large_mean.shape());
  print_bytes(best_seconds([&] { run(large, 512, large_mean, large_m2, on_cpu); }), double(large.bytes()));
}

template <template <class> class Kernel>
void product(const char* name) {
  const auto run = [](const Tensor<bf16, 2>& a, const Tensor<bf16, 2>& b, const Tensor<bf16, 2>& c, auto executor) {
    const kernel::lab::Product<bf16> product{c.data(), a.data(), b.data(), a.rows(), b.rows(), a.cols()};
    if constexpr (std::constructible_from<Kernel<bf16>, const kernel::lab::Product<bf16>&, float*, float*>) {
      const Tensor<float, 2> mean({a.rows() / 128, b.rows()}), m2(mean.shape());
      executor(Kernel<bf16>{product, mean.data(), m2.data()});
    } else {
      executor(Kernel<bf16>{product});
    }
  };
  const i64 m = 128, n = 64, k = 96;
  const auto a = normals<bf16, Cpu>(Shape(m, k)), b = normals<bf16, Cpu>(Shape(n, k));
  const Tensor<bf16, 2> c({m, n});
  run(a, b, c, on_fibers);
  std::vector<double> exact(size_t(m * n));
  const std::vector<double> left = doubles(a), right = doubles(b);
  for (i64 i = 0; i < m; ++i)
    for (i64 j = 0; j < n; ++j)
      for (i64 p = 0; p < k; ++p) exact[size_t(i * n + j)] += left[size_t(i * k + p)] * right[size_t(j * k + p)];
  print_error(name, largest_error(doubles(c), exact), 1. / 256);  // rounded to bf16
  if constexpr (requires { Kernel<bf16>::threads; }) {
    std::puts("         -        -");
  } else {
    const i64 size = 512;
    const auto large = normals<bf16, Cpu>(Shape(size, size)), out = large.clone();
    const double seconds = best_seconds([&] { run(large, large, out, on_cpu); });
    std::printf("%10.2f %8.2f GFLOP/s\n", 1e3 * seconds, 2e-9 * std::pow(double(size), 3) / seconds);
  }
}

}  // namespace

int main() {
  const auto from = normals<float, Cpu>(Shape<2>(1 << 15, 512)), to = from.clone();
  const auto copy = [&] {
#pragma omp parallel for
    for (i64 r = 0; r < from.rows(); ++r) std::copy_n(from.data() + r * from.cols(), from.cols(), to.data() + r * to.cols());
  };
  copy_rate = 2. * double(from.bytes()) / best_seconds(copy);
  std::printf("%d threads, a copy of %.0f MB: %.2f GB/s, read and written\n", Runtime<Cpu>::threads(),
              1e-6 * double(from.bytes()), 1e-9 * copy_rate);
  std::printf("%-28s %9s  %10s %8s %12s\n", "", "error", "ms", "rate", "of the copy");
  softmax<kernel::lab::SoftmaxPlain>("softmax v1, plain");
  softmax<kernel::lab::SoftmaxCoalesced>("softmax v2, coalesced");
  softmax<kernel::lab::SoftmaxVectorised>("softmax v3, vectorised");
  softmax<kernel::lab::SoftmaxRegisters>("softmax v4, registers");
  moments<kernel::lab::MomentsPlain>("moments v1, plain");
  moments<kernel::lab::MomentsCoalesced>("moments v2, coalesced");
  moments<kernel::lab::MomentsVectorised>("moments v3, vectorised");
  moments<kernel::lab::MomentsOnePass>("moments v4, one pass");
  product<kernel::lab::ProductPlain>("product v1, plain");
  product<kernel::lab::ProductTiles>("product v2, tiles");
  product<kernel::lab::ProductTensorCores>("product v3, tensor cores");
  product<kernel::lab::ProductRing>("product v4, a ring");
  if (!all_right) std::puts("!: wrong");
  return !all_right || std::fflush(stdout);
}
