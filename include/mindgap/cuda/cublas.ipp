// Bodies of cublas.hpp: the only file that includes cuBLAS.
//
// cuBLAS thinks in columns: a row-major [m, n] matrix is its column-major [n, m], so C = A B is asked for as C^T = B^T A^T. It
// knows one batch axis of constant stride; of our two, the longer one is that, the shorter one a loop (heads of attention).
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/cuda/cublas.hpp>
#include <mindgap/cuda/data_type.hpp>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

namespace mindgap {
namespace cuda {
namespace detail {

inline void check(cublasStatus_t status, const MatmulGeometry& g, DType type) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(
      text("matmul: cuBLAS refused ", g.batch(), " products of ", g.m, "x", g.k, " and ", g.k, "x", g.n, " in ", name(type)),
      {{"cublas", cublasGetStatusString(status)},
       {"remedy", status == CUBLAS_STATUS_ALLOC_FAILED ? "use a smaller batch" : "check the shapes and types"}});
}

// One handle a program, with memory of its own that is never freed, so that products can be captured in a graph.
inline cublasHandle_t handle(Stream stream) {
  constexpr size_t bytes = size_t(32) << 20;
  static void* workspace = nullptr;
  static const cublasHandle_t created = [&] {
    refuse_while_capturing(stream, "cuBLAS cannot be started");
    cublasHandle_t h = nullptr;
    if (cublasCreate(&h) != CUBLAS_STATUS_SUCCESS || cudaMalloc(&workspace, bytes) != cudaSuccess)
      throw DeviceError("cuda: cuBLAS did not start", {{"remedy", "is the GPU's memory taken? is there a driver for CUDA 13?"}});
    cublasSetMathMode(h, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);  // sums stay f32 where a product is split
    return h;
  }();
  static Stream of = nullptr;
  if (stream != of) {
    cublasSetStream(created, stream);  // forgets the workspace
    cublasSetWorkspace(created, workspace, bytes);
    of = stream;
  }
  return created;
}

}  // namespace detail

MINDGAP_INLINE bool& allow_any_plan() {
  static bool allowed = false;
  return allowed;
}

MINDGAP_INLINE bool& allow_tf32() {
  static bool allowed = false;
  return allowed;
}

MINDGAP_INLINE void matmul(Stream stream, const MatmulGeometry& g, DType c_type, void* c, DType type, const void* a,
                           const void* b, float alpha, bool accumulate) {
  const cublasHandle_t handle = detail::handle(stream);
  const float beta = accumulate ? 1.f : 0.f;
  const auto compute = type == DType::f32 && allow_tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  const bool outer_is_long = g.batch_outer >= g.batch_inner;
  const i64 loops = outer_is_long ? g.batch_inner : g.batch_outer, batch = outer_is_long ? g.batch_outer : g.batch_inner;
  const auto at = [&](const void* base, const MatrixStrides& s, i64 loop, DType element) {
    return const_cast<char*>(static_cast<const char*>(base)) + loop * (outer_is_long ? s.inner : s.outer) * bytes(element);
  };
  const auto stride = [&](const MatrixStrides& s) { return outer_is_long ? s.outer : s.inner; };
  for (i64 loop = 0; loop < loops; ++loop)
    detail::check(cublasGemmStridedBatchedEx(
                      handle, g.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, g.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, int(g.n), int(g.m),
                      int(g.k), &alpha, at(b, g.b, loop, type), detail::data_type(type), int(g.b.row), stride(g.b),
                      at(a, g.a, loop, type), detail::data_type(type), int(g.a.row), stride(g.a), &beta, at(c, g.c, loop, c_type),
                      detail::data_type(c_type), int(g.c.row), stride(g.c), int(batch), compute, CUBLAS_GEMM_DEFAULT),
                  g, type);
}

}  // namespace cuda
}  // namespace mindgap
