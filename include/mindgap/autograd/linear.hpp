// Convolution, matrix products and attention on variables.
//
// Each computes the tensor op and, if an input needs a gradient, records the backward that lies beside it in ops/. An
// input's value is kept only if the gradient of another input reads it.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/attention.hpp>
#include <mindgap/ops/conv_moments.hpp>
#include <mindgap/ops/matmul.hpp>

namespace mindgap {

namespace detail {

// y = conv2d(x, w, bias, options) as a variable.
template <Real T, Device D>
Var<T, 4, D> convolved(const Tensor<T, 4, D>& value, const Var<T, 4, D>& x, const Var<T, 4, D, float>& w,
                       const Var<float, 1, D>& bias, ConvOptions options) {
  const bool needed = x.needs_gradient() || w.needs_gradient() || bias.needs_gradient();
  Var<T, 4, D> y(value, detail::tape_of(x, w, bias), needed);
  if (needed) {
    y.tape().reads(w.needs_gradient() ? x.value() : Tensor<T, 4, D>(), x.needs_gradient() ? w.value() : Tensor<T, 4, D>());
    y.tape().record([=, xs = x.slot(), ws = w.slot(), bs = bias.slot(), ys = y.slot(),
                     x = w.needs_gradient() ? x.value() : Tensor<T, 4, D>(),
                     w = x.needs_gradient() ? w.value() : Tensor<T, 4, D>()] {
      if (!ys->written()) return;
      const auto& grad_y = ys->gradient();
      if (ws) {
        const auto grad_w = ws->destination();
        const auto grad_bias = bs ? bs->destination() : Tensor<float, 1, D>();
        ws->commit(grad_w, narrow_backward_weights(grad_w, grad_bias, x, grad_y, options));
        if (bs) bs->commit(grad_bias);
      } else if (bs) {
        bs->write([&](const auto& out) { bias_backward(out, grad_y); });
      }
      if (xs) xs->write_sum([&](const auto& out, const auto& before) { conv2d_backward_data(out, grad_y, w, options, before); });
    });
  }
  return y;
}

}  // namespace detail

// Convolution; gradients of x, w and the bias, which may be left out.
template <Real T, Device D>
Var<T, 4, D> conv2d(const Var<T, 4, D>& x, const Var<T, 4, D, float>& w, const Var<float, 1, D>& bias = {},
                    ConvOptions options = {}, Location at = Location::current()) {
  const Caller caller(at);
  return detail::convolved(conv2d(x.value(), w.value(), bias.value(), options), x, w, bias, options);
}

// Of weights that have their gradient in another type than f32.
template <class X, detail::NarrowWeight W, class B = Tensor<float, 1>>
requires(!detail::misfits<4, 4, X, W>) auto conv2d(const X& x, const W&, const B& = {}, ConvOptions = {}) {
  detail::explain_narrow_weight<W>();
  return x;
}

// The same without a bias, and the moments of its channels for the norm that follows, which need no gradient.
template <Real T, Device D>
WithMoments<Var<T, 4, D>, D> conv2d_with_moments(const Var<T, 4, D>& x, const Var<T, 4, D, float>& w, ConvOptions options = {},
                                                 Location at = Location::current()) {
  const Caller caller(at);
  const auto of = conv2d_with_moments(x.value(), w.value(), options);
  return {detail::convolved(of.y, x, w, {}, options), of.moments};
}

// x w^T + bias; gradients of x, w and the bias, which may be left out.
template <Real T, int N, Device D>
Var<T, N, D> linear(const Var<T, N, D>& x, const Var<T, 2, D, float>& w, const Var<float, 1, D>& bias = {},
                    Location at = Location::current()) {
  const Caller caller(at);
  const bool needed = x.needs_gradient() || w.needs_gradient() || bias.needs_gradient();
  Var<T, N, D> y(linear(x.value(), w.value(), bias.value()), detail::tape_of(x, w, bias), needed);
  if (needed) {
    y.tape().reads(w.needs_gradient() ? x.value() : Tensor<T, N, D>(), x.needs_gradient() ? w.value() : Tensor<T, 2, D>());
    y.tape().record([xs = x.slot(), ws = w.slot(), bs = bias.slot(), ys = y.slot(),
                     x = w.needs_gradient() ? x.value() : Tensor<T, N, D>(),
                     w = x.needs_gradient() ? w.value() : Tensor<T, 2, D>()] {
      if (!ys->written()) return;
      const auto& grad_y = ys->gradient();
      if (ws) ws->write([&](const auto& out) { linear_backward_weight(out, x, grad_y); });
      if (bs) bs->write([&](const auto& out) { bias_backward(out, grad_y); });
      if (xs) xs->write([&](const auto& out) { linear_backward_data(out, grad_y, w); });
    });
  }
  return y;
}

// Of weights that have their gradient in another type than f32.
template <class X, detail::NarrowWeight W, class... Rest>
requires(!detail::misfits<0, 2, X, W>) auto linear(const X& x, const W&, const Rest&...) {
  detail::explain_narrow_weight<W>();
  return x;
}

// [x, skip] w^T + bias, without the concatenation; gradients of all four.
template <Real T, int N, Device D>
Var<T, N, D> linear_pair(const Var<T, N, D>& x, const Var<T, N, D>& skip, const Var<T, 2, D, float>& w,
                         const Var<float, 1, D>& bias, Location at = Location::current()) {
  const Caller caller(at);
  const bool needed = x.needs_gradient() || skip.needs_gradient() || w.needs_gradient() || bias.needs_gradient();
  Var<T, N, D> y(linear_pair(x.value(), skip.value(), w.value(), bias.value()), detail::tape_of(x, skip, w, bias), needed);
  if (needed) {
    y.tape().reads(x.value(), skip.value(), w.value());
    y.tape().record([xs = x.slot(), ss = skip.slot(), ws = w.slot(), bs = bias.slot(), ys = y.slot(), x = x.value(),
                     skip = skip.value(), w = w.value()] {
      if (!ys->written()) return;
      const auto& grad_y = ys->gradient();
      if (ws) ws->write([&](const auto& out) { linear_pair_backward_weight(out, x, skip, grad_y); });
      if (bs) bs->write([&](const auto& out) { bias_backward(out, grad_y); });
      const auto grad_x = xs ? xs->destination() : Tensor<T, N, D>(), grad_skip = ss ? ss->destination() : Tensor<T, N, D>();
      linear_pair_backward_data(grad_x, grad_skip, grad_y, w, x.cols());
      if (xs) xs->commit(grad_x);
      if (ss) ss->commit(grad_skip);
    });
  }
  return y;
}

// c = op(a) op(b) for each of a batch; op transposes where asked. With A = op(a), B = op(b): dA = dc B^T, dB = A^T dc.
template <Real T, Device D>
Var<T, 3, D> matmul(const Var<T, 3, D>& a, const Var<T, 3, D>& b, bool transpose_a = false, bool transpose_b = false,
                    Location at = Location::current()) {
  const Caller caller(at);
  const bool needed = a.needs_gradient() || b.needs_gradient();
  Var<T, 3, D> c(matmul(a.value(), b.value(), transpose_a, transpose_b), detail::tape_of(a, b), needed);
  if (needed) {
    c.tape().reads(b.needs_gradient() ? a.value() : Tensor<T, 3, D>(), a.needs_gradient() ? b.value() : Tensor<T, 3, D>());
    c.tape().record([transpose_a, transpose_b, as = a.slot(), bs = b.slot(), cs = c.slot(),
                     a = b.needs_gradient() ? a.value() : Tensor<T, 3, D>(),
                     b = a.needs_gradient() ? b.value() : Tensor<T, 3, D>()] {
      if (!cs->written()) return;
      const auto& grad = cs->gradient();
      if (as) as->pass(transpose_a ? matmul(b, grad, transpose_b, true) : matmul(grad, b, false, !transpose_b));
      if (bs) bs->pass(transpose_b ? matmul(grad, a, true, transpose_a) : matmul(a, grad, !transpose_a, false));
    });
  }
  return c;
}

// The attended values alone; attention() on tensors gives what the backward reads too.
template <Real T, Device D>
Tensor<T, 3, D> attend(const Tensor<T, 3, D>& q, const Tensor<T, 3, D>& k, const Tensor<T, 3, D>& v, i64 heads,
                       bool causal = false, Location at = Location::current()) {
  const Caller caller(at);
  return attention(q, k, v, heads, causal).y;
}
// Attention; gradients of q, k and v. Where the device makes it in one pass the probabilities are computed again.
template <Real T, Device D>
Var<T, 3, D> attend(const Var<T, 3, D>& q, const Var<T, 3, D>& k, const Var<T, 3, D>& v, i64 heads, bool causal = false,
                    Location at = Location::current()) {
  const Caller caller(at);
  const bool needed = q.needs_gradient() || k.needs_gradient() || v.needs_gradient();
  const Attention<T, D> attended = attention(q.value(), k.value(), v.value(), heads, causal);
  Var<T, 3, D> y(attended.y, detail::tape_of(q, k, v), needed);
  if (needed) {
    y.tape().reads(q.value(), k.value(), v.value(), y.value());
    y.tape().record([saved = attended.saved(), qs = q.slot(), ks = k.slot(), vs = v.slot(), ys = y.slot(), q = q.value(),
                     k = k.value(), v = v.value()] {
      if (!ys->written()) return;
      const auto destination = [](const auto& slot) { return slot ? slot->destination() : Tensor<T, 3, D>(); };
      const auto grad_q = destination(qs), grad_k = destination(ks), grad_v = destination(vs);
      attention_backward(grad_q, grad_k, grad_v, ys->gradient(), q, k, v, saved);
      if (qs) qs->commit(grad_q);
      if (ks) ks->commit(grad_k);
      if (vs) vs->commit(grad_v);
    });
  }
  return y;
}

// Of operands that do not fit.
template <class Q, class K, class V>
requires(detail::misfits<3, 3, Q, K> || detail::misfits<3, 3, Q, V>) auto attend(const Q& q, const K&, const V&, i64,
                                                                                 bool = false) {
  static_assert(!detail::alike<Q, K> || !detail::alike<Q, V>, "mindgap: attend wants q [N, L, E] and k and v [N, M, E]");
  if constexpr (!detail::alike<Q, K>) detail::explain<Q, K>();
  else detail::explain<Q, V>();
  return q;
}

}  // namespace mindgap
