// How plans are timed, the memory that they have meanwhile, and what a library's failure is. Includes the CUDA runtime: for .ipp
// files alone.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/cuda/autotune_cache.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cuda_runtime_api.h>
#include <limits>

namespace mindgap::cuda::detail {

// A library refuses a call: another plan may do. Thrown as one of the libraries' own kinds.
struct LibraryFailure {};

// Workspaces while plans are timed: not the caller's, who would keep that of every plan tried.
class TimingMemory {
 public:
  TimingMemory() = default;
  TimingMemory(const TimingMemory&) = delete;
  TimingMemory& operator=(const TimingMemory&) = delete;
  ~TimingMemory() { cudaFree(memory_); }

  // Whether `bytes` could be had.
  bool grow(i64 bytes) {
    if (bytes <= bytes_) return true;
    cudaFree(memory_);
    memory_ = nullptr, bytes_ = 0;
    if (cudaMalloc(&memory_, size_t(bytes)) != cudaSuccess) {
      cudaGetLastError();
      complete_ = false;
      return false;
    }
    bytes_ = bytes;
    return true;
  }
  void* get() const { return memory_; }
  // Whether all could be had that was asked for. A choice among plans of which some were left out is not for the next process.
  bool complete() const { return complete_; }

 private:
  bool complete_ = true;
  void* memory_ = nullptr;
  i64 bytes_ = 0;
};

// Throws where the GPU has failed: in what is timed, or in work that was queued before.
inline void check_timing(cudaError_t status) {
  if (status == cudaSuccess) return;
  throw DeviceError(
      "cuda: the GPU failed before or while a plan was timed",
      {{"cuda", text(cudaGetErrorName(status), ": ", cudaGetErrorString(status))},
       {"remedy", "run with CUDA_LAUNCH_BLOCKING=1 to see which kernel failed, under compute-sanitizer to see why"}});
}

class TimingEvent {
 public:
  TimingEvent() { check_timing(cudaEventCreate(&event_)); }
  TimingEvent(const TimingEvent&) = delete;
  TimingEvent& operator=(const TimingEvent&) = delete;
  ~TimingEvent() { cudaEventDestroy(event_); }

  void record(Stream stream) { check_timing(cudaEventRecord(event_, stream)); }
  float milliseconds_since(const TimingEvent& begin) const {
    float ms = 0;
    check_timing(cudaEventSynchronize(event_));
    check_timing(cudaEventElapsedTime(&ms, begin.event_, event_));
    return ms;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// While one lives, the stream waits: else what takes a GPU less time than its host is timed by how quickly the host queues it,
// which a replayed step does not pay.
class Gate {
 public:
  explicit Gate(Stream stream) {
    open() = false;
    check_timing(cudaLaunchHostFunc(stream, wait, nullptr));
  }
  ~Gate() { open() = true; }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

 private:
  static std::atomic<bool>& open() {
    static std::atomic<bool> open;
    return open;
  }
  // Not for ever: what is queued meanwhile may want to wait for the stream itself (for memory, say).
  static void wait(void*) {
    const auto latest = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    while (!open() && std::chrono::steady_clock::now() < latest) {
    }
  }
};

// Milliseconds of run(): the least of five after two that warm up; infinite where the library refuses it, and where the second
// takes more than three times `best`: some plans are slower by orders of magnitude.
template <class Run>
float least_time(Stream stream, const Run& run, float best = std::numeric_limits<float>::infinity()) {
  constexpr float never = std::numeric_limits<float>::infinity();
  TimingEvent begin, end;
  float least = never;
  try {
    for (int i = 0; i < 7; ++i) {
      {
        const Gate gate(stream);
        begin.record(stream);
        run();
        end.record(stream);
      }
      const float ms = end.milliseconds_since(begin);
      if (i == 1 && ms > 3.f * best) return never;
      if (i >= 2) least = std::min(least, ms);
    }
  } catch (const LibraryFailure&) {
    cudaGetLastError();  // what the library ran into is not for the next call to report
    check_timing(cudaStreamSynchronize(stream));
    return never;
  }
  return least;
}

// Which of several ways to take: as the cache says of `name`, else as decide(memory) finds by timing.
template <class Decide>
int chosen_way(Stream stream, const std::string& name, const Decide& decide) {
  std::optional<int> place = known_place(name);
  if (!place) {
    refuse_while_capturing(stream, "no plan can be made for " + name);
    const OnlyTiming only_timing;
    TimingMemory memory;
    place = decide(memory);
    keep_place(name, *place, memory.complete());
  }
  note_use(name);
  return *place;
}

}  // namespace mindgap::cuda::detail
