// Emulation of one kernel: what a GPU would run, on the fiber executor, against the CPU. For tests of kernels of one's own where
// there is no GPU; with any test framework, or none. By the host's compiler: nvcc lets no fiber run what is marked for a GPU.
//
//   Tensor<float, 2> x = ..., y({8, 100});
//   emulate({8}, SoftmaxRows<float>{y.data(), x.data(), 100}, 1e-6, y);
//
// runs it serially and then on fibers, for several block sizes and seeds, and throws an Error unless each output agrees with the
// serial run. It passes on what the executor reports: a divergent barrier, a write beyond shared memory. Outputs start every
// run from the values they came with, so a kernel may accumulate; they have them again at the end.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/fiber_block.hpp>

#include <cmath>
#include <tuple>

namespace mindgap {
namespace detail {

// The largest |a - b| / max(1, |b|) of two outputs; infinite where they have not one size, or one is NaN and the other is not.
template <class T>
double largest_difference(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return INFINITY;
  const auto wide = [](T value) {
    if constexpr (std::is_integral_v<T>) return double(value);
    else return double(float(value));
  };
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = wide(a[i]), y = wide(b[i]);
    if (std::isnan(x) != std::isnan(y)) return INFINITY;
    if (!std::isnan(y) && x != y) largest = std::max(largest, std::abs(x - y) / std::max(1., std::abs(y)));
  }
  return largest;
}

}  // namespace detail

// The largest difference of any output between the serial run and a run on fibers. Throws what run_fibers throws.
template <class Kernel, class... Written>
double emulated_difference(Grid grid, u64 seed, const Kernel& kernel, const Written&... written) {
  const std::tuple<Written...> initial{written.clone()...};
  const auto restore = [&] { std::apply([&](const Written&... values) { (written.copy_from(values), ...); }, initial); };
  run_serial(grid, kernel);
  const std::tuple expected{written.to_vector()...};
  restore();
  run_fibers(grid, kernel, seed);
  const double difference = std::apply(
      [&](const auto&... values) {
        return std::max({0., detail::largest_difference(written.to_vector(), values)...});
      },
      expected);
  restore();
  return difference;
}

// Block sizes: one warp, an odd number of warps, and the default; three seeds for each. `grid.threads` is not used. Throws,
// besides, where elements differ by more than `tolerance`, times the expected one where that is above 1.
template <class Kernel, class... Written>
void emulate(Grid grid, const Kernel& kernel, double tolerance, const Written&... written) {
  for (int threads : {32, 96, 256})
    for (u64 seed : {0, 1, 2}) {
      grid.threads = threads;
      if (const double difference = emulated_difference(grid, seed, kernel, written...); !(difference <= tolerance))
        throw Error(
            text("emulate: on fibers the kernel writes something else than on the CPU: ", difference, ", allowed ", tolerance),
            {{"kernel", type_name<Kernel>()},
             {"block", text(threads, " threads, seed ", seed)},
             {"remedy", "is there a barrier between what a thread writes and what others read?"}});
    }
}

}  // namespace mindgap
