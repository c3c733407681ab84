// A CUDA GPU as a device: memory, copies, and launches on one stream of the program's own. Empty to a compiler
// other than nvcc.
//
// Work on the stream is asynchronous: an error inside a kernel is reported by a later call, which then names the kernel
// that was launched last. A copy from the host goes through pinned memory (PinnedRing): the host's buffer may be reused at
// once, and the host does not wait for the work that is queued. A copy to the host waits.
//
// What is queued between begin_capture() and end_capture() is not run but becomes a graph, which launch() queues as a whole
// (core/replay.hpp). Copies from and to the host, and waiting, are errors meanwhile: they would happen once, not at every launch.
// What it leaves out: several GPUs, several streams.
#pragma once

#include <mindgap/core/backend.hpp>
#include <mindgap/core/device.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/core/type_name.hpp>
#include <mindgap/kernels/cuda_block.hpp>

#if defined(__CUDACC__)

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>
#include <string_view>
#include <utility>

namespace mindgap {

template <>
struct Runtime<Cuda> {
  // The host does not wait for what it queues, and what it queues can be captured and replayed.
  static constexpr bool asynchronous = true, captures = true;

  // Whether the machine has a GPU and a driver that this build can use.
  static bool available() {
    int count = 0;
    const bool found = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
    cudaGetLastError();
    return found;
  }

  static void* allocate(i64 bytes) {
    refuse_in_capture("taking memory from the system");
    stream();
    void* block = nullptr;
    check(cudaMalloc(&block, size_t(bytes)), [&] { return text("could not allocate ", (bytes >> 20) + 1, " MiB"); });
    return block;
  }
  // Waits for the work that is queued. Errors are left for the next call that can report them.
  static void deallocate(void* block) { cudaFree(block); }

