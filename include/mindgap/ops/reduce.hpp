// Sums and means of all elements, or over some axes, in f32 whatever the type, and in a fixed order: in pieces first, which run
// side by side and round less than one long sum.
#pragma once

#include <mindgap/kernels/row_sums.hpp>
#include <mindgap/ops/layout.hpp>
#include <mindgap/ops/pointwise.hpp>

#include <vector>

namespace mindgap {

namespace detail {

template <Real T, int N, Device D>
Tensor<float, 1, D> scaled_sum(const Tensor<T, N, D>& x, float scale) {
  const i64 whole = x.size() / block_elements, rest = x.size() % block_elements, pieces = whole + (rest ? 1 : 0);
  const Tensor<float, 1, D> partial{Shape<1>(pieces)}, out{Shape<1>(1)};
  if (whole) Runtime<D>::launch(Grid{whole}, kernel::SumAll<float, T>{partial.data(), x.data(), block_elements, 1.f});
  if (rest)
    Runtime<D>::launch(Grid{1}, kernel::SumAll<float, T>{partial.data() + whole, x.data() + whole * block_elements, rest, 1.f});
  Runtime<D>::launch(Grid{1}, kernel::SumAll<float, float>{out.data(), partial.data(), pieces, scale});
  return out;
}

}  // namespace detail

// One element, f32; 0 of a tensor without any.
template <Real T, int N, Device D>
Tensor<float, 1, D> sum(const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("sum");
  op.moves(x);
  return detail::scaled_sum(x, 1.f);
}
template <Real T, int N, Device D>
Tensor<float, 1, D> mean(const Tensor<T, N, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  const Op<D> op("mean");
  op.moves(x);
  if (x.size() == 0) throw Error("mean: there are no elements", {{"input", x.str()}});
  return detail::scaled_sum(x, 1.f / float(x.size()));
}

// Overwrites grad_x, each element of which is scale * grad.
template <Real T, int N, Device D>
void sum_backward(const Tensor<T, N, D>& grad_x, const Tensor<float, 1, D>& grad, float scale) {
  const Op<D> op("sum backward");
  op.moves(grad_x);
  Runtime<D>::zero(grad_x.data(), grad_x.bytes());
  pointwise_into(
      grad_x, [](auto x, auto g, auto s) { return x + g * s; }, grad_x, scalar(grad), value(scale));
}

namespace detail {

// out[o, c] = scale * sum over r of x[o, r, c]. What lies side by side is added by teams of threads, or in lanes. Of the rest the
// CPU, too, adds more than 64 rows in chunks, and has a block for each of those and for 4,096 columns. What is added to what
// depends on the shape alone.
template <Device D, class TO, class T>
void sum_split(TO* out, const T* x, const AxisSplit& s, float scale) {
  if (s.inner == 1 && s.extent > 0 && s.extent <= 4096) {
    const kernel::RowTeams teams = kernel::row_teams<T>(s.outer, s.extent);
    Runtime<D>::launch(teams.grid(), kernel::RowSums<TO, T>{out, x, teams, scale});
  } else if constexpr (has_teams<D>) {
    kernel::reduce_rows<D>(out, x, s.outer, s.extent, s.inner, scale);
  } else {
    const i64 chunks = (s.extent + 63) / 64, tiles = (s.inner + 4095) / 4096;
    const auto add = [&]<class To>(To* to, i64 parts, float by) {
      Runtime<D>::launch(Grid{s.outer * parts * tiles}, kernel::ReduceRows<To, T>{to, x, s.extent, s.inner, by, parts, tiles});
    };
    if (chunks <= 1) return add(out, 1, scale);
    const Tensor<float, 1, D> partial{Shape<1>(s.outer * chunks * s.inner)};
    add(partial.data(), chunks, 1.f);
    sum_split<D>(out, static_cast<const float*>(partial.data()), {s.outer, chunks, s.inner}, scale);
  }
}

// Overwrites y, which has one element along the axes that are summed, with scale * the sums of x: run by run of neighbouring
// axes, the innermost first; what lies between two runs is f32.
template <Real T, int N, Device D>
void sum_axes_into(const Tensor<T, N, D>& y, const Tensor<T, N, D>& x, unsigned axes, float scale) {
  written(y);
  const Op<D> op("sum over axes");
  op.moves(x, y);
  if (y.size() == 0) return;
  Tensor<float, N, D> sums;  // of the runs so far
  Shape<N> shape = x.shape();
  for (int last = N - 1; axes; --last) {
    if (!(axes >> last & 1)) continue;
    int first = last;
    while (first > 0 && (axes >> (first - 1) & 1)) --first;
    const AxisSplit split = split_at(shape, first, last);
    for (int k = first; k <= last; ++k) shape[k] = 1, axes &= ~(1u << k);
    const auto add = [&](const auto& from) {
      using From = typename std::remove_cvref_t<decltype(from)>::element;
      if (!axes) return sum_split<D>(y.data(), static_cast<const From*>(from.data()), split, scale);
      const Tensor<float, N, D> to(shape);
      sum_split<D>(to.data(), static_cast<const From*>(from.data()), split, 1.f);
      sums = to;
    };
    if (sums.defined()) add(sums);
    else add(x);
    last = first;
  }
}

// The axes as bits. Throws where one is not there or named twice, or none is.
template <int N>
unsigned axis_bits(const char* op, const std::vector<int>& axes, const std::string& input) {
  unsigned bits = 0;
  for (int axis : axes) {
    check_axis(op, axis, N, input);
    if (bits >> axis & 1) throw Error(text(op, ": axis ", axis, " is named twice"), {{"input", input}});
    bits |= 1u << axis;
  }
  if (!bits) throw Error(text(op, ": no axis is named"), {{"input", input}, {"remedy", text(op, "(x) is that of all elements")}});
  return bits;
}

// The shape that is left, and how many elements each sum has.
template <int N>
struct AxisSums {
  Shape<N> shape;
  i64 count = 1;

