// The CPU as a device: aligned memory, copies, and launches by the serial executor on OpenMP's threads (oneDNN runs on
// the same threads; a second pool would oversubscribe the cores).
//
// A child of fork() may compute, too: OpenMP's threads end before a fork, and come back where they are needed.
#pragma once

#include <mindgap/core/backend.hpp>
#include <mindgap/core/device.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/core/memory.hpp>
#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/kernels/block.hpp>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <pthread.h>

namespace mindgap {

namespace detail {

// Threads do not survive a fork: in the child GNU's OpenMP would wait for them for ever. It has a pool for each thread that runs
// parallel regions, and of those the one that forks alone goes on in the child. Inside of such a region nothing is done.
inline void end_openmp_threads() { omp_pause_resource_all(omp_pause_soft); }
inline const int ends_openmp_threads_before_fork = pthread_atfork(end_openmp_threads, nullptr, nullptr);

}  // namespace detail

template <>
struct Runtime<Cpu> {
  // Work is done when a call returns; nothing is captured.
  static constexpr bool asynchronous = false, captures = false;
  struct Graph {};

  static void* allocate(i64 bytes) {
    if (void* block = std::aligned_alloc(64, size_t((bytes + 63) / 64 * 64))) return block;
    throw DeviceError(text("cpu: out of memory: could not allocate ", (bytes >> 20) + 1, " MiB"),
                      {{"remedy", "use a smaller batch"}});
  }
  static void deallocate(void* block) { std::free(block); }

  static void copy(void* to, const void* from, i64 bytes) {
    if (bytes) std::memcpy(to, from, size_t(bytes));
  }
  static void from_host(void* to, const void* from, i64 bytes) { copy(to, from, bytes); }
  static void to_host(void* to, const void* from, i64 bytes) { copy(to, from, bytes); }
  static void zero(void* to, i64 bytes) {
    if (bytes) std::memset(to, 0, size_t(bytes));
  }

  template <class Kernel>
  static void launch(Grid grid, const Kernel& kernel) {
    run_serial(grid, kernel);
  }
  static void synchronize() {}

  // A point in time.
  class Event {
   public:
    void record() { time_ = Clock::now(); }
    // Milliseconds from `begin` to this event.
    double since(const Event& begin) const { return std::chrono::duration<double, std::milli>(time_ - begin.time_).count(); }

   private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point time_;
  };
  // A range of a profiler's timeline: there is none.
  static void begin_range(const char*) {}
  static void end_range() {}

  static int threads() { return omp_get_max_threads(); }
  static void set_threads(int count) { omp_set_num_threads(count); }
};
static_assert(DeviceRuntime<Runtime<Cpu>>);

// What every program would compile again: once, with cpu/onednn.ipp, for programs that link the glue.
#define MINDGAP_CPU_TENSORS(word, T)     \
  word template class Tensor<T, 1, Cpu>; \
  word template class Tensor<T, 2, Cpu>; \
  word template class Tensor<T, 3, Cpu>; \
  word template class Tensor<T, 4, Cpu>;
#define MINDGAP_CPU_CORE(word)   \
  word template class Pool<Cpu>; \
  word template class Op<Cpu>;   \
  MINDGAP_CPU_TENSORS(word, float) MINDGAP_CPU_TENSORS(word, bf16) MINDGAP_CPU_TENSORS(word, u8) MINDGAP_CPU_TENSORS(word, i64)
#if defined(MINDGAP_GLUE)
MINDGAP_CPU_CORE(extern)
#endif

}  // namespace mindgap
