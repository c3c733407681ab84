// What is checked of the operands of an op: what they have in common, and one sentence for a call whose operands have not: beside
// an op's overloads stands one more for what fits none of them, so that the compiler has that sentence to say instead of a list
// of overloads.
//
//   template <class A, class B, class... Rest>
//   requires detail::misfits<3, 3, A, B>
//   auto matmul(const A& a, const B&, const Rest&...) {
//     static_assert(!detail::alike<A, B>, "mindgap: matmul wants batches of matrices, [B, M, K] and [B, K, N]");
//     detail::explain<A, B>();
//     return a;
//   }
//
// They return `auto`, so that the compiler reads their bodies, and says the sentence, before what else is wrong with the call.
#pragma once

#include <mindgap/core/tensor.hpp>

#include <type_traits>

namespace mindgap {

// Is X a variable (autograd/var.hpp)? A call with one is not for tensors, whatever its first operand.
template <class X>
inline constexpr bool is_var = false;

namespace detail {

template <class X>
inline constexpr bool is_operand = is_tensor<X> || is_var<X>;

// The rank of an operand; 0 of anything else.
template <class X>
constexpr int rank_of() {
  if constexpr (is_operand<X>) return X::rank;
  else return 0;
}

// Both tensors or both variables, on one device, of one type that layers compute in.
template <class A, class B>
constexpr bool are_alike() {
  if constexpr (is_operand<A> && is_operand<B>)
    return is_var<A> == is_var<B> && std::is_same_v<typename A::device, typename B::device> &&
           std::is_same_v<typename A::element, typename B::element> && Real<typename A::element>;
  else return false;
}
template <class A, class B>
inline constexpr bool alike = are_alike<A, B>();

// Operands of these ranks (0: any, same_rank: that of the other) that do not fit each other or the ranks.
inline constexpr int same_rank = -1;
template <int NA, int NB, class A, class B>
inline constexpr bool misfits = (is_operand<A> ||
                                 is_operand<B>)&&!(alike<A, B> && (NA == 0 || rank_of<A>() == NA) &&
                                                   (NB == 0 || rank_of<B>() == (NB == same_rank ? rank_of<A>() : NB)));

// Whether G may be gamma or beta of a norm of X: f32 [C].
template <class X, class G>
constexpr bool is_row_for() {
  if constexpr (is_operand<X> && is_operand<G>)
    return is_var<X> == is_var<G> && std::is_same_v<typename X::device, typename G::device> && Real<typename X::element> &&
           std::is_same_v<typename G::element, float> && G::rank == 1;
  else return false;
}

// An operand that is no batch of images [N, H, W, C] of a type that layers compute in; and the sentence for it.
template <class X>
constexpr bool is_no_batch_of_images() {
  if constexpr (is_operand<X>) return X::rank != 4 || !Real<typename X::element>;
  else return false;
}
template <class X>
concept NoImages = is_no_batch_of_images<X>();
template <class X>
constexpr auto explain_images() {
  static_assert(!NoImages<X>, "mindgap: this op wants images [N, H, W, C] in f32, bf16 or f16");
}

// The first thing in which two operands are not alike, as an error of compilation.
template <class A, class B>
constexpr auto explain() {
  if constexpr (!is_operand<A> || !is_operand<B>)
    static_assert(is_operand<A> && is_operand<B>,
                  "mindgap: operands are tensors or variables; pointwise() takes numbers as value(x)");
  else if constexpr (is_var<A> != is_var<B>)
    static_assert(
        is_var<A> == is_var<B>,
        "mindgap: a tensor and a variable in one op: constant(tape, x) makes a variable of a tensor, x.value() the other way");
  else if constexpr (!std::is_same_v<typename A::device, typename B::device>)
    static_assert(is_var<A> && !is_var<A>,
                  "mindgap: the operands of one op live on one device: x.to<Cuda>() copies a tensor there");
  else if constexpr (!Real<typename A::element> || !Real<typename B::element>)
    static_assert(is_var<A> && !is_var<A>, "mindgap: this op computes in f32, bf16 and f16, not in integers");
  else static_assert(alike<A, B>, "mindgap: the operands of one op have one element type: cast<bf16>(x) converts a tensor");
}

// A tensor of integers, for which an op that computes has no overload; and the sentence for it.
template <class X>
inline constexpr bool of_integers = false;
template <Element T, int N, Device D>
inline constexpr bool of_integers<Tensor<T, N, D>> = !Real<T>;
template <class X>
concept Integers = of_integers<X>;
template <class... Xs>
constexpr auto explain_integers() {
  static_assert(!(of_integers<Xs> || ...), "mindgap: this op computes in f32, bf16 and f16, not in integers");
}

// A weight whose gradient is not f32, as that of a parameter is and as the backward of a product leaves it; and the sentence.
template <class W>
constexpr bool has_narrow_gradient() {
  if constexpr (is_var<W>) return !std::is_same_v<typename W::gradient_element, float>;
  else return false;
}
template <class W>
concept NarrowWeight = has_narrow_gradient<W>();
template <class W>
constexpr auto explain_narrow_weight() {
  static_assert(
      !NarrowWeight<W>,
      "mindgap: weights have gradients in f32, whatever their type: Var<bf16, N, D, float>, as Parameter::as(x) gives it");
}

// Whether writing y would change x where it is still to be read: if the two overlap, unless they are the same elements.
template <class T, int N, Device D, class U, int M>
bool clobbers(const Tensor<T, N, D>& y, const Tensor<U, M, D>& x) {
  return y.overlaps(x) && !(sizeof(T) == sizeof(U) && static_cast<const void*>(y.data()) == x.data());
}

// Throws unless y can take what an op makes of each element of x, or of each row: y has the shape of x, and is x or beside it.
template <class T, class U, int N, Device D>
void check_destination(const char* op, const Tensor<T, N, D>& y, const Tensor<U, N, D>& x) {
  if (y.shape() != x.shape() || y.size() != x.size())
    throw Error(text(op, ": the destination is not shaped like the input"), {{"input", x.str()}, {"destination", y.str()}});
  if (clobbers(y, x))
    throw Error(text(op, ": the destination overlaps the input, which is read after it is written"),
                {{"destination", y.str()}, {"remedy", "write to a tensor of its own"}});
}

// Throws for an eps of a norm that makes NaN.
inline void check_eps(const char* op, float eps) {
  if (!(eps >= 0.f)) throw Error(text(op, ": eps is ", eps), {{"remedy", "0 or more; 1e-5 is usual"}});
}

}  // namespace detail
}  // namespace mindgap
