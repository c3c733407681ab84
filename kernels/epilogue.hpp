// What a norm's backward needs to know of its epilogue, the lambda that follows it: y = epilogue(z, extras...).
//
// The gradient of the epilogue is normally taken from z (recomputed from x) and the extras that Traced::reads names.
// Where the epilogue is relu(a sum of its inputs), as relu_add, it is taken from the sign of y instead: y lives on as the
// input of the next layer anyway, so no extra has to be kept.
#pragma once

#include <mindgap/kernels/expression.hpp>

namespace mindgap::detail {
inline namespace MINDGAP_SET {

template <class Tree>
struct ReluOfSum {
  static constexpr bool value = false;
};
template <class A>
struct ReluOfSum<expression::Unary<expression::Relu, A>> {
  static constexpr bool value = A::reads == 0;
};

}  // namespace MINDGAP_SET
}  // namespace mindgap::detail

namespace mindgap {
inline namespace MINDGAP_SET {

template <class F, int Extras>
struct Epilogue {
  using Function = Traced<F, 1 + Extras>;
  using Tree = typename Function::Tree;

  static constexpr bool reads_y = Extras > 0 && detail::ReluOfSum<Tree>::value;
  static constexpr bool reads_z = !reads_y && (Function::reads & 1);
  MG_HD static constexpr bool reads_extra(int k) { return !reads_y && ((Function::reads >> (1 + k)) & 1); }

  MG_HD static float value(const float* in) { return Function::value(in); }

  // d[0] = g * d epilogue / dz, d[1 + k] = g * d epilogue / d extra k. `in` holds z and the extras, where they are read.
  MG_HD static void vjp(const float* in, float y, float g, float* d) {
    if constexpr (reads_y) linear_vjp(y > 0.f ? g : 0.f, d);
    else Function::vjp(in, g, d);
  }

  // An extra whose gradient equals that of z, or -1: the second pass of a backward reads that instead of recomputing.
  static constexpr int twin() {
    if constexpr (reads_y) {
      float d[1 + Extras] = {};
      linear_vjp(1.f, d);
      for (int k = 0; k < Extras; ++k)
        if (d[1 + k] == d[0]) return k;
    }
    return -1;
  }

 private:
  MG_HD static constexpr void linear_vjp(float g, float* d) {
    const float none[1 + Extras] = {};
    Tree{}.a.vjp(none, g, d);
  }
};

// The usual epilogues. `relu` and `silu` live in a namespace of their own: as objects of mindgap they would hide the
// functions of that name inside a user's lambda.
namespace epilogues {
inline constexpr auto identity = [](auto z) { return z; };
inline constexpr auto relu = [](auto z) { return expression::relu(z); };
inline constexpr auto silu = [](auto z) { return expression::silu(z); };
inline constexpr auto add = [](auto z, auto residual) { return z + residual; };
inline constexpr auto relu_add = [](auto z, auto residual) { return expression::relu(z + residual); };
}  // namespace epilogues
using epilogues::identity;
using epilogues::relu_add;

}  // namespace MINDGAP_SET
}  // namespace mindgap
