// Matrix products of the GPU, over raw device pointers, on cuBLAS. The stream is the caller's; nothing waits.
//
// Types of A and B: f32 (sums in f32, or in TF32 where allow_tf32 says so), bf16, f16 (sums in f32). C has the type of A and B,
// or is f32. Errors: mindgap::Error that names the geometry and cuBLAS's status.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/cuda/scratch.hpp>

namespace mindgap::cuda {

// Whether f32 products and convolutions may round their inputs to TF32 (10 bits of mantissa). Off by default.
bool& allow_tf32();
// Whether plans may be taken whose result may differ in its last bits from run to run. Off by default, and there to measure what
// repeating runs cost.
bool& allow_any_plan();

// C = alpha op(A) op(B) (+ C, if accumulate), as MatmulGeometry describes.
void matmul(Stream stream, const MatmulGeometry& g, DType c_type, void* c, DType type, const void* a, const void* b, float alpha,
            bool accumulate);

}  // namespace mindgap::cuda

#if !defined(MINDGAP_GLUE)
#include <mindgap/cuda/cublas.ipp>
#endif
