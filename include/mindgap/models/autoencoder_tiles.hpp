// Large images through an autoencoder in overlapping tiles, as diffusers' enable_tiling: memory follows the tile, not the image.
//
// A tile has the side of the images that the autoencoder was trained on (config.sample_size), the next one begins after three
// quarters of it, and what both have is a linear mixture. Group norms and the attention see a tile alone, so a tiled image
// differs from a whole one.
#pragma once

#include <mindgap/models/autoencoder_kl.hpp>

#include <algorithm>

namespace mindgap {
namespace detail {

// What f makes of x [n, h, w, c] tile by tile. side: of a tile of x; made: of what f makes of one.
template <Real T, Device D, class F>
Tensor<T, 4, D> in_tiles(const Tensor<T, 4, D>& x, i64 side, i64 made, F&& f) {
  if (x.extent(1) <= side && x.extent(2) <= side) return f(x);
  if (side % 4 || made % 4)
    throw Error(text("autoencoder: tiles of ", side, " do not divide into quarters"),
                {{"remedy", "encode and decode whole images"}});
  const Tensor<T, 4, Cpu> whole = x.template to<Cpu>();
  const i64 n = x.extent(0), h = x.extent(1), w = x.extent(2), c = x.extent(3), step = side / 4 * 3, overlap = made / 4;
  const auto crop = [&](i64 top, i64 left) {
    const i64 rows = std::min(side, h - top), columns = std::min(side, w - left);
    const Tensor<T, 4, Cpu> out(Shape<4>(n, rows, columns, c));
    for (i64 i = 0; i < n * rows; ++i)
      std::copy_n(whole.data() + ((i / rows * h + top + i % rows) * w + left) * c, columns * c, out.data() + i * columns * c);
    return out.template to<D>();
  };
  // b's first pixels along an axis become mixtures with a's last ones.
  const auto blend = [&](const Tensor<float, 4, Cpu>& a, const Tensor<float, 4, Cpu>& b, int axis) {
    const i64 extent = std::min({a.extent(axis), b.extent(axis), overlap}),
              inner = axis == 1 ? b.extent(2) * b.extent(3) : b.extent(3);
    const i64 outer = axis == 1 ? n : n * b.extent(1);
    for (i64 i = 0; i < outer; ++i)
      for (i64 y = 0; y < extent; ++y) {
        const float share = float(y) / float(extent);
        const float* from = a.data() + ((i + 1) * a.extent(axis) - extent + y) * inner;
        float* to = b.data() + (i * b.extent(axis) + y) * inner;
        for (i64 k = 0; k < inner; ++k) to[k] = from[k] * (1 - share) + to[k] * share;
      }
  };
  const i64 oh = h * made / side, ow = w * made / side;
  Tensor<float, 4, Cpu> out;
  std::vector<Tensor<float, 4, Cpu>> above, row;  // tiles
  for (i64 top = 0, i = 0; top < h; top += step, ++i, above = std::exchange(row, {}))
    for (i64 left = 0, j = 0; left < w; left += step, ++j) {
      const Tensor<float, 4, Cpu>& tile = row.emplace_back(cast<float>(f(crop(top, left))).template to<Cpu>().clone());
      if (i) blend(above[size_t(j)], tile, 1);
      if (j) blend(row[size_t(j) - 1], tile, 2);
      const i64 channels = tile.extent(3), rows = std::min(tile.extent(1), made - overlap),
                columns = std::min(tile.extent(2), made - overlap);
      if (!out.defined()) out = Tensor<float, 4, Cpu>(Shape<4>(n, oh, ow, channels));
      for (i64 r = 0; r < n * rows; ++r)
        std::copy_n(tile.data() + (r / rows * tile.extent(1) + r % rows) * tile.extent(2) * channels, columns * channels,
                    out.data() + ((r / rows * oh + i * (made - overlap) + r % rows) * ow + j * (made - overlap)) * channels);
    }
  return cast<T>(out.template to<D>());
}

}  // namespace detail

// As vae.encode and vae.decode.
template <Device D, class P>
Tensor<typename P::compute, 4, D> tiled_encode(const AutoencoderKL<D, P>& vae, const Tensor<typename P::compute, 4, D>& images,
                                               Location at = Location::current()) {
  const Caller caller(at);
  const i64 side = vae.config.sample_size;
  return detail::in_tiles(images, side, side / vae.config.scale(), [&](const auto& tile) { return vae.encode(tile); });
}
template <Device D, class P>
Tensor<typename P::compute, 4, D> tiled_decode(const AutoencoderKL<D, P>& vae, const Tensor<typename P::compute, 4, D>& latents,
                                               Location at = Location::current()) {
  const Caller caller(at);
  const i64 side = vae.config.sample_size;
  return detail::in_tiles(latents, side / vae.config.scale(), side, [&](const auto& tile) { return vae.decode(tile); });
}

}  // namespace mindgap
