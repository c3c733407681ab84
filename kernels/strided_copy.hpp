// Copies whose source is read at strides: axes in another order, or repeated. Each element is written once.
//
// The CPU copies runs of the innermost axis. A GPU's threads write neighbouring elements; where they read distant ones (a
// transpose), the caches hold what lies between until the next threads want it.
#pragma once

#include <mindgap/kernels/copy.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// y[i0, i1, ...] = x[sum of i_k strides_k] for a dense y; a stride of 0 repeats          one block does `per_block` elements
template <class T, int N>
struct StridedCopy {
  static constexpr i64 per_block = 8192;

  T* y;        // [extents]
  const T* x;  // where the strides lead
  i64 size;    // elements of y
  i64 extents[N], strides[N];

  MG_HD i64 blocks() const { return (size + per_block - 1) / per_block; }

  template <Block B>
  MG_HD void serial(B& block) const {
    const i64 cols = extents[N - 1], stride = strides[N - 1], end = this->end(block.id());
    for (i64 i = block.id() * per_block, n; i < end; i += n) {
      n = least(cols - i % cols, end - i);
      const T* from = x + offset<i64>(i);
      if (stride == 1) copy_row(block, y + i, from, n);
      else
        for (i64 j = 0; j < n; ++j) y[i + j] = from[j * stride];
    }
  }

  template <Block B>
  MG_HD void team(B& block) const {
    if (size >> 31) copy<i64>(block);
    else copy<u32>(block);  // a division of 64 bits takes a GPU a hundred cycles
  }

 private:
  template <class Index, class B>
  MG_HD void copy(B& block) const {
    const i64 end = this->end(block.id());
    for (i64 i = block.id() * per_block + block.rank(); i < end; i += block.size()) y[i] = x[offset<Index>(Index(i))];
  }
  // Where element i of y lies in x.
  template <class Index>
  MG_HD i64 offset(Index i) const {
    i64 at = 0;
    for (int k = N - 1; k >= 0; --k) {
      const Index extent = Index(extents[k]);
      at += i64(i % extent) * strides[k];
      i /= extent;
    }
    return at;
  }
  MG_HD i64 end(i64 id) const { return least((id + 1) * per_block, size); }
  MG_HD static i64 least(i64 a, i64 b) { return a < b ? a : b; }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
