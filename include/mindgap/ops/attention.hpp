// Attention, softmax(q k^T / sqrt(d)) v per head (Vaswani et al., "Attention is all you need", equation 1).
//
// q [N, L, heads * d], k and v [N, M, heads * d], y [N, L, heads * d]; the heads lie side by side in the innermost axis
// and are reached by strides, nothing is transposed. Causal: query i sees the keys 0 to i (torch's is_causal). Three ways; each
// saves what its backward reads:
//
//   in one pass      where the device's library can (GPU: bf16 and f16, d a multiple of 8 up to 256; CPU:
//   cpu/direct_attention.hpp,
//                    for many tokens): saves the statistics [N, heads, L], the logarithm of each row's sum of exponentials; a
//                    backward without a pass of its own computes the probabilities again
//   products         product, softmax, product: saves the probabilities [N, heads, L, M], which suits short sequences (the 7x7
//                    tokens of a small U-Net)
//   products of rows where the probabilities would take more than 64 MiB: some queries at a time, saving nothing; the backward
//                    computes the probabilities again, likewise
#pragma once

#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/pointwise.hpp>
#include <mindgap/ops/softmax.hpp>

#include <cmath>

namespace mindgap {
namespace detail {

template <class T, Device D>
AttentionGeometry attention_geometry(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads,
                                     bool causal) {
  const bool fits =
      heads > 0 && q.cols() % heads == 0 && k.shape() == v.shape() && k.cols() == q.cols() && k.extent(0) == q.extent(0);
  if (!fits)
    throw Error(text("attention: q, k and v do not fit ", heads, " heads"), {{"q", q.str()}, {"k", k.str()}, {"v", v.str()}});
  if (q.extent(1) == 0 || k.extent(1) == 0) throw Error("attention: there are no tokens", {{"q", q.str()}, {"k", k.str()}});
  return {q.extent(0), heads, q.extent(1), k.extent(1), q.cols() / heads, causal};
}

// Of `products` products of the size of q k^T, two forward and five backward (one of which makes the probabilities again).
inline double attention_flops(const AttentionGeometry& g, double products) {
  return 2 * products * double(g.n * g.heads * g.l) * double(g.m * g.d);
}

// Some queries of every head, and the products with their probabilities [N, heads, count, M].
struct QueryRows {
  AttentionGeometry g;
  i64 first, count;

  i64 c() const { return g.heads * g.d; }
  i64 offset() const { return first * c(); }  // into q, y and their gradients
  MatrixStrides of_queries() const { return {g.l * c(), g.d, c()}; }
  MatrixStrides of_keys() const { return {g.m * c(), g.d, c()}; }
  MatrixStrides of_probabilities() const { return {g.heads * count * g.m, count * g.m, g.m}; }
  bool all() const { return count == g.l; }

  // [count, M] = queries [count, d] keys [M, d]^T
  MatmulGeometry scores() const {
    return {g.n, g.heads, count, g.m, g.d, false, true, of_queries(), of_keys(), of_probabilities()};
  }
  // [count, d] = probabilities [count, M] keys [M, d]
  MatmulGeometry to_queries() const {
    return {g.n, g.heads, count, g.d, g.m, false, false, of_probabilities(), of_keys(), of_queries()};
  }
  // [M, d] = probabilities [count, M]^T queries [count, d]
  MatmulGeometry to_keys() const {
    return {g.n, g.heads, g.m, g.d, count, true, false, of_probabilities(), of_queries(), of_keys()};
  }
};

// f(QueryRows) for all queries, as many at a time as have at most 64 MiB of probabilities.
template <class T, class F>
void for_query_rows(const AttentionGeometry& g, F&& f) {
  const i64 at_once = std::clamp<i64>((i64(64) << 20) / std::max<i64>(1, g.n * g.heads * g.m * i64(sizeof(T))), 1, g.l);
  const i64 parts = (g.l + at_once - 1) / at_once;
  for (i64 i = 0; i < parts; ++i) f(QueryRows{g, g.l * i / parts, g.l * (i + 1) / parts - g.l * i / parts});
}

// [N, heads, count, M]
template <class T, Device D>
Tensor<T, 4, D> probabilities(const QueryRows& rows, const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k) {
  const AttentionGeometry& g = rows.g;
  Tensor<T, 4, D> scores({g.n, g.heads, rows.count, g.m});
  Library<D>::matmul(rows.scores(), scores.data(), q.data() + rows.offset(), k.data(), 1.f / std::sqrt(float(g.d)));
  if (g.causal)
    Runtime<D>::launch(Grid{g.n * g.heads * rows.count}, kernel::CausalMask<T>{scores.data(), rows.count, g.m, rows.first});
  softmax_into(scores, scores);
  return scores;
}

// What parts of the queries add to a gradient of keys: in f32, and rounded once, where there are several.
template <class T, Device D>
class KeyGradient {
 public:
  KeyGradient(const Tensor<T, 3, D>& to, bool sums) : to_(to) {
    if (!std::is_same_v<T, float> && sums && to.defined()) sum_ = Tensor<float, 3, D>(to.shape());
  }
  void add(const MatmulGeometry& g, const T* p, const T* other, float scale, bool first) {
    if (sum_.defined()) Library<D>::matmul(g, sum_.data(), p, other, scale, !first);
    else Library<D>::matmul(g, to_.data(), p, other, scale, !first);
  }
  void finish() {
    if (sum_.defined()) cast_into(to_, sum_);
  }

