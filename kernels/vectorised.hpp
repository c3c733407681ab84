// Accesses of 16 bytes: a thread of a GPU moves a vector of neighbouring elements with one instruction.
//
//   for_vectors<vector_size<T>>(block, n, aligned, [&](auto width, i64 i) {
//     constexpr int V = width;                     // elements i .. i + V - 1 are this call's
//     float a[V], b[V];
//     load<V>(a, x + i);                           // V elements as f32
//     for (int j = 0; j < V; ++j) b[j] = f(a[j]);
//     store<V>(y + i, b);                          // rounded to nearest even
//   });
//
// A block of one thread has V = 1 everywhere: the loop is a plain loop, which the compiler vectorises. What is left at the end of
// a row, and rows that do not begin at a multiple of 16 bytes, are done one element at a time.
//
// A memory of 3 TB/s answers after some 700 ns: about 32 KB a multiprocessor must be under way to keep it busy. for_loads() sees
// to that: it issues the loads of several rounds before it uses the first.
#pragma once

#include <mindgap/core/device.hpp>
#include <mindgap/kernels/block.hpp>

#include <cstdint>
#include <type_traits>

namespace mindgap {
inline namespace MINDGAP_SET {

inline constexpr int vector_bytes = 16;

// Whether the blocks of a device are teams of threads that move vectors; else a block is one thread with plain loops.
template <Device D>
inline constexpr bool has_teams = !std::same_as<D, Cpu>;

// Elements of a vector: the narrowest of the types fills 16 bytes, wider ones take several accesses.
template <class... T>
inline constexpr int vector_size = vector_bytes / int(std::min({sizeof(T)...}));

// Whether a pointer may be accessed in vectors.
template <class T>
MG_HD bool is_vector_aligned(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % vector_bytes == 0;
}

template <class T, int V>
struct alignas(V* int(sizeof(T)) < vector_bytes ? V * int(sizeof(T)) : vector_bytes) AlignedVector {
  T element[V];
};

template <int V, class T>
MG_HD AlignedVector<T, V> broadcast(T value) {
  AlignedVector<T, V> vector;
  for (T& element : vector.element) element = value;
  return vector;
}

template <int V, class T>
MG_HD AlignedVector<T, V> load_vector(const T* from) {
  return *reinterpret_cast<const AlignedVector<T, V>*>(from);
}
template <int V, class T>
MG_HD void store_vector(T* to, const AlignedVector<T, V>& vector) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(AlignedVector<T, V>) % vector_bytes == 0) {
    // nvcc cuts some stores of structs, and of vectors made of them, into pieces; an instruction it leaves whole. (Its own,
    // __stwb and the like, are for global memory alone; vectors go to shared memory, too.)
    constexpr int vectors = sizeof(AlignedVector<T, V>) / vector_bytes;
    struct Vectors {
      uint4 at[vectors];
    } whole = bit_cast<Vectors>(vector);
    for (int i = 0; i < vectors; ++i)
      asm volatile("st.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(reinterpret_cast<uint4*>(to) + i), "r"(whole.at[i].x),
                   "r"(whole.at[i].y), "r"(whole.at[i].z), "r"(whole.at[i].w)
                   : "memory");
    return;
  }
#endif
  *reinterpret_cast<AlignedVector<T, V>*>(to) = vector;
}

}  // namespace MINDGAP_SET
}  // namespace mindgap

