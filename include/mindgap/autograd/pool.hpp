// Pooling on variables.
#pragma once

#include <mindgap/autograd/var.hpp>
#include <mindgap/ops/pool.hpp>

namespace mindgap {

// The largest of each window; its gradient goes to the first of the largest.
template <Real T, Device D>
Var<T, 4, D> max_pool2d(const Var<T, 4, D>& x, i64 kernel, i64 stride, i64 padding, Location at = Location::current()) {
  const Caller caller(at);
  if (!x.needs_gradient()) return Var<T, 4, D>(max_pool2d(x.value(), kernel, stride, padding), detail::tape_of(x), false);
  const auto [value, index] = max_pool2d_with_index(x.value(), kernel, stride, padding);
  Var<T, 4, D> y(value, detail::tape_of(x), true);
  y.tape().record([=, index = index, xs = x.slot(), ys = y.slot()] {
    if (ys->written())
      xs->write([&](const auto& out) { max_pool2d_backward(out, ys->gradient(), index, kernel, stride, padding); });
  });
  return y;
}

// The sum of each window over kernel^2; what lies outside the image counts as 0.
template <Real T, Device D>
Var<T, 4, D> avg_pool2d(const Var<T, 4, D>& x, i64 kernel, i64 stride, i64 padding, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, 4, D> y(avg_pool2d(x.value(), kernel, stride, padding), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([=, xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { avg_pool2d_backward(out, ys->gradient(), kernel, stride, padding); });
    });
  return y;
}

// The mean over all positions of an image.
template <Real T, Device D>
Var<T, 2, D> global_avg_pool(const Var<T, 4, D>& x, Location at = Location::current()) {
  const Caller caller(at);
  Var<T, 2, D> y(global_avg_pool(x.value()), detail::tape_of(x), x.needs_gradient());
  if (y.needs_gradient())
    y.tape().record([xs = x.slot(), ys = y.slot()] {
      if (ys->written()) xs->write([&](const auto& out) { global_avg_pool_backward(out, ys->gradient()); });
    });
  return y;
}

}  // namespace mindgap
