// Softmax of rows in four versions, each with one idea more. y[r, c] = exp(x[r, c] - max_r) / sum_c exp(x[r, c] - max_r).
// All read x [rows, cols] and write y: 2 sizeof(T) bytes an element if a row is read once. README.md says how to read them.
#pragma once

#include <mindgap/kernels/softmax.hpp>

namespace mindgap::kernel::lab {
inline namespace MINDGAP_SET {

// v1, plain: a thread does a row, as one would on a CPU. Neighbouring threads read addresses a row apart, so that each load of a
// warp touches 32 sectors of 32 bytes and uses one element of each; the first-level cache must keep them until their other
// elements are asked for.
template <class T>
struct SoftmaxPlain {
  static constexpr i64 rows_per_block = 128;

  T* y;        // [rows, cols]
  const T* x;  // [rows, cols]
  i64 rows, cols;

  Grid grid() const { return {(rows + rows_per_block - 1) / rows_per_block, 128}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * rows_per_block;
    for (i64 r = begin + block.rank(); r < rows && r < begin + rows_per_block; r += block.size()) {
      const T* in = x + r * cols;
      float top = -INFINITY, sum = 0.f;
      for (i64 c = 0; c < cols; ++c) top = Max{}(top, float(in[c]));
      for (i64 c = 0; c < cols; ++c) sum += exp_f32(float(in[c]) - top);
      for (i64 c = 0; c < cols; ++c) y[r * cols + c] = T(exp_f32(float(in[c]) - top) / sum);
    }
  }
};

// v2, coalesced: a block does a row, and neighbouring threads have neighbouring elements, so that a load of a warp is two or four
// whole sectors after another. The price: two reductions over the block, with a barrier each.
template <class T>
struct SoftmaxCoalesced {
  T* y;        // [rows, cols]
  const T* x;  // [rows, cols]
  i64 rows, cols;

  Grid grid() const { return {rows, 128}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T* in = x + block.id() * cols;
    T* out = y + block.id() * cols;
    float top = -INFINITY, sum = 0.f;
    for (i64 c = block.rank(); c < cols; c += block.size()) top = Max{}(top, float(in[c]));
    top = block.reduce(top, Max{});
    for (i64 c = block.rank(); c < cols; c += block.size()) sum += exp_f32(float(in[c]) - top);
    sum = block.reduce(sum, Sum{});
    const float scale = 1.f / sum;  // a division an element costs ten instructions
    for (i64 c = block.rank(); c < cols; c += block.size()) out[c] = T(exp_f32(float(in[c]) - top) * scale);
  }
};

// v3, vectors: as v2, but a thread moves 16 bytes with an instruction (vectorised.hpp): a quarter or an eighth of the loads for
// the same bytes, and that many more bytes under way.
template <class T>
struct SoftmaxVectorised {
  T* y;        // [rows, cols]
  const T* x;  // [rows, cols]
  i64 rows, cols;

  Grid grid() const { return {rows, 128}; }

  template <Block B>
  MG_HD void operator()(B& block) const {
    constexpr int V = vector_size<T>;
    const T* in = x + block.id() * cols;
    T* out = y + block.id() * cols;
    const bool aligned = is_vector_aligned(in) && is_vector_aligned(out);
    float top = -INFINITY, sum = 0.f;
    for_vectors<V>(block, cols, aligned, [&](auto width, i64 c) {
      float v[width];
      load<width>(v, in + c);
      for (int j = 0; j < width; ++j) top = Max{}(top, v[j]);
    });
    top = block.reduce(top, Max{});
    for_vectors<V>(block, cols, aligned, [&](auto width, i64 c) {
      float v[width];
      load<width>(v, in + c);
      for (int j = 0; j < width; ++j) sum += exp_f32(v[j] - top);
    });
    sum = block.reduce(sum, Sum{});
    const float scale = 1.f / sum;
    for_vectors<V>(block, cols, aligned, [&](auto width, i64 c) {
      float v[width];
      load<width>(v, in + c);
      for (int j = 0; j < width; ++j) v[j] = exp_f32(v[j] - top) * scale;
      store<width>(out + c, v);
    });
  }
};

// v4, registers: a warp does a row, reads it once and holds it in registers; its reductions are shuffles without a barrier, and
// an exponential is taken once an element. That is the kernel of the library, Softmax in kernels/softmax.hpp.
template <class T>
struct SoftmaxRegisters : Softmax<T> {
  SoftmaxRegisters(T* y, const T* x, i64 rows, i64 cols) : Softmax<T>{y, x, row_teams<T>(rows, cols)} {}
  Grid grid() const { return this->teams.grid(); }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel::lab