namespace mindgap::detail {
inline namespace MINDGAP_SET {

// Whether elements of T are converted two at a time, in words.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <class T, int V>
inline constexpr bool in_pairs = (std::is_same_v<T, bf16> || std::is_same_v<T, f16>)&&V % 2 == 0;
#else
template <class T, int V>
inline constexpr bool in_pairs = false;
#endif

template <int V>
struct Pairs {
  u32 pair[V / 2];
};

// The GPU's instructions; as dtype.hpp's conversions, but for the bits of a NaN.
template <class T>
MG_HD u32 round_pair(float low, float high) {
  u32 pair = 0;
  if constexpr (std::is_same_v<T, bf16>) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
template <class T>
MG_HD void widen_pair(float* to, u32 pair) {
  if constexpr (std::is_same_v<T, bf16>) {
    to[0] = bit_cast<float>(pair << 16);
    to[1] = bit_cast<float>(pair & 0xffff0000u);
  } else {
    asm("{.reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
        : "=f"(to[0]), "=f"(to[1])
        : "r"(pair));
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::detail

namespace mindgap {
inline namespace MINDGAP_SET {

// to[j] = element j as f32.
template <int V, class T>
MG_HD void widen(float* to, const AlignedVector<T, V>& vector) {
  if constexpr (detail::in_pairs<T, V>) {
    const auto words = bit_cast<detail::Pairs<V>>(vector);
    for (int j = 0; j < V / 2; ++j) detail::widen_pair<T>(to + 2 * j, words.pair[j]);
  } else {
    for (int j = 0; j < V; ++j) to[j] = float(vector.element[j]);
  }
}
template <int V, class T>
MG_HD void load(float* to, const T* from) {
  widen<V>(to, load_vector<V>(from));
}

// Element j is from[j], rounded to nearest even.
template <int V, class T>
MG_HD AlignedVector<T, V> round_vector(const float* from) {
  AlignedVector<T, V> vector;
  if constexpr (detail::in_pairs<T, V>) {
    detail::Pairs<V> words;
    for (int j = 0; j < V / 2; ++j) words.pair[j] = detail::round_pair<T>(from[2 * j], from[2 * j + 1]);
    vector = bit_cast<AlignedVector<T, V>>(words);
  } else {
    for (int j = 0; j < V; ++j) vector.element[j] = T(from[j]);
  }
  return vector;
}
template <int V, class T>
MG_HD void store(T* to, const float* from) {
  store_vector(to, round_vector<V, T>(from));
}

// Bit j says whether element j is positive.
template <int V, class T>
MG_HD u32 positive_bits(const AlignedVector<T, V>& vector) {
  float value[V];
  widen<V>(value, vector);
  u32 bits = 0;
  for (int j = 0; j < V; ++j) bits |= u32(value[j] > 0.f) << j;
  return bits;
}

// Rounds of a loop that loads `streams` vectors a round: four vectors a thread are under way.
constexpr int rounds_in_flight(int streams) { return streams > 1 ? 2 : 4; }

// use(i, load(i)) for i = begin, begin + step, ... below end; the loads of U rounds are issued before the first is used.
template <int U, class Load, class Use>
MG_HD void for_loads(int begin, int end, int step, Load&& load, Use&& use) {
  int i = begin;
  for (; i + (U - 1) * step < end; i += U * step) {
    decltype(load(i)) loaded[U];
    for (int u = 0; u < U; ++u) loaded[u] = load(i + u * step);
    for (int u = 0; u < U; ++u) use(i + u * step, loaded[u]);
  }
  for (; i < end; i += step) use(i, load(i));
}

// Calls f with the width that threads move at a time, a constant: V where vectors fit, else 1.
template <int V, class F>
MG_HD void with_width(bool vectors, F&& f) {
  if (vectors) f(std::integral_constant<int, V>{});
  else f(std::integral_constant<int, 1>{});
}

// Calls f(width, i) for the elements i < n of a row, spread over the block's threads. aligned: every pointer that f moves in
// vectors is aligned at i = 0.
template <int V, class B, class F>
MG_HD void for_vectors(B& block, i64 n, bool aligned, F&& f) {
  using One = std::integral_constant<int, 1>;
  i64 whole = 0;
  if constexpr (B::is_team && V > 1) {
    if (aligned) whole = n / V * V;
    for (i64 i = i64(block.rank()) * V; i < whole; i += i64(block.size()) * V) f(std::integral_constant<int, V>{}, i);
  }
#pragma GCC ivdep
  for (i64 i = whole + block.rank(); i < n; i += block.size()) f(One{}, i);
}

}  // namespace MINDGAP_SET
}  // namespace mindgap
