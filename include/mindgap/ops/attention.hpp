// Attention, softmax(q k^T / sqrt(d)) v per head (Vaswani et al., "Attention is all you need", equation 1).
//
// q [N, L, heads * d], k and v [N, M, heads * d], y [N, L, heads * d]; the heads lie side by side in the innermost axis
// and are reached by strides, nothing is transposed. Two ways, and either saves what its backward reads:
//
//   in one pass   where the device's library can (GPU, bf16 and f16, d a multiple of 8 up to 256): saves the statistics
//                 [N, heads, L], the logarithm of each row's sum of exponentials; the backward computes the probabilities again
//   products      product, softmax, product: saves the probabilities [N, heads, L, M], which suits short sequences (the 7x7
//                 tokens of a small U-Net)
#pragma once

#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/softmax.hpp>

#include <cmath>

namespace mindgap {
namespace detail {

// scores[n, h] = a[n, :, h] b[n, :, h]^T: [L, M] from [N, L, heads * d] and [N, M, heads * d]
inline MatmulGeometry scores_geometry(const AttentionGeometry& g) {
  const i64 c = g.heads * g.d;
  return {g.n, g.heads, g.l, g.m, g.d, false, true, {g.l * c, g.d, c}, {g.m * c, g.d, c}, {g.heads * g.l * g.m, g.l * g.m, g.m}};
}
// out[n, :, h] = p[n, h] b[n, :, h], or p^T if transposed: [L, d] from [N, heads, L, M] and [N, M, heads * d]
inline MatmulGeometry values_geometry(const AttentionGeometry& g, bool transposed) {
  const i64 c = g.heads * g.d, rows = transposed ? g.m : g.l, inner = transposed ? g.l : g.m;
  const MatrixStrides p{g.heads * g.l * g.m, g.l * g.m, g.m};
  return {g.n, g.heads, rows, g.d, inner, transposed, false, p, {inner * c, g.d, c}, {rows * c, g.d, c}};
}

template <class T, Device D>
AttentionGeometry attention_geometry(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads) {
  const bool fits =
      heads > 0 && q.cols() % heads == 0 && k.shape() == v.shape() && k.cols() == q.cols() && k.extent(0) == q.extent(0);
  if (!fits)
    throw Error(text("attention: q, k and v do not fit ", heads, " heads"), {{"q", q.str()}, {"k", k.str()}, {"v", v.str()}});
  return {q.extent(0), heads, q.extent(1), k.extent(1), q.cols() / heads};
}

// Of `products` products of the size of q k^T, two forward and five backward (one of which makes the probabilities again).
inline double attention_flops(const AttentionGeometry& g, double products) {
  return 2 * products * double(g.n * g.heads * g.l) * double(g.m * g.d);
}

// [N, heads, L, M]
template <class T, Device D>
Tensor<T, 4, D> probabilities(const AttentionGeometry& g, const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k) {
  Tensor<T, 4, D> scores({g.n, g.heads, g.l, g.m});
  Library<D>::matmul(scores_geometry(g), scores.data(), q.data(), k.data(), 1.f / std::sqrt(float(g.d)));
  return softmax(scores);
}

}  // namespace detail

// The result, and what the backward reads besides q, k and v.
template <class T, Device D>
struct Attention {
  i64 heads;
  Tensor<T, 3, D> y;               // [N, L, heads * d]
  Tensor<T, 4, D> probabilities;   // [N, heads, L, M], if made of products
  Tensor<float, 3, D> statistics;  // [N, heads, L], if made in one pass

  // Without what the backward does not read.
  Attention saved() const { return {heads, statistics.defined() ? y : Tensor<T, 3, D>(), probabilities, statistics}; }
};

template <Real T, Device D>
Attention<T, D> attention(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads,
                          Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("attention");
  const AttentionGeometry g = detail::attention_geometry(q, k, v, heads);
  const Tensor<T, 3, D> y(q.shape());
  op.moves(q, k, v, y);
  op.computes(detail::attention_flops(g, 2));
  if constexpr (Library<D>::template fuses_attention<T>) {
    const Tensor<float, 3, D> statistics({g.n, g.heads, g.l});
    if (Library<D>::attention(g, y.data(), statistics.data(), q.data(), k.data(), v.data())) return {heads, y, {}, statistics};
  }
  const Tensor<T, 4, D> p = detail::probabilities(g, q, k);
  Library<D>::matmul(detail::values_geometry(g, false), y.data(), p.data(), v.data());
  return {heads, y, p, {}};
}

// Overwrites grad_q, grad_k and grad_v. An undefined one is not wanted.
template <Real T, Device D>
void attention_backward(const Tensor<T, 3, D>& grad_q, const Tensor<T, 3, D>& grad_k, const Tensor<T, 3, D>& grad_v,
                        const Tensor<T, 3, D>& grad_y, const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k,
                        const Tensor<T, 3, D>& v, const Attention<T, D>& saved) {
  written(grad_q, grad_k, grad_v);
  const Op<D> op("attention backward");
  const AttentionGeometry g = detail::attention_geometry(q, k, v, saved.heads);
  op.moves(grad_q, grad_k, grad_v, grad_y, q, k, v);
  op.computes(detail::attention_flops(g, 5));
  Tensor<T, 4, D> p = saved.probabilities;
  if constexpr (Library<D>::template fuses_attention<T>) {
    if (!p.defined()) {
      if (Library<D>::attention_backward(g, grad_q.data(), grad_k.data(), grad_v.data(), grad_y.data(), saved.y.data(),
                                         saved.statistics.data(), q.data(), k.data(), v.data()))
        return;
      p = detail::probabilities(g, q, k);
    }
  }
  const float scale = 1.f / std::sqrt(float(g.d));
  if (grad_v.defined()) Library<D>::matmul(detail::values_geometry(g, true), grad_v.data(), p.data(), grad_y.data());
  if (!grad_q.defined() && !grad_k.defined()) return;
  Tensor<T, 4, D> grad_p(p.shape());
  Library<D>::matmul(detail::scores_geometry(g), grad_p.data(), grad_y.data(), v.data());
  Tensor<T, 4, D> grad_scores(p.shape());
  softmax_backward(grad_scores, p, grad_p);
  if (grad_q.defined()) Library<D>::matmul(detail::values_geometry(g, false), grad_q.data(), grad_scores.data(), k.data(), scale);
  if (grad_k.defined()) Library<D>::matmul(detail::values_geometry(g, true), grad_k.data(), grad_scores.data(), q.data(), scale);
}

}  // namespace mindgap
