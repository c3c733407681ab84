// The extents of a convolution, of a (batched) matrix product and of attention, as plain numbers that every backend shares.
// Nothing is checked here: ops check shapes and speak of names; backends trust what they are given.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <compare>

namespace mindgap {

// x [n, h, w, c_in], weights [c_out, kh, kw, c_in], y [n, out_h, out_w, c_out], all dense.
//   y[b, i, j, o] = sum over u, v, c of  x[b, i * stride_h + u - pad_h, j * stride_w + v - pad_w, c] * weights[o, u, v, c]
// with zeros outside x. Padding is equal on both sides; no groups, no dilation.
struct ConvGeometry {
  i64 n, h, w, c_in, c_out;
  i64 kh, kw;
  i64 stride_h = 1, stride_w = 1;
  i64 pad_h = 0, pad_w = 0;

  constexpr i64 out_h() const { return (h + 2 * pad_h - kh) / stride_h + 1; }
  constexpr i64 out_w() const { return (w + 2 * pad_w - kw) / stride_w + 1; }
  constexpr i64 x_size() const { return n * h * w * c_in; }
  constexpr i64 y_size() const { return n * out_h() * out_w() * c_out; }
  constexpr i64 weight_size() const { return c_out * kh * kw * c_in; }
  // Multiplications and additions of one direction; products with padding counted.
  constexpr double flops() const { return 2.0 * double(y_size()) * double(kh * kw * c_in); }

  auto operator<=>(const ConvGeometry&) const = default;

  std::string str() const {
    return text(n, " ", h, " ", w, " ", c_in, " ", c_out, " ", kh, " ", kw, " ", stride_h, " ", stride_w, " ", pad_h, " ", pad_w);
  }
};

// Where the matrices of a batch lie: element (b, i, r, c) is at b * outer + i * inner + r * row + c.
struct MatrixStrides {
  i64 outer, inner, row;

  auto operator<=>(const MatrixStrides&) const = default;
};

// batch_outer * batch_inner products C [m, n] = op(A) op(B); A is stored [m, k], or [k, m] if trans_a; B is stored
// [k, n], or [n, k] if trans_b. Two batch axes reach the heads of a [batch, length, heads, d] tensor without a copy:
// outer = length * heads * d, inner = d, row = heads * d. A stride of 0 shares one matrix (inputs only). k is at least 1.
struct MatmulGeometry {
  i64 batch_outer = 1, batch_inner = 1;
  i64 m, n, k;
  bool trans_a = false, trans_b = false;
  MatrixStrides a, b, c;

  // One product of dense row-major matrices.
  static constexpr MatmulGeometry dense(i64 m, i64 n, i64 k, bool trans_a = false, bool trans_b = false) {
    return {1, 1, m, n, k, trans_a, trans_b, {0, 0, trans_a ? m : k}, {0, 0, trans_b ? k : n}, {0, 0, n}};
  }

  constexpr i64 batch() const { return batch_outer * batch_inner; }
  constexpr double flops() const { return 2.0 * double(batch()) * double(m) * double(n) * double(k); }

  auto operator<=>(const MatmulGeometry&) const = default;
};

// y = softmax(q k^T / sqrt(d)) v for n * heads pairs of q [l, d] and k, v [m, d], which lie in q and y [n, l, heads * d] and in
// k and v [n, m, heads * d]. Causal: query i sees the keys 0 to i.
struct AttentionGeometry {
  i64 n, heads, l, m, d;
  bool causal = false;

  // Multiplications and additions of both products, forward.
  constexpr double flops() const { return 4.0 * double(n * heads) * double(l) * double(m) * double(d); }

  auto operator<=>(const AttentionGeometry&) const = default;
};

}  // namespace mindgap
