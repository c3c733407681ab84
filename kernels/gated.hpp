// A gated activation, GEGLU (Shazeer, "GLU variants improve transformer", 2020): the first half of a row times gelu of the
// second, which are read where they lie.
//
//   Geglu           reads both halves, writes y                          3 sizeof(T) bytes an element of y
//   GegluBackward   reads both halves and grad_y, writes both gradients  5 sizeof(T)
#pragma once

#include <mindgap/core/math.hpp>
#include <mindgap/kernels/vectorised.hpp>

namespace mindgap::kernel {
inline namespace MINDGAP_SET {

// y[r, c] = x[r, c] gelu(x[r, cols + c])                                      one block does a row
template <class T>
struct Geglu {
  T* y;        // [rows, cols]
  const T* x;  // [rows, 2 cols]
  i64 cols;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T *left = x + block.id() * 2 * cols, *gate = left + cols;
    T* out = y + block.id() * cols;
    const bool aligned = is_vector_aligned(left) && is_vector_aligned(gate) && is_vector_aligned(out);
    for_vectors<vector_size<T>>(block, cols, aligned, [&](auto width, i64 c) {
      constexpr int V = width;
      float a[V], g[V];
      load<V>(a, left + c);
      load<V>(g, gate + c);
      for (int j = 0; j < V; ++j) a[j] *= gelu_f32(g[j]);
      store<V>(out + c, a);
    });
  }
};

template <class T>
struct GegluBackward {
  T* grad_x;        // [rows, 2 cols]
  const T* grad_y;  // [rows, cols]
  const T* x;       // [rows, 2 cols]
  i64 cols;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T *left = x + block.id() * 2 * cols, *gate = left + cols, *from = grad_y + block.id() * cols;
    T *to_left = grad_x + block.id() * 2 * cols, *to_gate = to_left + cols;
    const bool aligned = is_vector_aligned(left) && is_vector_aligned(gate) && is_vector_aligned(from) &&
                         is_vector_aligned(to_left) && is_vector_aligned(to_gate);
    for_vectors<vector_size<T>>(block, cols, aligned, [&](auto width, i64 c) {
      constexpr int V = width;
      float a[V], g[V], d[V], of_gate[V];
      load<V>(a, left + c);
      load<V>(g, gate + c);
      load<V>(d, from + c);
      for (int j = 0; j < V; ++j) {
        of_gate[j] = d[j] * a[j] * gelu_slope_f32(g[j]);
        d[j] *= gelu_f32(g[j]);
      }
      store<V>(to_left + c, d);
      store<V>(to_gate + c, of_gate);
    });
  }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::kernel
