// emulate(): the fiber executor against the serial one.
//
//   Tensor<float, 2> x = ..., y({8, 100});
//   emulate({8}, SoftmaxRows<float>{y.data(), x.data(), 100}, 1e-6, y);
//
// runs the kernel serially and then on fibers, for several block sizes and seeds, and checks with Boost.Test that each
// output agrees with the serial run. Outputs start every run from the values they came with, so a kernel may accumulate.
// Whatever the executor reports (a divergent barrier, an overrun) fails the test with its message.
//
// Runtime<Emulated> does the same for whole ops: on tensors of the device Emulated an op takes the path that it takes on
// a GPU, and its kernels run on fibers.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/fiber_block.hpp>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <tuple>

namespace mindgap {

template <>
struct Runtime<Emulated> : Runtime<Cpu> {
  static inline int threads = 0;  // of every block; 0: what the op asks for
  static inline u64 seed = 0;

  template <class Kernel>
  static void launch(Grid grid, const Kernel& kernel) {
    if (threads) grid.threads = threads;
    run_fibers(grid, kernel, seed);
  }
};

// The largest |a - b| / max(1, |b|); infinite where one is NaN and the other is not.
template <Element T, int N>
double largest_difference(const Tensor<T, N>& a, const Tensor<T, N>& b) {
  double largest = 0;
  for (i64 i = 0; i < a.size(); ++i) {
    const double x = double(float(a.data()[i])), y = double(float(b.data()[i]));
    if (std::isnan(x) != std::isnan(y)) return INFINITY;
    if (std::isnan(x) || x == y) continue;
    largest = std::max(largest, std::abs(x - y) / std::max(1., std::abs(y)));
  }
  return largest;
}

// The largest difference of any output between the serial run and a run on fibers. Throws what run_fibers throws.
template <class Kernel, class... Outputs>
double emulated_difference(Grid grid, u64 seed, const Kernel& kernel, const Outputs&... outputs) {
  const std::tuple<Outputs...> initial{outputs.clone()...};
  const auto restore = [&] { std::apply([&](const Outputs&... values) { (outputs.copy_from(values), ...); }, initial); };
  run_serial(grid, kernel);
  const std::tuple<Outputs...> expected{outputs.clone()...};
  restore();
  run_fibers(grid, kernel, seed);
  const double largest = std::apply(
      [&](const Outputs&... values) {
        return std::max({0., largest_difference(outputs, values)...});
      },
      expected);
  restore();
  return largest;
}

// Block sizes: one warp, an odd number of warps, and the default; three seeds for each. `grid.threads` is not used.
template <class Kernel, class... Outputs>
void emulate(Grid grid, const Kernel& kernel, double tolerance, const Outputs&... outputs) {
  for (int threads : {32, 96, 256})
    for (u64 seed : {0, 1, 2}) {
      grid.threads = threads;
      try {
        const double difference = emulated_difference(grid, seed, kernel, outputs...);
        BOOST_CHECK_MESSAGE(difference <= tolerance, type_name<Kernel>() << " on " << threads << " threads, seed " << seed
                                                                         << ": differs from the serial run by " << difference
                                                                         << ", more than " << tolerance);
      } catch (const Error& error) {
        BOOST_ERROR(error.what());
      }
    }
}

}  // namespace mindgap
