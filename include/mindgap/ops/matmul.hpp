// Matrix products: matmul of batched matrices, and linear (a product with a transposed weight and a bias).
//
//   matmul   c[b] = op(a[b]) op(b[b])          a [B, M, K], b [B, K, N], c [B, M, N]; a flag transposes the last two axes
//   linear   y = x w^T + bias                  x [..., I], w [O, I], bias [O] f32, y [..., O]
#pragma once

#include <mindgap/kernels/reduce.hpp>
#include <mindgap/ops/conv.hpp>

namespace mindgap {

template <Real T, Device D>
Tensor<T, 3, D> matmul(const Tensor<T, 3, D>& a, const Tensor<T, 3, D>& b, bool transpose_a = false, bool transpose_b = false,
                       Location at = Location::current()) {
  const Caller caller(at);
  detail::assert_computes<D, T>();
  const Op<D> op("matmul");
  const i64 m = a.extent(transpose_a ? 2 : 1), k = a.extent(transpose_a ? 1 : 2);
  const i64 n = b.extent(transpose_b ? 1 : 2), kb = b.extent(transpose_b ? 2 : 1);
  if (a.extent(0) != b.extent(0) || k != kb)
    throw Error("matmul: the operands do not fit",
                {{"a", a.str() + (transpose_a ? " transposed" : "")}, {"b", b.str() + (transpose_b ? " transposed" : "")}});
  Tensor<T, 3, D> c({a.extent(0), m, n});
  MatmulGeometry g = MatmulGeometry::dense(m, n, k, transpose_a, transpose_b);
  g.batch_outer = a.extent(0);
  g.a.outer = m * k, g.b.outer = k * n, g.c.outer = m * n;
  op.moves(a, b, c);
  op.computes(g.flops());
  if (k == 0) Runtime<D>::zero(c.data(), c.bytes());
  else if (c.size()) Library<D>::matmul(g, c.data(), a.data(), b.data());
  return c;
}

namespace detail {

// Throws unless bias fits w and there is a weight at all.
template <class T, Device D>
void check_linear(const Tensor<T, 2, D>& w, const Tensor<float, 1, D>& bias) {
  if (bias.defined() && bias.size() != w.extent(0))
    throw Error(text("linear: bias has ", bias.size(), " elements, weight has ", w.extent(0), " outputs"), {{"weight", w.str()}});
  if (!w.size()) throw Error("linear: the weight has no elements", {{"weight", w.str()}});
}

}  // namespace detail

template <Real T, int N, Device D>
Tensor<T, N, D> linear(const Tensor<T, N, D>& x, const Tensor<T, 2, D>& w, const Tensor<float, 1, D>& bias = {},
                       Location at = Location::current()) {
  const Caller caller(at);
  detail::assert_computes<D, T>();
  const Op<D> op("linear");
  if (x.cols() != w.extent(1))
    throw Error(text("linear: input has ", x.cols(), " features, weight wants ", w.extent(1)),
                {{"input", x.str()}, {"weight", w.str()}});
  detail::check_linear(w, bias);
  Shape<N> shape = x.shape();
  shape[N - 1] = w.extent(0);
  Tensor<T, N, D> y(shape);
  const auto g = MatmulGeometry::dense(x.rows(), w.extent(0), x.cols(), false, true);
  op.moves(x, w, bias, y);
  op.computes(g.flops());
  if (y.size()) Library<D>::matmul(g, y.data(), x.data(), w.data(), 1.f, false, bias.data());
  return y;
}

// Of operands that do not fit.
template <class A, class B, class... Rest>
requires detail::misfits<3, 3, A, B>
auto matmul(const A& a, const B&, const Rest&...) {
  static_assert(!detail::alike<A, B>,
                "mindgap: matmul wants batches of matrices, [B, M, K] and [B, K, N]; linear(x, w) is x w^T");
  detail::explain<A, B>();
  return a;
}
template <class X, class W, class B = Tensor<float, 1>>
requires detail::misfits<0, 2, X, W>
auto linear(const X& x, const W&, const B& = {}) {
  static_assert(!detail::alike<X, W>, "mindgap: linear wants rows [..., I] and weights [O, I]");
  detail::explain<X, W>();
  return x;
}

namespace detail {

// One part of a product with weights [O, I1 + I2]: y (+)= x w[:, offset : offset + I]^T, the parts lying side by side in w.
inline MatmulGeometry part_geometry(i64 rows, i64 in, i64 out, i64 w_cols) {
  return {1, 1, rows, out, in, false, true, {0, 0, in}, {0, 0, w_cols}, {0, 0, out}};
}

}  // namespace detail

// y = [x, skip] w^T + bias for x [..., I1] and skip [..., I2] that lie side by side along the features, w [O, I1 + I2],
// without concatenating them: two products, accumulated.
template <Real T, int N, Device D>
Tensor<T, N, D> linear_pair(const Tensor<T, N, D>& x, const Tensor<T, N, D>& skip, const Tensor<T, 2, D>& w,
                            const Tensor<float, 1, D>& bias, Location at = Location::current()) {
  const Caller caller(at);
  detail::assert_computes<D, T>();
  const Op<D> op("linear of two");
  const auto fail = [&](const std::string& what) {
    throw Error("linear: " + what, {{"input", x.str()}, {"skip", skip.str()}, {"weight", w.str()}});
  };
  if (x.cols() + skip.cols() != w.extent(1))
    fail(text("the inputs have ", x.cols(), " + ", skip.cols(), " features, weight wants ", w.extent(1)));
  for (int axis = 0; axis < N - 1; ++axis)
    if (x.extent(axis) != skip.extent(axis)) fail("input and skip differ in more than features");
  if (!x.cols() || !skip.cols()) fail("one of two inputs has no features");
  detail::check_linear(w, bias);
  Shape<N> shape = x.shape();
  shape[N - 1] = w.extent(0);
  Tensor<T, N, D> y(shape);
  op.moves(x, skip, w, bias, y);
  op.computes(2. * double(y.size()) * double(w.extent(1)));
  if (!y.size()) return y;
  const auto g = [&](const Tensor<T, N, D>& part) {
    return detail::part_geometry(x.rows(), part.cols(), w.extent(0), w.extent(1));
  };
  Library<D>::matmul(g(x), y.data(), x.data(), w.data(), 1.f, false, bias.data());
  Library<D>::matmul(g(skip), y.data(), skip.data(), w.data() + x.cols(), 1.f, true);
  return y;
}

// Undefined gradients are not wanted.
template <Real T, int N, Device D>
void linear_pair_backward_data(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& grad_skip, const Tensor<T, N, D>& grad_y,
                               const Tensor<T, 2, D>& w, i64 x_cols) {
  written(grad_x, grad_skip);
  const Op<D> op("linear of two backward data");
  op.moves(grad_x, grad_skip, grad_y, w);
  op.computes(2. * double(grad_y.size()) * double(w.extent(1)));
  const auto part = [&](const Tensor<T, N, D>& grad, i64 offset) {
    if (!grad.defined() || !grad.size()) return;
    MatmulGeometry g = MatmulGeometry::dense(grad_y.rows(), grad.cols(), w.extent(0));
    g.b.row = w.extent(1);
    Library<D>::matmul(g, grad.data(), grad_y.data(), w.data() + offset);
  };
  part(grad_x, 0);
  part(grad_skip, x_cols);
}

template <Real T, int N, Device D>
void linear_pair_backward_weight(const Tensor<float, 2, D>& grad_w, const Tensor<T, N, D>& x, const Tensor<T, N, D>& skip,
                                 const Tensor<T, N, D>& grad_y) {
  written(grad_w);
  const Op<D> op("linear of two backward weight");
  op.moves(grad_w, x, skip, grad_y);
  op.computes(2. * double(grad_y.size()) * double(grad_w.extent(1)));
  if (!grad_y.rows()) return Runtime<D>::zero(grad_w.data(), grad_w.bytes());
  const auto part = [&](const Tensor<T, N, D>& in, i64 offset) {
    MatmulGeometry g = MatmulGeometry::dense(grad_w.extent(0), in.cols(), in.rows(), true, false);
    g.c.row = grad_w.extent(1);
    Library<D>::matmul(g, grad_w.data() + offset, grad_y.data(), in.data());
  };
  part(x, 0);
  part(skip, x.cols());
}

// grad_x = grad_y w
template <Real T, int N, Device D>
void linear_backward_data(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& grad_y, const Tensor<T, 2, D>& w) {
  written(grad_x);
  const Op<D> op("linear backward data");
  const auto g = MatmulGeometry::dense(grad_y.rows(), w.extent(1), w.extent(0));
  op.moves(grad_x, grad_y, w);
  op.computes(g.flops());
  if (grad_x.size()) Library<D>::matmul(g, grad_x.data(), grad_y.data(), w.data());
}

// grad_w = grad_y^T x
template <Real T, int N, Device D>
void linear_backward_weight(const Tensor<float, 2, D>& grad_w, const Tensor<T, N, D>& x, const Tensor<T, N, D>& grad_y) {
  written(grad_w);
  const Op<D> op("linear backward weight");
  const auto g = MatmulGeometry::dense(grad_w.extent(0), grad_w.extent(1), x.rows(), true, false);
  op.moves(grad_w, x, grad_y);
  op.computes(g.flops());
  if (x.rows() == 0) Runtime<D>::zero(grad_w.data(), grad_w.bytes());
  else Library<D>::matmul(g, grad_w.data(), grad_y.data(), x.data());
}

// grad_bias = sum of the rows of grad_y, in a fixed order
template <Real T, int N, Device D>
void bias_backward(const Tensor<float, 1, D>& grad_bias, const Tensor<T, N, D>& grad_y) {
  written(grad_bias);
  const Op<D> op("bias backward");
  op.moves(grad_bias, grad_y);
  kernel::sum_rows<D>(grad_bias.data(), static_cast<const T*>(grad_y.data()), grad_y.rows(), grad_y.cols());
}

}  // namespace mindgap
