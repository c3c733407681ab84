// Compiler differences, in one place.
//
//   MG_HD           marks a function that runs on the host and, under nvcc, on the device
//   MINDGAP_INLINE  marks the body of a glue function: `inline` for a header-only program, nothing where the
//                   bodies are compiled once into mindgap::glue
#pragma once

#if defined(__CUDACC__)
#define MG_HD __host__ __device__ __forceinline__
#else
#define MG_HD inline
#endif

#if defined(MINDGAP_GLUE_BUILD)
#define MINDGAP_GLUE
#define MINDGAP_INLINE
#else
#define MINDGAP_INLINE inline
#endif

namespace mindgap {

inline constexpr const char* version = "0.1.0";

}  // namespace mindgap
