// Accesses of 16 bytes: a thread of a GPU moves a packet of neighbouring elements with one instruction.
//
//   for_packets<packet_elements<T>>(block, n, aligned, [&](auto width, i64 i) {
//     constexpr int V = width;                     // elements i .. i + V - 1 are this call's
//     float a[V], b[V];
//     load<V>(a, x + i);                           // V elements as f32
//     for (int j = 0; j < V; ++j) b[j] = f(a[j]);
//     store<V>(y + i, b);                          // rounded to nearest even
//   });
//
// A block of one thread has V = 1 everywhere: the loop is a plain loop, which the compiler vectorises. What is left at the end of
// a row, and rows that do not begin at a multiple of 16 bytes, are done one element at a time.
#pragma once

#include <mindgap/kernels/block.hpp>

#include <cstdint>
#include <type_traits>

namespace mindgap {

inline constexpr int packet_bytes = 16;

// Elements of a packet: the narrowest of the types fills 16 bytes, wider ones take several accesses.
template <class... T>
inline constexpr int packet_elements = packet_bytes / int(std::min({sizeof(T)...}));

// Whether a pointer may be accessed in packets.
template <class T>
MG_HD bool is_packet_aligned(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % packet_bytes == 0;
}

template <class T, int V>
struct alignas(V* int(sizeof(T)) < packet_bytes ? V * int(sizeof(T)) : packet_bytes) Packet {
  T element[V];
};

template <int V, class T>
MG_HD void load(float* to, const T* from) {
  const Packet<T, V> packet = *reinterpret_cast<const Packet<T, V>*>(from);
  for (int j = 0; j < V; ++j) to[j] = float(packet.element[j]);
}
template <int V, class T>
MG_HD void store(T* to, const float* from) {
  Packet<T, V> packet;
  for (int j = 0; j < V; ++j) packet.element[j] = T(from[j]);
  *reinterpret_cast<Packet<T, V>*>(to) = packet;
}

// Calls f(width, i) for the elements i < n of a row, spread over the block's threads. aligned: every pointer that f moves in
// packets is aligned at i = 0.
template <int V, class B, class F>
MG_HD void for_packets(B& block, i64 n, bool aligned, F&& f) {
  using One = std::integral_constant<int, 1>;
  i64 whole = 0;
  if constexpr (B::packets && V > 1) {
    if (aligned) whole = n / V * V;
    for (i64 i = i64(block.rank()) * V; i < whole; i += i64(block.size()) * V) f(std::integral_constant<int, V>{}, i);
  }
#pragma GCC ivdep
  for (i64 i = whole + block.rank(); i < n; i += block.size()) f(One{}, i);
}

}  // namespace mindgap
