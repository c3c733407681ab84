// to[i] = value for i < n                                       one block does `per_block` elements
#pragma once

#include <mindgap/kernels/vectorised.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

template <class T>
struct Fill {
  static constexpr i64 per_block = 8192;

  T* to;
  i64 n;
  T value;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, end = begin + per_block < n ? begin + per_block : n;
    for (i64 i = begin + block.rank(); i < end; i += block.size()) to[i] = value;
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
