// Body of statistics.hpp: histograms by plain loops, their moments by xtensor.
#pragma once

#include <mindgap/data/statistics.hpp>
#include <mindgap/interop/xtensor.hpp>

namespace mindgap {

MINDGAP_INLINE Normalisation channel_statistics(const Dataset& dataset) {
  const i64 channels = dataset.shape()[2];
  std::vector<i64> counts(size_t(256 * channels), 0);
  i64 pixels = 0;
  for (i64 i = 0; i < dataset.size(); ++i) {
    const Image image = dataset.image(i);
    const i64 more = image.shape[0] * image.shape[1];
    for (i64 pixel = 0; pixel < more; ++pixel)
      for (i64 c = 0; c < channels; ++c) ++counts[size_t(256 * c + image.pixels[pixel * channels + c])];
    pixels += more;
  }
  if (pixels == 0) throw Error("statistics: the data set has no pixels", {{"set", dataset.name}, {"remedy", "use another set"}});
  const xt::xtensor<double, 1> value = xt::arange<double>(256) / 255.0;
  Normalisation out{{}, {}};
  for (i64 c = 0; c < channels; ++c) {
    const auto histogram = xt::adapt(counts.data() + 256 * c, 256, xt::no_ownership(), std::array<size_t, 1>{256});
    const double mean = xt::sum(value * histogram)() / double(pixels);
    const double variance = xt::sum((value - mean) * (value - mean) * histogram)() / double(pixels);
    out.mean.push_back(float(mean));
    out.std.push_back(float(std::sqrt(variance)));
  }
  return out;
}

}  // namespace mindgap
