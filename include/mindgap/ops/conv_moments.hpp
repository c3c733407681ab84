// conv2d for a batch norm that follows: y, and the moments of its channels from the kernel that writes it, where a device gains
// by that.
//
//   const auto [y, moments] = conv2d_with_moments(x, w, {1, 1});
//   const auto s = batch_statistics(y, 1e-5f, running, moments);      passes over y only where moments are undefined
//
// On a GPU, for bf16 and f16 and channels in multiples of 32, there are four ways: two kernels of ours (kernels/conv_moments.hpp,
// and conv_window.hpp for 3x3 of 32 or 64 channels), one of cuDNN's that gives sums and sums of squares (f16), and the library's
// convolution without, to be followed by a pass over y. They are timed once, as plans are.
#pragma once

#include <mindgap/kernels/conv_moments.hpp>
#include <mindgap/kernels/conv_window.hpp>
#include <mindgap/ops/batch_norm.hpp>
#include <mindgap/ops/conv.hpp>

namespace mindgap {

// X: a tensor or a variable.
template <class X, Device D>
struct WithMoments {
  X y;
  ColumnMoments<D> moments;  // of y, or undefined
};

namespace detail {

template <class T, Device D>
inline constexpr bool gathers_moments = has_teams<D> && sizeof(T) == 2;

// Whether the kernel computes this convolution.
template <class T, Device D>
bool can_gather_moments(const ConvGeometry& g, const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& w) {
  return g.y_size() && kernel::ConvMoments<T, 64>::fits(g) && is_vector_aligned(x.data()) && is_vector_aligned(w.data());
}

// Launches a kernel that writes moments besides; undefined where the card has not the shared memory for it.
template <Device D, class Kernel>
ColumnMoments<D> launch_with_moments(Kernel kernel) {
  if (kernel.shared_bytes() > Runtime<D>::most_shared_bytes()) return {};
  const auto moments = ColumnMoments<D>::over(kernel.grid);
  kernel.mean = moments.mean.data(), kernel.m2 = moments.m2.data();
  Runtime<D>::launch(Grid{kernel.grid.blocks(), Kernel::threads}, kernel);
  return moments;
}

// y = conv2d(x, w), and its moments, by about so many blocks of the kernel: a few waves on the largest GPUs.
template <class T, Device D>
ColumnMoments<D> gather_moments(const ConvGeometry& g, const Tensor<T, 4, D>& y, const Tensor<T, 4, D>& x,
                                const Tensor<T, 4, D>& w, i64 blocks = 2048) {
  const auto with_tile = [&]<int N>(std::integral_constant<int, N>) {
    using Kernel = kernel::ConvMoments<T, N>;
    return launch_with_moments<D>(Kernel{y.data(), nullptr, nullptr, x.data(), w.data(), g, Kernel::grid_of(g, blocks)});
  };
  return g.c_out > 64 ? with_tile(std::integral_constant<int, 128>()) : with_tile(std::integral_constant<int, 64>());
}

// The same by the kernel that keeps a window of x, with so many images a block (0: what suits it), or undefined where it does not
// compute this convolution.
template <class T, Device D>
ColumnMoments<D> moments_by_window(const ConvGeometry& g, const Tensor<T, 4, D>& y, const Tensor<T, 4, D>& x,
                                   const Tensor<T, 4, D>& w, i64 images = 0) {
  const auto with = [&]<int C>(std::integral_constant<int, C>) {
    using Kernel = kernel::ConvWindow<T, C, kernel::ConvEnd::moments>;
    const kernel::ColumnGrid grid = Kernel::grid_of(g, images ? images : Kernel::images_of(g));
    return launch_with_moments<D>(Kernel{y.data(), nullptr, nullptr, nullptr, x.data(), w.data(), g, grid});
  };
  if (!kernel::fits_window(g)) return {};
  return g.c_in == 32 ? with(std::integral_constant<int, 32>()) : with(std::integral_constant<int, 64>());
}

// The same by a kernel of the library's, or undefined where it has none.
template <class T, Device D>
ColumnMoments<D> moments_by_library(const ConvGeometry& g, const Tensor<T, 4, D>& y, const Tensor<T, 4, D>& x,
                                    const Tensor<T, 4, D>& w) {
  const auto moments = ColumnMoments<D>::over({y.rows(), y.cols(), 1, y.cols(), 1, y.rows(), 1});
  float *mean = moments.mean.data(), *m2 = moments.m2.data();
  if (!Library<D>::conv2d_sums(g, y.data(), mean, m2, x.data(), w.data())) return {};
  constexpr i64 per_block = kernel::MomentsOfSums::per_block;
  Runtime<D>::launch(Grid{(y.cols() + per_block - 1) / per_block, per_block},
                     kernel::MomentsOfSums{mean, m2, y.rows(), y.cols()});
  return moments;
}

}  // namespace detail

template <Real T, Device D>
WithMoments<Tensor<T, 4, D>, D> conv2d_with_moments(const Tensor<T, 4, D>& x, const Tensor<T, 4, D>& w, ConvOptions options = {},
                                                    Location at = Location::current()) {
  const Caller caller(at);
  if constexpr (detail::gathers_moments<T, D>) {
    const ConvGeometry g = detail::checked_conv(x, w, Tensor<float, 1, D>(), options);
    if (detail::can_gather_moments(g, x, w)) {
      const Op<D> op("conv2d");
      const Tensor<T, 4, D> y({g.n, g.out_h(), g.out_w(), g.c_out});
      op.moves(x, w, y);
      op.computes(g.flops());
      const auto gather = [&] { return detail::gather_moments(g, y, x, w); };
      const auto by_window = [&] { return detail::moments_by_window(g, y, x, w); };
      const auto by_library = [&] { return detail::moments_by_library(g, y, x, w); };
      const auto alone = [&] { Library<D>::conv2d(g, y.data(), x.data(), w.data(), nullptr); };
      const int way = Library<D>::autotune(
          text("conv_with_moments ", name(dtype_of<T>), " ", g.str()),
          {[&] { return gather().defined(); }, [&] { return by_window().defined(); }, [&] { return by_library().defined(); },
           [&] {
             alone();
             return detail::column_moments(y, 0.f).defined();
           }});
      if (way == 0)
        if (const auto moments = gather(); moments.defined()) return {y, moments};
      if (way == 1)
        if (const auto moments = by_window(); moments.defined()) return {y, moments};
      if (way == 2)
        if (const auto moments = by_library(); moments.defined()) return {y, moments};
      alone();
      return {y, {}};
    }
  }
  return {conv2d(x, w, {}, options), {}};
}

}  // namespace mindgap
