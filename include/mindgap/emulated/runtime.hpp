// The device Emulated: a GPU in a test, on a machine without one. Whole ops and models on tensors of it take the path that they
// take on a GPU, with kernels on the fiber executor. (mindgap::fibers brings Boost.Context; emulated/library.hpp adds
// convolutions and products; emulated/emulate.hpp is for one kernel.)
//
//   Runtime<Emulated>::threads = 96, Runtime<Emulated>::seed = 1;
//   softmax(x.to<Emulated>()).to<Cpu>();
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/fiber_block.hpp>

#include <functional>

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

}  // namespace mindgap
