// What a kernel is, and how the CPU runs one.
//
// A kernel is a struct whose fields are its arguments and whose call operator is written once against a Block: a team
// of size() threads that share memory and can wait for each other. The same body is run by three executors:
//
//   serial   a block is one thread; blocks are spread over the cores. The production path of the CPU.   (this file)
//   CUDA     a block is a CUDA thread block.                                                    (cuda_block.hpp)
//   fibers   every thread of a block is a fiber, run in random order; catches missing and divergent
//            barriers and reads of unwritten shared memory where there is no GPU.                 (fiber_block.hpp)
//
// A body spreads work with `for (i64 i = block.rank(); i < n; i += block.size())`. In the serial block rank and size are
// the constants 0 and 1, so such a loop is a plain loop that the compiler vectorises.
//
// Where one body cannot serve both kinds of block well, the kernel has no call operator but two bodies, of which the executor
// chooses (run_block):
//
//   serial(block)     the CPU's: loops that the compiler makes vectors of
//   team(block)       a GPU's; or team<V>(block) with V neighbouring elements an access, V = vec_size where vectorised() says
//                     that every pointer and every row is aligned for it, else 1
//
// Kernels and executors carry the name of the instruction set that they are compiled for (MINDGAP_SET, core/config.hpp).
#pragma once

#include <mindgap/core/dtype.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <omp.h>

namespace mindgap {

// How many blocks, of how many threads. The serial executor ignores `threads`.
struct Grid {
  i64 blocks;
  int threads = 256;
};

inline namespace MINDGAP_SET {

// Threads of a block of the kernels that keep columns in registers; fewer are correct too.
inline constexpr int team_threads = 256;

struct Sum {
  template <class T>
  MG_HD T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  MG_HD T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

// clang-format off
template <class B>
concept Block = requires(B& block, float value) {
  { block.id() } -> std::convertible_to<i64>;         // which block of the grid
  { block.rank() } -> std::convertible_to<int>;       // which thread of the block
  { block.size() } -> std::convertible_to<int>;       // threads in the block
  { B::is_team } -> std::convertible_to<bool>;        // whether it is a GPU's: many threads, that move 16 bytes at a time
  block.sync();                                       // barrier; every thread of the block must reach it
  { block.reduce(value, Sum{}) } -> std::same_as<float>;     // over all threads, the result in each; includes barriers
  { block.reduce(value, Sum{}, 8) } -> std::same_as<float>;  // over groups of 1, 2, 4, ... 32 neighbouring threads; every
                                                             // thread of the block must reach it, but it is no barrier
  { block.template shared<float>(i64(1)) } -> std::same_as<float*>;  // the same pointer in each thread, uninitialised
};
// clang-format on

// Runs the body that a kernel has for this kind of block.
template <class Kernel, Block B>
MG_HD void run_block(const Kernel& kernel, B& block) {
  if constexpr (requires { kernel(block); }) {
    kernel(block);
  } else if constexpr (!B::is_team) {
    kernel.serial(block);
  } else if constexpr (requires { kernel.vectorised(); }) {
    if (kernel.vectorised()) kernel.template team<Kernel::vec_size>(block);
    else kernel.template team<1>(block);
  } else {
    kernel.team(block);
  }
}

// Bytes of shared memory that a kernel asks for: its shared_bytes() member, or none.
template <class Kernel>
constexpr i64 shared_bytes(const Kernel& kernel) {
  if constexpr (requires { kernel.shared_bytes(); }) return kernel.shared_bytes();
  else return 0;
}

// Each piece of shared memory starts at a multiple of this.
inline constexpr i64 shared_alignment = 64;
MG_HD constexpr i64 shared_size(i64 bytes) { return (bytes + shared_alignment - 1) / shared_alignment * shared_alignment; }

class SerialBlock {
 public:
  SerialBlock(i64 id, std::byte* shared) : id_(id), shared_(shared) {}

  MG_HD i64 id() const { return id_; }
  MG_HD static constexpr int rank() { return 0; }
  MG_HD static constexpr int size() { return 1; }
  static constexpr bool is_team = false;  // the compiler makes vectors of a plain loop
  MG_HD void sync() const {}
  template <class T, class Op>
  MG_HD T reduce(T value, Op, int /*lanes*/ = 1) const {
    return value;
  }
  template <class T>
  MG_HD T* shared(i64 count) {
    T* piece = reinterpret_cast<T*>(shared_);
    shared_ += (count * i64(sizeof(T)) + shared_alignment - 1) / shared_alignment * shared_alignment;
    return piece;
  }

 private:
  i64 id_;
  std::byte* shared_;
};

// Runs blocks `begin` to `end`, one after the other. Not inlined: run_serial(), which calls it in two places, would hold every
// kernel twice.
template <class Kernel>
[[gnu::noinline]] void run_range(const Kernel& kernel, i64 begin, i64 end) {
  const i64 bytes = shared_bytes(kernel);
  std::unique_ptr<std::byte[], void (*)(std::byte*)> shared(
      bytes ? static_cast<std::byte*>(::operator new[](size_t(bytes), std::align_val_t(shared_alignment))) : nullptr,
      [](std::byte* p) { ::operator delete[](p, std::align_val_t(shared_alignment)); });
  for (i64 id = begin; id < end; ++id) {
    SerialBlock block(id, shared.get());
    run_block(kernel, block);
  }
}

// Runs every block of the grid on the cores. Blocks are dealt out in fixed contiguous ranges; no result may depend on it.
template <class Kernel>
void run_serial(Grid grid, const Kernel& kernel) {
  if (grid.blocks <= 1 || omp_in_parallel()) return run_range(kernel, 0, grid.blocks);
#pragma omp parallel num_threads(int(std::min <i64>(omp_get_max_threads(), grid.blocks)))
  {
    const i64 threads = omp_get_num_threads(), thread = omp_get_thread_num();
    run_range(kernel, grid.blocks * thread / threads, grid.blocks * (thread + 1) / threads);
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap
