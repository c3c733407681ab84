// How plans are timed, and the memory that they have meanwhile. Includes the CUDA runtime: for .ipp files alone.
#pragma once

#include <mindgap/cuda/scratch.hpp>

#include <algorithm>
#include <cuda_runtime_api.h>
#include <limits>

namespace mindgap::cuda::detail {

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
      return false;
    }
    bytes_ = bytes;
    return true;
  }
  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
  i64 bytes_ = 0;
};

// Milliseconds of run(): the least of five after two that warm up; infinite where it fails, and where the second takes more than
// three times `best`: some plans are slower by orders of magnitude.
template <class Run>
float least_time(Stream stream, const Run& run, float best = std::numeric_limits<float>::infinity()) {
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  float least = std::numeric_limits<float>::infinity();
  try {
    for (int i = 0; i < 7; ++i) {
      cudaEventRecord(begin, stream);
      run();
      cudaEventRecord(end, stream);
      float ms = 0;
      if (cudaEventSynchronize(end) != cudaSuccess || cudaEventElapsedTime(&ms, begin, end) != cudaSuccess) break;
      if (i == 1 && ms > 3.f * best) break;
      if (i >= 2) least = std::min(least, ms);
    }
  } catch (...) {  // a plan that cannot be run is not taken
    least = std::numeric_limits<float>::infinity();
  }
  cudaGetLastError();
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return least;
}

}  // namespace mindgap::cuda::detail
