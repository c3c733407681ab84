// Nearest-neighbour resizing, as torch.nn.functional.interpolate(mode="nearest").
#pragma once

#include <mindgap/core/profile.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/resize.hpp>
#include <mindgap/ops/operands.hpp>

namespace mindgap {

// x [N, H, W, C] -> [N, height, width, C]
template <Real T, Device D>
Tensor<T, 4, D> upsample_nearest(const Tensor<T, 4, D>& x, i64 height, i64 width, Location at = Location::current()) {
  const Caller caller(at);
  if (height < 1 || width < 1 || x.extent(1) < 1 || x.extent(2) < 1)
    throw Error(text("upsample: cannot make ", height, " x ", width, " pixels"), {{"input", x.str()}});
  if (std::max({height, width, x.extent(1), x.extent(2)}) > 65535)
    throw Error("upsample: a side has more than 65,535 pixels",
                {{"input", x.str()}, {"wanted", text(height, " x ", width)}, {"remedy", "resize it in pieces"}});
  const Op<D> op("upsample");
  Tensor<T, 4, D> y({x.extent(0), height, width, x.extent(3)});
  op.moves(x, y);
  const kernel::ResizeGeometry g{x.extent(1), x.extent(2), height, width, x.extent(3)};
  Runtime<D>::launch(Grid{x.extent(0) * height, team_threads}, kernel::UpsampleNearest<T>{y.data(), x.data(), g});
  return y;
}

// Overwrites grad_x [N, H, W, C].
template <Real T, Device D>
void upsample_nearest_backward(const Tensor<T, 4, D>& grad_x, const Tensor<T, 4, D>& grad_y) {
  written(grad_x);
  const Op<D> op("upsample backward");
  op.moves(grad_x, grad_y);
  const kernel::ResizeGeometry g{grad_x.extent(1), grad_x.extent(2), grad_y.extent(1), grad_y.extent(2), grad_x.extent(3)};
  Runtime<D>::launch(Grid{grad_x.extent(0) * grad_x.extent(1), team_threads},
                     kernel::BoxSum<T, kernel::Copies>{grad_x.data(), grad_y.data(), {g}, g.channels, 1.f});
}

// Of what is no batch of images.
template <detail::NoImages X, class... Rest>
auto upsample_nearest(const X& x, const Rest&...) {
  detail::explain_images<X>();
  return x;
}

}  // namespace mindgap
