// Fusion is a lambda: a stateless generic lambda, called once with placeholders, becomes a type that knows its value
// and its gradient.
//
//   constexpr auto film = [](auto x, auto scale, auto shift) { return silu(x * (1.f + scale) + shift); };
//   using E = Traced<decltype(film), 3>;
//   E::value(in)              film(in[0], in[1], in[2])
//   E::vjp(in, g, grads)     grads[k] += g * d film / d in[k]       reverse accumulation, by the chain rule
//   E::reads                  bit k: the gradient needs the value of input k (so it must stay alive until backward)
//
// Arithmetic is f32. Intermediate values are recomputed where the gradient wants them; after inlining the compiler
// shares them. What it leaves out: control flow in the lambda, and captures (pass such a number as an argument).
#pragma once

#include <mindgap/kernels/operations.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace mindgap::expression {
inline namespace MINDGAP_SET {

// Every node has: value(in), vjp(in, g, grads), and the bit masks deps (inputs its value depends on) and reads.
struct Node {};
template <class E>
concept IsNode = std::is_base_of_v<Node, E>;

template <int I>
struct Input : Node {
  static constexpr unsigned deps = 1u << I, reads = 0;
  MG_HD constexpr float value(const float* in) const { return in[I]; }
  MG_HD constexpr void vjp(const float*, float g, float* grads) const { grads[I] += g; }
};

// A number of the lambda, while it is traced; freeze() makes it a Number.
struct Constant : Node {
  static constexpr unsigned deps = 0, reads = 0;
  float number;
  MG_HD constexpr explicit Constant(float n) : number(n) {}
  MG_HD constexpr float value(const float*) const { return number; }
  MG_HD constexpr void vjp(const float*, float, float*) const {}
};

// A number, f32 bits, that is part of the type.
template <u32 bits>
struct Number : Node {
  static constexpr unsigned deps = 0, reads = 0;
  MG_HD constexpr float value(const float*) const { return bit_cast<float>(bits); }
  MG_HD constexpr void vjp(const float*, float, float*) const {}
};

template <class Op, class A>
struct Unary : Node {
  static constexpr unsigned deps = A::deps, reads = A::reads | (Op::linear ? 0u : A::deps);
  A a;
  Unary() = default;
  MG_HD constexpr explicit Unary(A x) : a(x) {}
  MG_HD constexpr float value(const float* in) const { return Op::value(a.value(in)); }
  MG_HD constexpr void vjp(const float* in, float g, float* grads) const {
    if constexpr (deps != 0) {
      if constexpr (Op::linear) a.vjp(in, g * Op::slope(0.f), grads);
      else a.vjp(in, g * Op::slope(a.value(in)), grads);
    }
  }
};

// Op::left(x, y) and Op::right(x, y) are the partial derivatives; needs_x and needs_y say which values the pair reads.
template <class Op, class A, class B>
struct Binary : Node {
  static constexpr unsigned deps = A::deps | B::deps;
  static constexpr unsigned reads = A::reads | B::reads |
                                    (A::deps ? (Op::left_reads_x ? A::deps : 0u) | (Op::left_reads_y ? B::deps : 0u) : 0u) |
                                    (B::deps ? (Op::right_reads_x ? A::deps : 0u) | (Op::right_reads_y ? B::deps : 0u) : 0u);
  A a;
  B b;
  Binary() = default;
  MG_HD constexpr Binary(A x, B y) : a(x), b(y) {}
  MG_HD constexpr float value(const float* in) const { return Op::value(a.value(in), b.value(in)); }
  MG_HD constexpr void vjp(const float* in, float g, float* grads) const {
    // An operand that no partial reads is not evaluated: its inputs may be absent.
    if constexpr (A::deps != 0)
      a.vjp(in, g * Op::left(operand<Op::left_reads_x>(a, in), operand<Op::left_reads_y>(b, in)), grads);
    if constexpr (B::deps != 0)
      b.vjp(in, g * Op::right(operand<Op::right_reads_x>(a, in), operand<Op::right_reads_y>(b, in)), grads);
  }

 private:
  template <bool Read, class E>
  MG_HD static constexpr float operand(const E& e, const float* in) {
    if constexpr (Read) return e.value(in);
    else return 0.f;
  }
};

// 1 where the comparison holds, else 0; no gradient.
template <class Op, class A, class B>
struct Compare : Node {
  static constexpr unsigned deps = A::deps | B::deps, reads = 0;
  A a;
  B b;
  Compare() = default;
  MG_HD constexpr Compare(A x, B y) : a(x), b(y) {}
  MG_HD constexpr float value(const float* in) const { return Op::holds(a.value(in), b.value(in)) ? 1.f : 0.f; }
  MG_HD constexpr void vjp(const float*, float, float*) const {}

  template <std::same_as<bool> T>
  constexpr operator T() const {
    static_assert(!sizeof(T), "mindgap: the lambda is traced once and cannot branch on a value: use where(condition, a, b)");
    return {};
  }
};

// a where c is not 0, else b. The gradient flows into the one that was taken alone, so that what the other would divide by does
// not matter.
template <class C, class A, class B>
struct Select : Node {
  static constexpr unsigned deps = C::deps | A::deps | B::deps;
  static constexpr unsigned reads = A::reads | B::reads | (A::deps | B::deps ? C::deps : 0u);
  C c;
  A a;
  B b;
  Select() = default;
  MG_HD constexpr Select(C condition, A x, B y) : c(condition), a(x), b(y) {}
  MG_HD constexpr float value(const float* in) const { return c.value(in) != 0.f ? a.value(in) : b.value(in); }
  MG_HD constexpr void vjp(const float* in, float g, float* grads) const {
    if (c.value(in) != 0.f) a.vjp(in, g, grads);
    else b.vjp(in, g, grads);
  }
};

// ---- the notation -----------------------------------------------------------------------------------------------

MG_HD constexpr Constant node(float number) { return Constant(number); }
template <IsNode E>
MG_HD constexpr E node(E e) {
  return e;
}
template <class A, class B>
concept Operands = (IsNode<A> || IsNode<B>)&&(IsNode<A> || std::is_arithmetic_v<A>)&&(IsNode<B> || std::is_arithmetic_v<B>);

template <class Op, class A, class B>
MG_HD constexpr auto binary(A a, B b) {
  return Binary<Op, A, B>(a, b);
}
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator+(A a, B b) { return binary<Add>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator-(A a, B b) { return binary<Subtract>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator*(A a, B b) { return binary<Multiply>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator/(A a, B b) { return binary<Divide>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto max(A a, B b) { return binary<Maximum>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto min(A a, B b) { return binary<Minimum>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto pow(A a, B b) { return binary<Power>(node(a), node(b)); }

template <class Op, class A, class B>
MG_HD constexpr auto compare(A a, B b) {
  return Compare<Op, A, B>(a, b);
}
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator<(A a, B b) { return compare<Less>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator<=(A a, B b) { return compare<LessOrEqual>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator>(A a, B b) { return compare<Less>(node(b), node(a)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator>=(A a, B b) { return compare<LessOrEqual>(node(b), node(a)); }

template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator==(A a, B b) { return compare<Equal>(node(a), node(b)); }
template <class A, class B>
requires Operands<A, B> MG_HD constexpr auto operator!=(A a, B b) { return compare<Unequal>(node(a), node(b)); }

template <class C, class A, class B>
MG_HD constexpr auto select(C c, A a, B b) {
  return Select<C, A, B>(c, a, b);
}
template <IsNode C, class A, class B>
requires((IsNode<A> || std::is_arithmetic_v<A>)&&(IsNode<B> || std::is_arithmetic_v<B>)) MG_HD
    constexpr auto where(C condition, A a, B b) {
  return select(condition, node(a), node(b));
}

// clang-format off
template <IsNode A> MG_HD constexpr auto operator-(A a) { return Unary<Negate, A>(a); }
template <IsNode A> MG_HD constexpr auto relu(A a) { return Unary<Relu, A>(a); }
template <IsNode A> MG_HD constexpr auto sigmoid(A a) { return Unary<Sigmoid, A>(a); }
template <IsNode A> MG_HD constexpr auto silu(A a) { return Unary<Silu, A>(a); }
template <IsNode A> MG_HD constexpr auto tanh(A a) { return Unary<Tanh, A>(a); }
template <IsNode A> MG_HD constexpr auto exp(A a) { return Unary<Exp, A>(a); }
template <IsNode A> MG_HD constexpr auto log(A a) { return Unary<Log, A>(a); }
template <IsNode A> MG_HD constexpr auto sqrt(A a) { return Unary<Sqrt, A>(a); }
template <IsNode A> MG_HD constexpr auto square(A a) { return Unary<Square, A>(a); }
template <IsNode A> MG_HD constexpr auto abs(A a) { return Unary<Abs, A>(a); }
template <IsNode A> MG_HD constexpr auto sin(A a) { return Unary<Sin, A>(a); }
template <IsNode A> MG_HD constexpr auto cos(A a) { return Unary<Cos, A>(a); }
template <IsNode A> MG_HD constexpr auto erf(A a) { return Unary<Erf, A>(a); }
// clang-format on

// x between the two; the gradient is 1 at the bounds, as torch.clamp.
template <IsNode A, class Low, class High>
MG_HD constexpr auto clamp(A a, Low low, High high) {
  return min(max(a, low), high);
}
// x Phi(x), and the formula with tanh that stands for it (Hendrycks and Gimpel 2016, arXiv 1606.08415).
template <IsNode A>
MG_HD constexpr auto gelu(A a) {
  return 0.5f * a * (1.f + erf(a * 0.70710678f));
}
template <IsNode A>
MG_HD constexpr auto gelu_tanh(A a) {
  return 0.5f * a * (1.f + tanh(0.79788456f * (a + 0.044715f * a * a * a)));
}

// x sigmoid(1.702 x), the cheap one of the same paper, which CLIP's text encoder has.
template <IsNode A>
MG_HD constexpr auto quick_gelu(A a) {
  return a * sigmoid(1.702f * a);
}

template <class F, int... I>
constexpr auto trace(F f, std::integer_sequence<int, I...>) {
  auto result = f(Input<I>{}...);
  static_assert(IsNode<decltype(result)>,
                "mindgap: the lambda must return an expression of its arguments (a constant result has no use here)");
  return result;
}

template <class Op, class A, class X>
constexpr auto rebuild(const Unary<Op, A>&, X x) {
  return Unary<Op, X>(x);
}
template <class Op, class A, class B, class X, class Y>
constexpr auto rebuild(const Binary<Op, A, B>&, X x, Y y) {
  return Binary<Op, X, Y>(x, y);
}
template <class Op, class A, class B, class X, class Y>
constexpr auto rebuild(const Compare<Op, A, B>&, X x, Y y) {
  return Compare<Op, X, Y>(x, y);
}

// The same expression with its numbers in the type: an empty type whose default value is the function.
template <auto tree>
constexpr auto freeze() {
  using E = std::remove_cvref_t<decltype(tree)>;  // nvcc hands decltype((tree)) to g++
  if constexpr (std::is_same_v<E, Constant>) return Number<bit_cast<u32>(tree.number)>{};
  else if constexpr (requires { tree.c; }) return select(freeze<tree.c>(), freeze<tree.a>(), freeze<tree.b>());
  else if constexpr (requires { tree.b; }) return rebuild(tree, freeze<tree.a>(), freeze<tree.b>());
  else if constexpr (requires { tree.a; }) return rebuild(tree, freeze<tree.a>());
  else return tree;
}

}  // namespace MINDGAP_SET
}  // namespace mindgap::expression

namespace mindgap {
inline namespace MINDGAP_SET {

// A traced lambda: its expression as a type. Kernels take this as their F, not the lambda, because a CUDA kernel's type
// cannot mention a lambda; and equal formulas share one kernel.
template <class Expression>
struct Formula {
  using Tree = Expression;
  static constexpr unsigned reads = Tree::reads;

  MG_HD static float value(const float* in) { return Tree{}.value(in); }
  MG_HD static void vjp(const float* in, float g, float* grads) { Tree{}.vjp(in, g, grads); }
};

}  // namespace MINDGAP_SET
}  // namespace mindgap

namespace mindgap::detail {
inline namespace MINDGAP_SET {

template <class F, int... I>
constexpr bool takes_operands(std::integer_sequence<int, I...>) {
  return std::is_invocable_v<F, expression::Input<I>...>;
}
template <class F, int Arity>
struct Trace {
  static_assert(takes_operands<F>(std::make_integer_sequence<int, Arity>{}),
                "mindgap: pointwise: the lambda takes as many arguments as there are operands, each of them `auto`");
  static_assert(std::is_empty_v<F>, "mindgap: pointwise: the lambda must not capture; pass the value as an argument: value(x)");
  static constexpr auto tree = expression::trace(F{}, std::make_integer_sequence<int, Arity>{});
  using type = Formula<decltype(expression::freeze<tree>())>;
};
template <class Tree, int Arity>
struct Trace<Formula<Tree>, Arity> {
  using type = Formula<Tree>;
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::detail

namespace mindgap {
inline namespace MINDGAP_SET {

// The formula of the stateless lambda F of `Arity` inputs; of a formula, itself.
template <class F, int Arity>
using Traced = typename detail::Trace<F, Arity>::type;

}  // namespace MINDGAP_SET
}  // namespace mindgap
