// to[i] = from[i] for i < n, by the whole block.
#pragma once

#include <mindgap/kernels/block.hpp>

#include <cstring>

namespace mindgap {

template <class B, class T>
MG_HD void copy_row(B& block, T* to, const T* from, i64 n) {
  if constexpr (std::is_same_v<B, SerialBlock>) std::memcpy(to, from, size_t(n) * sizeof(T));
  else
    for (i64 i = block.rank(); i < n; i += block.size()) to[i] = from[i];
}

}  // namespace mindgap
