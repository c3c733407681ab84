// Emulation: what a GPU would run, on the fiber executor, against the CPU.
//
// emulate() takes a kernel:
//
//   Tensor<float, 2> x = ..., y({8, 100});
//   emulate({8}, SoftmaxRows<float>{y.data(), x.data(), 100}, 1e-6, y);
//
// runs it serially and then on fibers, for several block sizes and seeds, and checks with Boost.Test that each output
// agrees with the serial run. Outputs start every run from the values they came with, so a kernel may accumulate.
//
// emulate_cases() takes device cases (tests/device_cases/): whole ops on tensors of the device Emulated take the path
// that they take on a GPU. In both, whatever the executor reports (a missing or divergent barrier, an overrun) fails the test.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/fiber_watch.hpp>

#include "tests/device_cases/case.hpp"
#include <boost/test/unit_test.hpp>
#include <tuple>

namespace mindgap {

// A GPU's memory is the host's, its kernels run on fibers, its products and convolutions are the CPU's. What is queued while
// a step is captured is kept, not run, as CUDA does it: kernels with the arguments that they had then.
template <>
struct Runtime<Emulated> {
  static constexpr bool asynchronous = true, captures = true;
  static inline int threads = 0;  // of every block; 0: what the op asks for
  static inline u64 seed = 0;
  // Run kernels as the CPU does, for tests of what is queued when, not of kernels: a source defines it before its includes.
#if defined(MINDGAP_EMULATE_SERIALLY)
  static constexpr bool serial = true;
#else
  static constexpr bool serial = false;
#endif
  static inline i64 launches = 0;      // of graphs
  static inline i64 host_copies = 0;   // from the host
  static inline int blocks_left = -1;  // of memory that the system has; -1: as many as are wanted

  using Graph = std::vector<std::function<void()>>;
  using Event = Runtime<Cpu>::Event;
  static void begin_range(const char*) {}
  static void end_range() {}

  static void* allocate(i64 bytes) {
    refuse_in_capture("taking memory from the system");
    if (blocks_left == 0) throw DeviceError("emulated: no memory");
    if (blocks_left > 0) --blocks_left;
    return Runtime<Cpu>::allocate(bytes);
  }
  static void deallocate(void* block) {
    if (blocks_left >= 0) ++blocks_left;
    Runtime<Cpu>::deallocate(block);
  }
  static void copy(void* to, const void* from, i64 bytes) {
    queue([=] { Runtime<Cpu>::copy(to, from, bytes); });
  }
  static void zero(void* to, i64 bytes) {
    queue([=] { Runtime<Cpu>::zero(to, bytes); });
  }
  static void from_host(void* to, const void* from, i64 bytes) {
    refuse_in_capture("a copy from the host");
    ++host_copies;
    Runtime<Cpu>::copy(to, from, bytes);
  }
  static void to_host(void* to, const void* from, i64 bytes) {
    refuse_in_capture("a copy to the host");
    Runtime<Cpu>::copy(to, from, bytes);
  }
  static void synchronize() { refuse_in_capture("waiting for the GPU"); }
  static i64 most_shared_bytes() { return 227 << 10; }

  template <class Kernel>
  static void launch(Grid grid, const Kernel& kernel) {
    if constexpr (requires { Kernel::threads; }) {  // a kernel that knows how many it has has no serial form
      queue([=, order = seed] { run_fibers(grid, kernel, order); });
    } else {
      if (threads) grid.threads = threads;
      queue([=, order = seed] {
        if constexpr (serial) run_serial(grid, kernel);
        else run_fibers(grid, kernel, order);
      });
    }
  }

  static bool capturing() { return capturing_; }
  static void begin_capture() { captured_.clear(), capturing_ = true; }
  static Graph end_capture() {
    capturing_ = false;
    return std::move(captured_);
  }
  static void abandon_capture() { captured_.clear(), capturing_ = false; }
  static void launch(const Graph& graph) {
    ++launches;
    for (const auto& work : graph) work();
  }

  // Does the work now, or keeps it for the graph that is being captured.
  template <class Work>
  static void queue(Work work) {
    if (capturing_) captured_.push_back(std::move(work));
    else work();
  }

 private:
  static void refuse_in_capture(const char* what) {
    if (capturing_) throw Error(text("emulated: ", what, " while a step is captured"));
  }
  static inline bool capturing_ = false;
  static inline Graph captured_;
};
static_assert(GpuRuntime<Runtime<Emulated>>);

// The largest difference of any output between the serial run and a run on fibers. Throws what run_fibers throws.
template <class Kernel, class... Written>
double emulated_difference(Grid grid, u64 seed, const Kernel& kernel, const Written&... written) {
  const std::tuple<Written...> initial{written.clone()...};
  const auto restore = [&] { std::apply([&](const Written&... values) { (written.copy_from(values), ...); }, initial); };
  run_serial(grid, kernel);
  const test::Outputs expected = test::outputs(written...);
  restore();
  run_fibers(grid, kernel, seed);
  const double difference = test::largest_difference(test::outputs(written...), expected);
  restore();
  return difference;
}

// Block sizes: one warp, an odd number of warps, and the default; three seeds for each. `grid.threads` is not used.
template <class Kernel, class... Written>
void emulate(Grid grid, const Kernel& kernel, double tolerance, const Written&... written) {
  for (int threads : {32, 96, 256})
    for (u64 seed : {0, 1, 2}) BOOST_TEST_CONTEXT(type_name<Kernel>() << ", " << threads << " threads, seed " << seed) {
        grid.threads = threads;
        try {
          BOOST_TEST(emulated_difference(grid, seed, kernel, written...) <= tolerance);
        } catch (const Error& error) {
          BOOST_ERROR(error.what());
        }
      }
}

// Threads of a block (0: what the op asks for) and seed.
using EmulatedRuns = std::vector<std::pair<int, int>>;

// cases: a function template's instances for Cpu and for Emulated. Block sizes: one warp, an odd number of warps, and
// what the op asks for; each with a seed of its own.
inline void emulate_cases(const std::vector<test::DeviceCase>& cpu, const std::vector<test::DeviceCase>& emulated,
                          const EmulatedRuns& runs = {{32, 0}, {96, 1}, {0, 2}}) {
  for (size_t i = 0; i < cpu.size(); ++i) {
    const test::Outputs expected = cpu[i].run();
    for (const auto& [threads, seed] : runs) BOOST_TEST_CONTEXT(cpu[i].name << ", " << threads << " threads, seed " << seed) {
        Runtime<Emulated>::threads = threads;
        Runtime<Emulated>::seed = u64(seed);
        try {
          BOOST_TEST(test::largest_difference(emulated[i].run(), expected) <= cpu[i].tolerance);
        } catch (const Error& error) {
          BOOST_ERROR(error.what());
        }
      }
  }
}

}  // namespace mindgap
