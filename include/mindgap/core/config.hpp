// Compiler differences, in one place.
//
//   MG_HD           marks a function that runs on the host and, under nvcc, on the device
//   MINDGAP_INLINE  marks the body of a glue function: `inline` for a header-only program, nothing where the
//                   bodies are compiled once into mindgap::glue
#pragma once

#if defined(__clang__) && __clang_major__ < 17
#error "mindgap: this clang is too old: use clang 17 or newer, or g++ 12 or newer"
#elif defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 11
#error "mindgap: this g++ is too old: use g++ 12 or newer, or clang 17 or newer"
#elif __cplusplus < 202002L
#error "mindgap is C++20: compile with -std=c++20"
#endif

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
