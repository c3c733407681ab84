// Body of statistics.hpp: histograms by plain loops, their moments by xtensor.
#pragma once

#include <mindgap/data/statistics.hpp>
#include <mindgap/interop/xtensor.hpp>

namespace mindgap {

MINDGAP_INLINE Normalisation channel_statistics(const Dataset& dataset) {
  const i64 channels = dataset.images.extent(3), pixels = dataset.images.size() / channels;
  if (pixels == 0) throw Error("statistics: the data set has no pixels", {{"set", dataset.name}});
  std::vector<i64> counts(size_t(256 * channels), 0);
#pragma omp parallel
  {
    std::vector<i64> own(counts.size(), 0);
#pragma omp for nowait
    for (i64 pixel = 0; pixel < pixels; ++pixel)
      for (i64 c = 0; c < channels; ++c) ++own[size_t(256 * c + dataset.images.data()[pixel * channels + c])];
#pragma omp critical(mindgap_statistics)
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += own[i];
  }
  const xt::xtensor<double, 1> value = xt::arange<double>(256) / 255.0;
  Normalisation out{{}, {}};
  for (i64 c = 0; c < channels; ++c) {
    const auto histogram = xt::adapt(counts.data() + 256 * c, 256, xt::no_ownership(), std::array<size_t, 1>{256});
    const double mean = xt::sum(value * histogram)() / double(pixels);
    const double variance = xt::sum((value - mean) * (value - mean) * histogram)() / double(pixels);
    out.mean.push_back(float(mean));
    out.deviation.push_back(float(std::sqrt(variance)));
  }
  return out;
}

}  // namespace mindgap
