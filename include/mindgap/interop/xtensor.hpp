// Host tensors as xtensor arrays, without a copy, and back by a copy.
//
// A view made by as_xtensor lives no longer than its tensor. bf16 and f16 are no arithmetic types of xtensor's: convert first.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#if __has_include(<xtensor/containers/xadapt.hpp>)  // 0.26 and later
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xtensor.hpp>
#include <xtensor/core/xmath.hpp>
#include <xtensor/generators/xbuilder.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xbuilder.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>
#endif

namespace mindgap {

template <Element T, int N>
requires std::is_arithmetic_v<T>
auto as_xtensor(const Tensor<T, N, Cpu>& tensor) {
  std::array<size_t, size_t(N)> shape;
  for (int i = 0; i < N; ++i) shape[size_t(i)] = size_t(tensor.extent(i));
  return xt::adapt(tensor.data(), size_t(tensor.size()), xt::no_ownership(), shape);
}

// Evaluates an expression into a tensor of its rank; throws where that is not N.
template <int N, class E>
auto from_xtensor(const xt::xexpression<E>& expression, Location at = Location::current()) {
  const Caller caller(at);
  using T = typename E::value_type;
  const E& from = expression.derived_cast();
  if (from.dimension() != size_t(N))
    throw Error(text("from_xtensor: an expression of rank ", from.dimension(), ", wanted ", N),
                {{"remedy", text("from_xtensor<", from.dimension(), ">, or an expression of the other rank")}});
  const xt::xtensor<T, size_t(N)> values = from;
  Shape<N> shape;
  for (int i = 0; i < N; ++i) shape[i] = i64(values.shape()[size_t(i)]);
  return Tensor<T, N, Cpu>::from(std::vector<T>(values.begin(), values.end()), shape);
}

}  // namespace mindgap
