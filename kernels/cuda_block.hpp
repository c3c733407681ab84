// The CUDA executor: a Block is a CUDA thread block, in one dimension; see block.hpp for the concept.
//
// reduce: a tree of shuffles inside each warp, then every thread combines the warps' values in order, so the result has
// the same bits in each thread and in each run. One barrier a reduction: two sets of slots take turns, and the barrier
// of the next reduction frees the set of this one. Over groups of lanes: a butterfly of shuffles that combines neighbours,
// the lower one's value first, so that all lanes get the same bits.
//
// multiply, copy_async: as matrix_block.hpp says, from sm_80 on.
//
// shared: pieces of the dynamic shared memory, one after the other, each aligned to shared_alignment.
#pragma once

#include <mindgap/kernels/matrix_block.hpp>

#if defined(__CUDACC__)

namespace mindgap {
inline namespace MINDGAP_SET {

class CudaBlock {
 public:
  static constexpr bool is_team = true;

  __device__ i64 id() const { return blockIdx.x; }
  __device__ int rank() const { return int(threadIdx.x); }
  __device__ int size() const { return int(blockDim.x); }
  __device__ void sync() const { __syncthreads(); }

  // T is any plain struct of whole 32-bit words.
  template <class T, class Op>
  __device__ T reduce(T value, Op op) {
    for (int offset = 16; offset > 0; offset /= 2)
      value = op(value, shuffle(value, [=](u32 word) { return __shfl_down_sync(all_lanes, word, unsigned(offset)); }));
    __shared__ alignas(T) unsigned char slots[2][32 * sizeof(T)];
    T* warp_values = reinterpret_cast<T*>(slots[turn_]);
    turn_ ^= 1;
    if (rank() % 32 == 0) warp_values[rank() / 32] = value;
    __syncthreads();
    value = warp_values[0];
    for (int warp = 1; warp < size() / 32; ++warp) value = op(value, warp_values[warp]);
    return value;
  }

  template <class T, class Op>
  __device__ T reduce(T value, Op op, int lanes) {
    for (int offset = 1; offset < lanes; offset *= 2) {
      const T other = shuffle(value, [=](u32 word) { return __shfl_xor_sync(all_lanes, word, offset); });
      value = rank() & offset ? op(other, value) : op(value, other);
    }
    return value;
  }

  template <class T>
  __device__ void multiply(SumsOfC& c, const OperandA& a, const OperandB& b) {
    static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>, "mindgap: tensor cores multiply bf16 and f16 here");
    if constexpr (std::is_same_v<T, bf16>)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
          : "r"(a.pair[0]), "r"(a.pair[1]), "r"(a.pair[2]), "r"(a.pair[3]), "r"(b.pair[0]), "r"(b.pair[1]));
    else
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c.at[0]), "+f"(c.at[1]), "+f"(c.at[2]), "+f"(c.at[3])
          : "r"(a.pair[0]), "r"(a.pair[1]), "r"(a.pair[2]), "r"(a.pair[3]), "r"(b.pair[0]), "r"(b.pair[1]));
  }

  __device__ void copy_async(void* to, const void* from, bool inside) {
    // Around the first-level cache; the second-level one fetches the whole line of 128 bytes.
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(u32(__cvta_generic_to_shared(to))),
                 "l"(__cvta_generic_to_global(from)), "r"(inside ? 16 : 0)
                 : "memory");
  }
  __device__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int Pending>
  __device__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
  }

  template <class T>
  __device__ T* shared(i64 count) {
    extern __shared__ __align__(64) unsigned char dynamic_shared[];
    T* piece = reinterpret_cast<T*>(dynamic_shared + shared_offset_);
    shared_offset_ += int((count * i64(sizeof(T)) + shared_alignment - 1) / shared_alignment * shared_alignment);
    return piece;
  }

 private:
  static constexpr u32 all_lanes = 0xffffffffu;

  // The value of another lane; f exchanges one word.
  template <class T, class F>
  __device__ static T shuffle(T value, F f) {
    static_assert(sizeof(T) % 4 == 0, "mindgap: reduce takes values of whole 32-bit words; widen to float or i32 first");
    struct Words {
      u32 word[sizeof(T) / 4];
    } words = bit_cast<Words>(value);
    for (u32& word : words.word) word = f(word);
    return bit_cast<T>(words);
  }

  int shared_offset_ = 0, turn_ = 0;
};

// From Hopper on the blocks of a kernel may be put in place while those of the one before it still run (programmatic dependent
// launch, CUDA programming guide): they wait here until it has ended and what it wrote can be read, before they touch memory.
// Then they let the next kernel's blocks come, which takes effect when the last of them has got here.
__device__ inline void take_turn() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
inline constexpr int takes_turns_from = 90;  // compute capability, in tens, that a kernel must be compiled for

// The CUDA kernel of a mindgap kernel.
template <class Kernel>
__global__ void cuda_entry(const __grid_constant__ Kernel kernel) {
  take_turn();
  CudaBlock block;
  run_block(kernel, block);
}
// Of one that has at most so many threads, and of which so many blocks should find registers on a multiprocessor.
template <class Kernel, int threads, int blocks>
__global__ void __launch_bounds__(threads, blocks) cuda_entry_bounded(const __grid_constant__ Kernel kernel) {
  take_turn();
  CudaBlock block;
  run_block(kernel, block);
}
template <class Kernel>
constexpr auto cuda_entry_of() {
  if constexpr (requires { Kernel::threads; }) return &cuda_entry_bounded<Kernel, Kernel::threads, Kernel::blocks_at_once>;
  else if constexpr (requires { Kernel::teams_at_once; }) return &cuda_entry_bounded<Kernel, team_threads, Kernel::teams_at_once>;
  else return &cuda_entry<Kernel>;
}

}  // namespace MINDGAP_SET
}  // namespace mindgap

#endif
