// Embedding lookup on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/embedding.hpp>

namespace mindgap {

// The rows of the table that the ids name; a row named several times has the sum of the gradients.
template <Real T, Device D>
Var<T, 2, D> embedding(const Tensor<i64, 1, D>& ids, const Var<T, 2, D, float>& table, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, 2, D> y(embedding(ids, table.value()), detail::tape_of(table), table.needs_gradient());
  if (y.needs_gradient()) {
    y.tape().reads(ids);
    y.tape().record([ids, ts = table.slot(), ys = y.slot()] {
      if (ys->written()) ts->write([&](const auto& out) { embedding_backward(out, ids, ys->gradient()); });
    });
  }
  return y;
}

// Of a table that has its gradient in another type than f32.
template <Device D, detail::NarrowWeight W, class... Rest>
auto embedding(const Tensor<i64, 1, D>&, const W& table, const Rest&...) {
  detail::explain_narrow_weight<W>();
  return table;
}

}  // namespace mindgap
