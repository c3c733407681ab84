// A matrix product of the GPU that does more to its sums before they are rounded, over raw device pointers, on cuBLASLt: that
// costs no pass over C. The first call of a geometry chooses an algorithm by timing (autotune_cache.hpp), which cuBLAS leaves to
// a rule.
//
// One product of f32, bf16 or f16. Sums are f32 (or TF32, as in cublas.hpp), also where a product is split, and are added up in a
// fixed order.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cuda/scratch.hpp>

namespace mindgap::cuda {

// Added to the sums, where they are not null: a matrix that lies as C does, a row [n] to every row, both of C's type; then the
// maximum with 0.
struct MatmulEpilogue {
  const void *addend = nullptr, *bias = nullptr;
  bool relu = false;
};

// C = epilogue(op(A) op(B)); C has the type of A and B, or is f32. False, and nothing is done, for a batch, for operands that do
// not begin at a multiple of 16 bytes, and where cuBLASLt has no algorithm.
bool matmul_with_epilogue(Stream stream, Scratch scratch, const MatmulGeometry& g, DType c_type, void* c, DType type,
                          const void* a, const void* b, const MatmulEpilogue& epilogue);

}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/cublas_lt.ipp>
#endif