  static void copy(void* to, const void* from, i64 bytes) { copy(to, from, bytes, cudaMemcpyDeviceToDevice); }
  static void from_host(void* to, const void* from, i64 bytes) {
    refuse_in_capture("a copy from the host");
    ring().each_piece(bytes, [&](void* pinned, i64 offset, i64 size) {
      std::memcpy(pinned, static_cast<const char*>(from) + offset, size_t(size));
      copy(static_cast<char*>(to) + offset, pinned, size, cudaMemcpyHostToDevice);
    });
  }
  static void to_host(void* to, const void* from, i64 bytes) {
    refuse_in_capture("a copy to the host");
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
    constexpr auto entry = cuda_entry_of<Kernel>();
    if (bytes > 32 << 10)  // up to 48 KiB need no permission, those of a kernel's own (reductions) counted in
      check(cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)), what);
    static const bool takes_turns = [&] {
      cudaFuncAttributes compiled{};
      check(cudaFuncGetAttributes(&compiled, entry), what);
      return compiled.ptxVersion >= takes_turns_from && !serial_launches();
    }();
    cudaLaunchAttribute turns{};
    turns.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    turns.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = unsigned(grid.blocks), config.blockDim = unsigned(grid.threads);
    config.dynamicSmemBytes = size_t(bytes), config.stream = stream();
    config.attrs = &turns, config.numAttrs = takes_turns ? 1 : 0;
    check(cudaLaunchKernelEx(&config, entry, kernel), what);
  }

  // Of shared memory that a block can have.
  static i64 most_shared_bytes() {
    static const i64 most = [] {
      int device = 0, bytes = 0;
      check(cudaGetDevice(&device), [] { return "could not open the GPU"; });
      check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
            [] { return "the GPU does not say how much shared memory it has"; });
      return i64(bytes);
    }();
    return most;
  }

  static void synchronize() {
    refuse_in_capture("waiting for the GPU");
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

  // MINDGAP_LAUNCHES=serial: every kernel begins when the one before has ended. For the search for errors, and to measure what
  // the overlap gains.
  static bool serial_launches() {
    static const bool serial = [] {
      const char* launches = std::getenv("MINDGAP_LAUNCHES");
      return launches && std::string_view(launches) == "serial";
    }();
    return serial;
  }

  // A captured graph, ready to launch.
  class Graph {
   public:
    explicit Graph(cudaGraphExec_t exec) : exec_(exec) {}
    Graph(Graph&& other) noexcept : exec_(std::exchange(other.exec_, nullptr)) {}
    Graph& operator=(Graph&& other) noexcept {
      std::swap(exec_, other.exec_);
      return *this;
    }
    ~Graph() {
      if (!exec_) return;
      cudaStreamSynchronize(stream());  // it may still be running
      cudaGraphExecDestroy(exec_);
    }

   private:
    friend Runtime;
    cudaGraphExec_t exec_ = nullptr;
  };

  static bool capturing() { return capturing_flag(); }
  static void begin_capture() {
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal),
          [] { return "could not begin to capture a graph"; });
    capturing_flag() = true;
  }
  static Graph end_capture() {
    capturing_flag() = false;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream(), &graph), [] { return "something in the step cannot be captured"; });
    cudaGraphExec_t exec = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    check(status, [] { return "could not make a graph of the step"; });
    return Graph(exec);
  }
  // After an error between the two: forgets what was captured.
  static void abandon_capture() {
    capturing_flag() = false;
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream(), &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
  }
  static void launch(const Graph& graph) {
    check(cudaGraphLaunch(graph.exec_, stream()), [] { return "could not launch a captured graph"; });
  }

  // A range of the timeline that Nsight Systems draws.
  static void begin_range(const char* name) { nvtxRangePushA(name); }
  static void end_range() { nvtxRangePop(); }

  // A point in the stream's time.
  class Event {
   public:
    Event() {
      check(cudaEventCreate(&event_), [] { return "could not make an event"; });
    }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { cudaEventDestroy(event_); }

    void record() {
      check(cudaEventRecord(event_, stream()), [] { return "could not record an event"; });
    }
    // Waits until the work that was queued before record() is done.
    void wait() const {
      check(cudaEventSynchronize(event_), [] { return "the work on the GPU failed"; });
    }
    // Milliseconds of the device from `begin` to this event; waits for it.
    double since(const Event& begin) const {
      wait();
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin.event_, event_), [] { return "could not read an event"; });
      return double(milliseconds);
    }

   private:
    cudaEvent_t event_ = nullptr;
  };

 private:
  // Pinned buffers that take turns: a piece is copied into one, queued, and the buffer is used again when the GPU has read it.
  class PinnedRing {
   public:
    static constexpr i64 piece_bytes = i64(1) << 18;

    template <class F>
    void each_piece(i64 bytes, F&& queue) {
      for (i64 offset = 0; offset < bytes; offset += piece_bytes) {
        Slot& slot = slots_[next_++ % slots_.size()];
        if (!slot.memory)
          check(cudaMallocHost(&slot.memory, size_t(piece_bytes)), [] { return "could not allocate pinned memory"; });
        else slot.read.wait();
        queue(slot.memory, offset, std::min(piece_bytes, bytes - offset));
        slot.read.record();
      }
    }

   private:
    struct Slot {
      void* memory = nullptr;
      Event read;
    };
    std::array<Slot, 32> slots_;
    size_t next_ = 0;
  };
  static PinnedRing& ring() {
    stream();
    static auto* ring = new PinnedRing;  // never destroyed: the driver may be gone by then
    return *ring;
  }

  static bool& capturing_flag() {
    static bool capturing = false;
    return capturing;
  }
  static void refuse_in_capture(const char* what) {
    if (capturing())
      throw Error(text("cuda: ", what, " while a step is captured"),
                  {{"remedy", "copy inputs before the step and results after it; what a replayed step reads lives on the GPU"}});
  }

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
    throw DeviceError(text("cuda: ", what()), std::move(lines));
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
static_assert(GpuRuntime<Runtime<Cuda>>);

}  // namespace mindgap

#endif
