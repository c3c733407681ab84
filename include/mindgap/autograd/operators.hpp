// + - * / of two variables, and of a variable and a number. Each is a kernel of its own: what is more than one of them is quicker
// as a lambda of pointwise (autograd/pointwise.hpp).
//
// Shapes are equal, or an extent of 1 meets any (numpy's rule, at equal rank): a [N, H, W, C] + b [N, 1, 1, C]. What is smaller
// is expanded first, by a pass of its own; row() in a lambda of pointwise needs none. Shapes that do not fit are an error.
#pragma once

#include <mindgap/autograd/layout.hpp>
#include <mindgap/autograd/pointwise.hpp>

namespace mindgap {
namespace detail {

// Both in the shape that they have together.
template <Real T, int N, Device D>
std::pair<Var<T, N, D>, Var<T, N, D>> fitted(const Var<T, N, D>& a, const Var<T, N, D>& b) {
  if (!a.has_tape() || !b.has_tape())
    throw Error("an operand is an undefined variable", {{"first", a.value().str()}, {"second", b.value().str()}});
  Shape<N> shape;
  for (int k = 0; k < N; ++k) {
    shape[k] = a.extent(k) == 1 ? b.extent(k) : a.extent(k);
    if (shape[k] != b.extent(k) && b.extent(k) != 1)
      throw Error(
          "the operands' shapes do not fit",
          {{"first", a.value().str()},
           {"second", b.value().str()},
           {"remedy", text("along each axis equal extents, or 1; axis ", k, " has ", a.extent(k), " and ", b.extent(k))}});
  }
  return {expand(a, shape), expand(b, shape)};
}

}  // namespace detail

// a + b.
template <Real T, int N, Device D>
Var<T, N, D> operator+(const Var<T, N, D>& a, const Var<T, N, D>& b) {
  const auto [x, y] = detail::fitted(a, b);
  return add(x, y);
}
// a - b.
template <Real T, int N, Device D>
Var<T, N, D> operator-(const Var<T, N, D>& a, const Var<T, N, D>& b) {
  const auto [x, y] = detail::fitted(a, b);
  return pointwise([](auto p, auto q) { return p - q; }, x, y);
}
// a b, element by element.
template <Real T, int N, Device D>
Var<T, N, D> operator*(const Var<T, N, D>& a, const Var<T, N, D>& b) {
  const auto [x, y] = detail::fitted(a, b);
  return pointwise([](auto p, auto q) { return p * q; }, x, y);
}
// a / b, element by element.
template <Real T, int N, Device D>
Var<T, N, D> operator/(const Var<T, N, D>& a, const Var<T, N, D>& b) {
  const auto [x, y] = detail::fitted(a, b);
  return pointwise([](auto p, auto q) { return p / q; }, x, y);
}
// -a.
template <Real T, int N, Device D>
Var<T, N, D> operator-(const Var<T, N, D>& a) {
  return pointwise([](auto x) { return -x; }, a);
}
// Of a number and each element.
template <Real T, int N, Device D>
Var<T, N, D> operator+(const Var<T, N, D>& a, float number) {
  return pointwise([](auto x, auto v) { return x + v; }, a, value(number));
}
template <Real T, int N, Device D>
Var<T, N, D> operator+(float number, const Var<T, N, D>& a) {
  return a + number;
}
template <Real T, int N, Device D>
Var<T, N, D> operator-(const Var<T, N, D>& a, float number) {
  return a + -number;
}
template <Real T, int N, Device D>
Var<T, N, D> operator-(float number, const Var<T, N, D>& a) {
  return pointwise([](auto x, auto v) { return v - x; }, a, value(number));
}
template <Real T, int N, Device D>
Var<T, N, D> operator*(const Var<T, N, D>& a, float number) {
  return pointwise([](auto x, auto v) { return x * v; }, a, value(number));
}
template <Real T, int N, Device D>
Var<T, N, D> operator*(float number, const Var<T, N, D>& a) {
  return a * number;
}
template <Real T, int N, Device D>
Var<T, N, D> operator/(const Var<T, N, D>& a, float number) {
  return pointwise([](auto x, auto v) { return x / v; }, a, value(number));
}
template <Real T, int N, Device D>
Var<T, N, D> operator/(float number, const Var<T, N, D>& a) {
  return pointwise([](auto x, auto v) { return v / x; }, a, value(number));
}

// A variable is a value of a computation, which other records may read.
template <class A, class B>
requires is_var<A>
auto operator+=(A& a, const B&) {
  static_assert(!is_var<A>, "mindgap: a variable does not change in place: a = a + b");
  return a;
}
template <class A, class B>
requires is_var<A>
auto operator-=(A& a, const B&) {
  static_assert(!is_var<A>, "mindgap: a variable does not change in place: a = a - b");
  return a;
}
template <class A, class B>
requires is_var<A>
auto operator*=(A& a, const B&) {
  static_assert(!is_var<A>, "mindgap: a variable does not change in place: a = a * b");
  return a;
}
template <class A, class B>
requires is_var<A>
auto operator/=(A& a, const B&) {
  static_assert(!is_var<A>, "mindgap: a variable does not change in place: a = a / b");
  return a;
}

namespace detail {

template <class A, class B>
inline constexpr bool are_plain_tensors = is_tensor<A> && (alike<A, B> || std::is_arithmetic_v<B>);

template <class A>
auto refuse_tensors(const A& a) {
  static_assert(!is_tensor<A>,
                "mindgap: operators are for variables; of tensors: pointwise([](auto x, auto y) { return x + y; }, a, b)");
  return a;
}

}  // namespace detail

// Of tensors, which have no operators: what is made of several of them would be several passes.
template <class A, class B>
requires(detail::are_plain_tensors<A, B>) auto operator+(const A& a, const B&) { return detail::refuse_tensors(a); }
template <class A, class B>
requires(detail::are_plain_tensors<A, B>) auto operator-(const A& a, const B&) { return detail::refuse_tensors(a); }
template <class A, class B>
requires(detail::are_plain_tensors<A, B>) auto operator*(const A& a, const B&) { return detail::refuse_tensors(a); }
template <class A, class B>
requires(detail::are_plain_tensors<A, B>) auto operator/(const A& a, const B&) { return detail::refuse_tensors(a); }

// Of operands that do not fit each other, as add().
template <class A, class B>
requires(detail::misfits_as_operands<A, B>) auto operator+(const A& a, const B& b) { return add(a, b); }
template <class A, class B>
requires(detail::misfits_as_operands<A, B>) auto operator-(const A& a, const B& b) { return add(a, b); }
template <class A, class B>
requires(detail::misfits_as_operands<A, B>) auto operator*(const A& a, const B& b) { return add(a, b); }
template <class A, class B>
requires(detail::misfits_as_operands<A, B>) auto operator/(const A& a, const B& b) { return add(a, b); }

}  // namespace mindgap
