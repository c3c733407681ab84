// The CUDA executor: a Block is a CUDA thread block, in one dimension; see block.hpp for the concept.
//
// reduce: a tree of shuffles inside each warp, then every thread combines the warps' values in order, so the result has
// the same bits in each thread and in each run. One barrier a reduction: two sets of slots take turns, and the barrier
// of the next reduction frees the set of this one. Over groups of lanes: a butterfly of shuffles that combines neighbours,
// the lower one's value first, so that all lanes get the same bits.
//
// shared: pieces of the dynamic shared memory, one after the other, each aligned to shared_alignment.
#pragma once

#include <mindgap/kernels/block.hpp>

#if defined(__CUDACC__)

namespace mindgap {

class CudaBlock {
 public:
  static constexpr bool packets = true;

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

// The CUDA kernel of a mindgap kernel.
template <class Kernel>
__global__ void cuda_entry(const __grid_constant__ Kernel kernel) {
  CudaBlock block;
  kernel(block);
}

}  // namespace mindgap

#endif
