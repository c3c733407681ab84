// to[i] = from[i] for i < n, by the whole block. Reads and writes every element once.
#pragma once

#include <mindgap/kernels/vectorised.hpp>

#include <cstring>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

template <class B, class T>
MG_HD void copy_row(B& block, T* to, const T* from, i64 n) {
  if constexpr (!B::is_team) {
    std::memcpy(to, from, size_t(n) * sizeof(T));
  } else {
    with_width<vector_size<T>>(is_vector_aligned(to) && is_vector_aligned(from), [&](auto width) {
      constexpr int V = width;
      for_loads<4>(
          block.rank(), int(n / V), block.size(), [&](int i) { return load_vector<V>(from + i64(i) * V); },
          [&](int i, const AlignedVector<T, V>& vector) { store_vector(to + i64(i) * V, vector); });
      for (i64 i = n / V * V + block.rank(); i < n; i += block.size()) to[i] = from[i];
    });
  }
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
