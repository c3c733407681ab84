// to[i] = from[i] for i < n, by the whole block. Reads and writes every element once.
#pragma once

#include <mindgap/kernels/packet.hpp>

#include <cstring>

namespace mindgap {

template <class B, class T>
MG_HD void copy_row(B& block, T* to, const T* from, i64 n) {
  if constexpr (!B::packets) {
    std::memcpy(to, from, size_t(n) * sizeof(T));
  } else {
    with_width<packet_elements<T>>(is_packet_aligned(to) && is_packet_aligned(from), [&](auto width) {
      constexpr int V = width;
      for_loads<4>(
          block.rank(), int(n / V), block.size(), [&](int i) { return load_packet<V>(from + i64(i) * V); },
          [&](int i, const Packet<T, V>& packet) { store_packet(to + i64(i) * V, packet); });
      for (i64 i = n / V * V + block.rank(); i < n; i += block.size()) to[i] = from[i];
    });
  }
}

}  // namespace mindgap
