// Dropout on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/dropout.hpp>

namespace mindgap {

// The gradient is dropped where x was: the mask is drawn again, by a copy of the key, which may be another one by then.
template <Real T, int N, Device D>
Var<T, N, D> dropout(const Var<T, N, D>& x, float p, const HostInput<Stream, D>& key, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, N, D> y(dropout(x.value(), p, key), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient()) {
    const Tensor<u8, 1, D> drawn{Shape<1>(i64(sizeof(Stream)))};
    Runtime<D>::copy(drawn.data(), key.data(), drawn.bytes());
    y.tape().record([p, drawn, xs = x.slot(), ys = y.slot()] {
      const auto* stream = reinterpret_cast<const Stream*>(drawn.data());
      if (ys->written()) xs->write([&](const auto& out) { dropout_backward(out, ys->gradient(), p, stream); });
    });
  }
  return y;
}

}  // namespace mindgap
