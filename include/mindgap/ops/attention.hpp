// Attention, softmax(q k^T / sqrt(d)) v per head (Vaswani et al., "Attention is all you need", equation 1).
//
// q [N, L, heads * d], k and v [N, M, heads * d], y [N, L, heads * d]; the heads lie side by side in the innermost axis
// and are reached by strides, nothing is transposed. Product, softmax, product: the probabilities [N, heads, L, M] are
// stored, which suits short sequences (the 7x7 tokens of a small U-Net) and is what the backward reads.
#pragma once

#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/softmax.hpp>

#include <cmath>

namespace mindgap {
namespace detail {

// scores[n, h] = a[n, :, h] b[n, :, h]^T: [L, M] from [N, L, heads * d] and [N, M, heads * d]
inline MatmulGeometry scores_geometry(i64 n, i64 heads, i64 l, i64 m, i64 d) {
  const i64 c = heads * d;
  return {n, heads, l, m, d, false, true, {l * c, d, c}, {m * c, d, c}, {heads * l * m, l * m, m}};
}
// out[n, :, h] = p[n, h] b[n, :, h], or p^T if transposed: [L, d] from [N, heads, L, M] and [N, M, heads * d]
inline MatmulGeometry values_geometry(i64 n, i64 heads, i64 l, i64 m, i64 d, bool transposed) {
  const i64 c = heads * d, rows = transposed ? m : l, inner = transposed ? l : m;
  return {n, heads, rows, d, inner, transposed, false, {heads * l * m, l * m, m}, {inner * c, d, c}, {rows * c, d, c}};
}

template <class T, Device D>
void check_attention(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads) {
  const bool fits =
      heads > 0 && q.cols() % heads == 0 && k.shape() == v.shape() && k.cols() == q.cols() && k.extent(0) == q.extent(0);
  if (!fits)
    throw Error(text("attention: q, k and v do not fit ", heads, " heads"), {{"q", q.str()}, {"k", k.str()}, {"v", v.str()}});
}

}  // namespace detail

template <class T, Device D>
struct Attention {
  Tensor<T, 3, D> y;              // [N, L, heads * d]
  Tensor<T, 4, D> probabilities;  // [N, heads, L, M]
};

template <Real T, Device D>
Attention<T, D> attention(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads) {
  detail::check_attention(q, k, v, heads);
  const i64 n = q.extent(0), l = q.extent(1), m = k.extent(1), d = q.cols() / heads;
  Tensor<T, 4, D> scores({n, heads, l, m});
  Library<D>::matmul(detail::scores_geometry(n, heads, l, m, d), scores.data(), q.data(), k.data(), 1.f / std::sqrt(float(d)));
  Tensor<T, 4, D> p = softmax(scores);
  Tensor<T, 3, D> y(q.shape());
  Library<D>::matmul(detail::values_geometry(n, heads, l, m, d, false), y.data(), p.data(), v.data());
  return {y, p};
}

// Overwrites grad_q, grad_k and grad_v. An undefined one is not wanted.
template <Real T, Device D>
void attention_backward(const Tensor<T, 3, D>& grad_q, const Tensor<T, 3, D>& grad_k, const Tensor<T, 3, D>& grad_v,
                        const Tensor<T, 3, D>& grad_y, const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k,
                        const Tensor<T, 3, D>& v, const Tensor<T, 4, D>& p) {
  const i64 n = p.extent(0), heads = p.extent(1), l = p.extent(2), m = p.extent(3), d = q.cols() / heads;
  const float scale = 1.f / std::sqrt(float(d));
  if (grad_v.defined())
    Library<D>::matmul(detail::values_geometry(n, heads, l, m, d, true), grad_v.data(), p.data(), grad_y.data());
  if (!grad_q.defined() && !grad_k.defined()) return;
  Tensor<T, 4, D> grad_p(p.shape());
  Library<D>::matmul(detail::scores_geometry(n, heads, l, m, d), grad_p.data(), grad_y.data(), v.data());
  Tensor<T, 4, D> grad_scores(p.shape());
  softmax_backward(grad_scores, p, grad_p);
  if (grad_q.defined())
    Library<D>::matmul(detail::values_geometry(n, heads, l, m, d, false), grad_q.data(), grad_scores.data(), k.data(), scale);
  if (grad_k.defined())
    Library<D>::matmul(detail::values_geometry(n, heads, l, m, d, true), grad_k.data(), grad_scores.data(), q.data(), scale);
}

}  // namespace mindgap
