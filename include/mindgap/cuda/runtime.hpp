// A CUDA GPU as a device: memory, copies, and launches on one stream of the program's own. Empty to a compiler
// other than nvcc.
//
// Work on the stream is asynchronous: an error inside a kernel is reported by a later call, which then names the kernel
// that was launched last. Copies from and to the host wait, so that the host's buffer may be reused at once.
// What it leaves out: several GPUs, several streams, captured graphs.
#pragma once

#include <mindgap/core/device.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/core/type_name.hpp>
#include <mindgap/kernels/cuda_block.hpp>

#if defined(__CUDACC__)

#include <cuda_runtime.h>

namespace mindgap {

template <>
struct Runtime<Cuda> {
  // Whether the machine has a GPU and a driver that this build can use.
  static bool available() {
    int count = 0;
    const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
    cudaGetLastError();
    return found;
  }

  static void* allocate(i64 bytes) {
    stream();
    void* block = nullptr;
    check(cudaMalloc(&block, size_t(bytes)), [&] { return text("could not allocate ", bytes >> 20, " MiB"); });
    return block;
  }
  static void deallocate(void* block) {
    check(cudaFree(block), [] { return "could not free memory"; });
  }

  static void copy(void* to, const void* from, i64 bytes) { copy(to, from, bytes, cudaMemcpyDeviceToDevice); }
  static void from_host(void* to, const void* from, i64 bytes) {
    copy(to, from, bytes, cudaMemcpyHostToDevice);
    synchronize();
  }
  static void to_host(void* to, const void* from, i64 bytes) {
    copy(to, from, bytes, cudaMemcpyDeviceToHost);
    synchronize();
  }
  static void zero(void* to, i64 bytes) {
    if (bytes) check(cudaMemsetAsync(to, 0, size_t(bytes), stream()), [&] { return text("could not zero ", bytes, " bytes"); });
  }

  // Threads: a multiple of 32, at most 1024.
  template <class Kernel>
  static void launch(Grid grid, const Kernel& kernel) {
    static_assert(std::is_trivially_copy_constructible_v<Kernel> && std::is_trivially_destructible_v<Kernel>,
                  "mindgap: a kernel's fields are plain values and device pointers");
    static_assert(sizeof(Kernel) <= 4096, "mindgap: a kernel's fields take at most 4096 bytes");
    if (grid.blocks == 0) return;
    if (grid.blocks < 0 || grid.blocks > 0x7fffffff || grid.threads < 32 || grid.threads > 1024 || grid.threads % 32)
      throw Error(text("cuda: a launch has at most 2147483647 blocks of 32, 64, ... 1024 threads, not ", grid.blocks, " of ",
                       grid.threads),
                  {{"kernel", type_name<Kernel>()}});
    const i64 bytes = shared_bytes(kernel);
    const auto what = [&] {
      return text("could not launch ", grid.blocks, " blocks of ", grid.threads, " threads with ", bytes,
                  " bytes of shared memory");
    };
    last_kernel() = &type_name<Kernel>;
    if (bytes > 48 << 10)
      check(cudaFuncSetAttribute(cuda_entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)), what);
    cuda_entry<Kernel><<<unsigned(grid.blocks), unsigned(grid.threads), size_t(bytes), stream()>>>(kernel);
    check(cudaGetLastError(), what);
  }

  static void synchronize() {
    check(cudaStreamSynchronize(stream()), [] { return "the work on the GPU failed"; });
  }

  static cudaStream_t stream() {
    static const cudaStream_t stream = [] {
      cudaStream_t created = nullptr;
      check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), [] { return "could not open the GPU"; });
      return created;
    }();
    return stream;
  }

 private:
  static void copy(void* to, const void* from, i64 bytes, cudaMemcpyKind kind) {
    if (bytes)
      check(cudaMemcpyAsync(to, from, size_t(bytes), kind, stream()), [&] { return text("could not copy ", bytes, " bytes"); });
  }

  // The name of the kernel launched last, by the function that spells it.
  using Name = std::string (*)();
  static Name& last_kernel() {
    static Name name = nullptr;
    return name;
  }

  template <class What>
  static void check(cudaError_t status, const What& what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // clears it, where it can be cleared
    std::vector<ErrorLine> lines{{"cuda", text(cudaGetErrorName(status), ": ", cudaGetErrorString(status))}};
    if (last_kernel()) lines.push_back({"kernel", last_kernel()() + " (launched last)"});
    lines.push_back({"remedy", remedy(status)});
    throw Error(text("cuda: ", what()), std::move(lines));
  }

  static const char* remedy(cudaError_t status) {
    switch (status) {
      case cudaErrorMemoryAllocation:
        return "use a smaller batch";
      case cudaErrorNoDevice:
      case cudaErrorInsufficientDriver:
        return "run with --device cpu, or install a GPU driver for CUDA 13";
      case cudaErrorNoKernelImageForDevice:
        return "build for this GPU: cmake -DCMAKE_CUDA_ARCHITECTURES=native";
      case cudaErrorInvalidValue:
      case cudaErrorLaunchOutOfResources:
        return "launch fewer threads or take less shared memory";
      default:
        return "run with CUDA_LAUNCH_BLOCKING=1 to see which kernel failed, under compute-sanitizer to see why";
    }
  }
};

}  // namespace mindgap

#endif