 private:
  Tensor<T, 3, D> to_;
  Tensor<float, 3, D> sum_;
};

}  // namespace detail

// The result, and what the backward reads besides q, k and v.
template <class T, Device D>
struct Attention {
  i64 heads;
  Tensor<T, 3, D> y;               // [N, L, heads * d]
  Tensor<T, 4, D> probabilities;   // [N, heads, L, M], if made of products
  Tensor<float, 3, D> statistics;  // [N, heads, L], if made in one pass
  bool causal = false;

  // Without what the backward does not read.
  Attention saved() const { return {heads, statistics.defined() ? y : Tensor<T, 3, D>(), probabilities, statistics, causal}; }
};

template <Real T, Device D>
Attention<T, D> attention(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads,
                          bool causal = false, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("attention");
  const AttentionGeometry g = detail::attention_geometry(q, k, v, heads, causal);
  const Tensor<T, 3, D> y(q.shape());
  op.moves(q, k, v, y);
  op.computes(detail::attention_flops(g, 2));
  if constexpr (Library<D>::template fuses_attention<T>) {
    const Tensor<float, 3, D> statistics({g.n, g.heads, g.l});
    if (Library<D>::attention(g, y.data(), statistics.data(), q.data(), k.data(), v.data()))
      return {heads, y, {}, statistics, causal};
  }
  Tensor<T, 4, D> kept;
  detail::for_query_rows<T>(g, [&](const detail::QueryRows& rows) {
    const Tensor<T, 4, D> p = detail::probabilities(rows, q, k);
    Library<D>::matmul(rows.to_queries(), y.data() + rows.offset(), p.data(), v.data());
    if (rows.all()) kept = p;
  });
  return {heads, y, kept, {}, causal};
}

// Overwrites grad_q, grad_k and grad_v. An undefined one is not wanted.
template <Real T, Device D>
void attention_backward(const Tensor<T, 3, D>& grad_q, const Tensor<T, 3, D>& grad_k, const Tensor<T, 3, D>& grad_v,
                        const Tensor<T, 3, D>& grad_y, const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k,
                        const Tensor<T, 3, D>& v, const Attention<T, D>& saved) {
  written(grad_q, grad_k, grad_v);
  const Op<D> op("attention backward");
  const AttentionGeometry g = detail::attention_geometry(q, k, v, saved.heads, saved.causal);
  op.moves(grad_q, grad_k, grad_v, grad_y, q, k, v);
  op.computes(detail::attention_flops(g, 5));
  if constexpr (Library<D>::template fuses_attention<T>) {
    if (saved.statistics.defined() &&
        Library<D>::attention_backward(g, grad_q.data(), grad_k.data(), grad_v.data(), grad_y.data(), saved.y.data(),
                                       saved.statistics.data(), q.data(), k.data(), v.data()))
      return;
  }
  const float scale = 1.f / std::sqrt(float(g.d));
  bool several = false;
  detail::for_query_rows<T>(g, [&](const detail::QueryRows& rows) { several = !rows.all(); });
  detail::KeyGradient<T, D> to_k(grad_k, several), to_v(grad_v, several);
  detail::for_query_rows<T>(g, [&](const detail::QueryRows& rows) {
    const bool first = rows.first == 0;
    const Tensor<T, 4, D> p = saved.probabilities.defined() ? saved.probabilities : detail::probabilities(rows, q, k);
    if (grad_v.defined()) to_v.add(rows.to_keys(), p.data(), grad_y.data() + rows.offset(), 1.f, first);
    if (!grad_q.defined() && !grad_k.defined()) return;
    Tensor<T, 4, D> grad_p(p.shape());
    Library<D>::matmul(rows.scores(), grad_p.data(), grad_y.data() + rows.offset(), v.data());
    Tensor<T, 4, D> grad_scores(p.shape());
    softmax_backward(grad_scores, p, grad_p);
    if (grad_q.defined())
      Library<D>::matmul(rows.to_queries(), grad_q.data() + rows.offset(), grad_scores.data(), k.data(), scale);
    if (grad_k.defined()) to_k.add(rows.to_keys(), grad_scores.data(), q.data() + rows.offset(), scale, first);
  });
  to_k.finish();
  to_v.finish();
}

}  // namespace mindgap
