// A matrix product of the GPU with something that is added before the sums are rounded, over raw device pointers, on cuBLASLt:
// that costs no pass over C. The first call of a geometry chooses an algorithm by timing (plan_table.hpp).
//
// One product of f32, bf16 or f16; C and what is added have the type of A and B. Sums are f32 (or TF32, as in cublas.hpp), also
// where a product is split, and are added up in a fixed order.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cuda/scratch.hpp>

namespace mindgap::cuda {

// C = op(A) op(B) + bias, a row [n] added to every row. False, and nothing is done, for a batch, for operands that do not begin
// at a multiple of 16 bytes, and where cuBLASLt has no algorithm.
bool matmul_bias(Stream stream, Scratch scratch, const MatmulGeometry& g, DType type, void* c, const void* a, const void* b,
                 const void* bias);
// C = op(A) op(B) + addend, a matrix that lies as C does. False likewise.
bool matmul_sum(Stream stream, Scratch scratch, const MatmulGeometry& g, DType type, void* c, const void* a, const void* b,
                const void* addend);

}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/cublas_lt.ipp>
#endif