  AxisSums(Shape<N> x, unsigned axes) : shape(x) {
    for (int k = 0; k < N; ++k)
      if (axes >> k & 1) count *= shape[k], shape[k] = 1;
  }
};

}  // namespace detail

// Over some axes: sum(x, {1, 2}) of [N, H, W, C] is [N, 1, 1, C]. The rank stays (torch's keepdim=True), the type too: it is
// rounded once. Throws where an axis is not there or named twice.
template <Real T, int N, Device D>
Tensor<T, N, D> sum(const Tensor<T, N, D>& x, const std::vector<int>& axes, Location at = Location::current()) {
  const Caller caller(at);
  const unsigned bits = detail::axis_bits<N>("sum", axes, x.str());
  const Tensor<T, N, D> y(detail::AxisSums<N>(x.shape(), bits).shape);
  detail::sum_axes_into(y, x, bits, 1.f);
  return y;
}
// Throws, too, where there is nothing to take a mean of.
template <Real T, int N, Device D>
Tensor<T, N, D> mean(const Tensor<T, N, D>& x, const std::vector<int>& axes, Location at = Location::current()) {
  const Caller caller(at);
  const unsigned bits = detail::axis_bits<N>("mean", axes, x.str());
  const detail::AxisSums<N> sums(x.shape(), bits);
  if (sums.count == 0) throw Error("mean: there are no elements", {{"input", x.str()}});
  const Tensor<T, N, D> y(sums.shape);
  detail::sum_axes_into(y, x, bits, 1.f / float(sums.count));
  return y;
}
// Of integers, and with an axis that is no list.
template <detail::Integers X, class... Rest>
auto sum(const X& x, const Rest&...) {
  detail::explain_integers<X>();
  return x;
}
template <detail::Integers X, class... Rest>
auto mean(const X& x, const Rest&...) {
  detail::explain_integers<X>();
  return x;
}
template <class X, std::integral I>
requires(detail::is_operand<X> && !detail::of_integers<X>) auto sum(const X& x, I) {
  static_assert(!detail::is_operand<X>, "mindgap: sum wants its axes as a list: sum(x, {1})");
  return x;
}
template <class X, std::integral I>
requires(detail::is_operand<X> && !detail::of_integers<X>) auto mean(const X& x, I) {
  static_assert(!detail::is_operand<X>, "mindgap: mean wants its axes as a list: mean(x, {1})");
  return x;
}

// Overwrites grad_x with scale * grad_y, repeated along the axes that were summed.
template <Real T, int N, Device D>
void sum_axes_backward(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& grad_y, float scale) {
  const Op<D> op("sum over axes backward");
  expand_into(grad_x, scale == 1.f ? grad_y : pointwise([](auto g, auto s) { return g * s; }, grad_y, value(scale)));
}

}  // namespace mindgap
