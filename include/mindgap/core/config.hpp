// Compiler differences, in one place.
//
//   MG_HD           marks a function that runs on the host and, under nvcc, on the device
//   MINDGAP_INLINE  marks the body of a glue function: `inline` for a header-only program, nothing where the
//                   bodies are compiled once into mindgap::glue
//   MINDGAP_SET     the instruction set of this source: the name of an inline namespace around kernels, executors and what
//                   they compute with
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

// Of what has one name in several objects, the linker keeps one copy. With the set in its name a kernel runs as its own source
// was compiled, not with the instructions of another CPU. What mindgap::glue exports has no set in its name, so that any program
// links it. nvcc has one set: its passes for host and device must agree on a kernel's name.
#if defined(__CUDACC__)
#define MINDGAP_SET set_nvcc
#elif defined(__AMX_BF16__)
#define MINDGAP_SET set_amx
#elif defined(__AVX512BF16__)
#define MINDGAP_SET set_avx512_bf16
#elif defined(__AVX512F__)
#define MINDGAP_SET set_avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define MINDGAP_SET set_avx2_fma
#elif defined(__AVX__)
#define MINDGAP_SET set_avx
#else
#define MINDGAP_SET set_plain
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
