// Dropout: each element is 0 or scaled, by the random number at its index.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/kernels/vectorised.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// y[i] = x[i] (u_i < p ? 0 : scale), u_i = stream.uniform(i)       one block does `per_block` blocks of four numbers
template <class T>
struct Dropout {
  static constexpr i64 per_block = 2048;

  T* y;                  // [size]; may be x
  const T* x;            // [size]
  const Stream* stream;  // read by the device, so that a replayed step draws by today's key
  i64 size;
  float p, scale;

  MG_HD i64 blocks() const { return (size + 4 * per_block - 1) / (4 * per_block); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const Stream numbers = *stream;
    const i64 quads = (size + 3) / 4, begin = block.id() * per_block, end = begin + per_block < quads ? begin + per_block : quads;
    for (i64 quad = begin + block.rank(); quad < end; quad += block.size()) {
      const PhiloxBlock words = numbers.block(u64(quad));
      for (i64 i = 4 * quad; i < 4 * quad + 4 && i < size; ++i)
        y[i] = T(float(x[i]) * (float(words[u64(i % 4)] >> 8) * 0x1p-24f < p ? 0.f : scale));
    }
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
