// bf16 computed in f32: widen the inputs, compute there, round the result. For CPUs without bf16 instructions, and for products.
// Bytes: 6 an element each way. Large weights of a forward pass are widened a part of their outputs at a time.
#pragma once

#include <mindgap/core/conv_geometry.hpp>
#include <mindgap/core/memory.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <algorithm>
#include <memory>

namespace mindgap::cpu {
inline namespace MINDGAP_SET {

// An f32 array from the tensor pool, a copy of a bf16 array or to be rounded into one.
class Widened {
 public:
  explicit Widened(i64 size) : memory_(Pool<Cpu>::current().allocate(size * i64(sizeof(float)))), size_(size) {}
  Widened(const bf16* source, i64 size) : Widened(size) {
    float* to = data();
#pragma omp parallel for
    for (i64 i = 0; i < size; ++i) to[i] = float(source[i]);
  }
  // Rows of `cols` elements, into rows that are `stride` apart.
  void round(bf16* to, i64 cols, i64 stride) const {
    const float* from = data();
#pragma omp parallel for
    for (i64 row = 0; row < size_ / cols; ++row)
      for (i64 i = 0; i < cols; ++i) to[row * stride + i] = bf16(from[row * cols + i]);
  }
  void round(bf16* to) const {
    const float* from = data();
#pragma omp parallel for
    for (i64 i = 0; i < size_; ++i) to[i] = bf16(from[i]);
  }
  float* data() const { return static_cast<float*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
  i64 size_;
};

// f(first, count) for parts of the outputs whose weights, `inputs` of each, have 1 MiB in f32, or a panel for each thread: a
// network's memory is its weights then, not the scratch of its widest layers. Parts are whole panels, which changes no bit of the
// result. 0 inputs: one part.
template <class F>
void in_parts(i64 outputs, i64 inputs, F&& f) {
  constexpr i64 panel = 16, budget = i64(1) << 20;
  i64 part = outputs;
  if (inputs && outputs % panel == 0)
    part = std::max(panel * omp_get_max_threads(), budget / i64(sizeof(float)) / inputs / panel * panel);
  for (i64 first = 0; first < outputs; first += part) f(first, std::min(part, outputs - first));
}

// Elements from the first to the last of all matrices A, or B, gaps included.
constexpr i64 span(const MatmulGeometry& g, i64 rows, i64 columns, const MatrixStrides& s) {
  return (g.batch_outer - 1) * s.outer + (g.batch_inner - 1) * s.inner + (rows - 1) * s.row + columns;
}
constexpr i64 span_a(const MatmulGeometry& g) { return span(g, g.trans_a ? g.k : g.m, g.trans_a ? g.m : g.k, g.a); }
constexpr i64 span_b(const MatmulGeometry& g) { return span(g, g.trans_b ? g.n : g.k, g.trans_b ? g.k : g.n, g.b); }

}  // namespace MINDGAP_SET
}  // namespace mindgap::cpu
