// Pack: a tuple for kernels. It is an aggregate of its elements, so it can be a kernel's field, and get() runs on the
// device, where nvcc takes std::get for a host function.
//
//   auto p = pack(1, 2.f);      get<1>(p) is 2.f
#pragma once

#include <mindgap/core/config.hpp>

#include <cstddef>
#include <utility>

namespace mindgap::detail {
inline namespace MINDGAP_SET {

template <size_t I, class T>
struct PackElement {
  T value;
};
template <class Indices, class... T>
struct PackElements;
template <size_t... I, class... T>
struct PackElements<std::index_sequence<I...>, T...> : PackElement<I, T>... {};

}  // namespace MINDGAP_SET
}  // namespace mindgap::detail

namespace mindgap {
inline namespace MINDGAP_SET {

template <class... T>
struct Pack : detail::PackElements<std::index_sequence_for<T...>, T...> {};

template <class... T>
MG_HD constexpr Pack<T...> pack(T... values) {
  return {{{values}...}};
}

template <size_t I, class T>
MG_HD constexpr T& get(detail::PackElement<I, T>& element) {
  return element.value;
}
template <size_t I, class T>
MG_HD constexpr const T& get(const detail::PackElement<I, T>& element) {
  return element.value;
}

}  // namespace MINDGAP_SET
}  // namespace mindgap
