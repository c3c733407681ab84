// The body of data/resample.hpp.
#include <mindgap/data/resample.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace mindgap {

namespace detail {

inline double filter_support(ResampleFilter filter) {
  switch (filter) {
    case ResampleFilter::box:
      return 0.5;
    case ResampleFilter::bilinear:
      return 1;
    case ResampleFilter::bicubic:
      return 2;
    default:
      return 3;
  }
}

// The weight at distance x from the centre.
inline double filter_weight(ResampleFilter filter, double x) {
  const double d = std::abs(x);
  const auto sinc = [](double v) { return v == 0 ? 1 : std::sin(v * std::numbers::pi) / (v * std::numbers::pi); };
  switch (filter) {
    case ResampleFilter::box:
      return x > -0.5 && x <= 0.5 ? 1 : 0;
    case ResampleFilter::bilinear:
      return d < 1 ? 1 - d : 0;
    case ResampleFilter::bicubic:  // Keys' cubic convolution with a = -1/2
      return d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? (((d - 5) * d + 8) * d - 4) * -0.5 : 0;
    default:
      return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
  }
}

// Of one pixel along an axis: the first that it is made of, and how much of each.
struct ResampleTaps {
  i64 first;
  std::vector<i32> weights;  // in units of 2^-22
};

inline constexpr int resample_bits = 22;  // 8 bits, a sign, and one for filters whose lobes are negative

inline std::vector<ResampleTaps> resample_taps(i64 from, i64 to, ResampleFilter filter) {
  const double scale = double(from) / double(to), stretch = std::max(scale, 1.), shrink = 1 / stretch;
  // Volatile, so that no compiler fuses the products with sums behind them, which rounds otherwise: of a box, one pixel more or
  // less hangs on it.
  const volatile double support = filter_support(filter) * stretch;
  std::vector<ResampleTaps> out;
  for (i64 i = 0; i < to; ++i) {
    const volatile double product = (double(i) + 0.5) * scale;
    const double centre = product;
    const i64 first = std::max<i64>(i64(centre - support + 0.5), 0), last = std::min(i64(centre + support + 0.5), from);
    std::vector<double> weights;
    double sum = 0;
    for (i64 x = first; x < last; ++x) {
      weights.push_back(filter_weight(filter, (double(x) - centre + 0.5) * shrink));
      sum += weights.back();
    }
    ResampleTaps& taps = out.emplace_back(ResampleTaps{first, {}});
    for (double weight : weights) {
      const double share = (sum == 0 ? weight : weight / sum) * (1 << resample_bits);
      taps.weights.push_back(i32(share < 0 ? share - 0.5 : share + 0.5));
    }
  }
  return out;
}

// x [rows, cols] -> [taps.size(), cols]: row i is the weighted sum of rows of x.
inline std::vector<u8> resample_rows(const std::vector<u8>& x, i64 cols, const std::vector<ResampleTaps>& taps) {
  std::vector<u8> out(taps.size() * size_t(cols));
  constexpr i64 width = 1024;  // sums of a strip stay in the first cache
  i32 sums[width];
  u8* y = out.data();
  for (const ResampleTaps& row : taps)
    for (i64 begin = 0; begin < cols; begin += width) {
      const i64 n = std::min(width, cols - begin);
      std::fill_n(sums, n, 1 << (resample_bits - 1));
      const u8* from = x.data() + row.first * cols + begin;
      for (i32 weight : row.weights) {
        for (i64 i = 0; i < n; ++i) sums[i] += weight * from[i];
        from += cols;
      }
      for (i64 i = 0; i < n; ++i) y[i] = u8(std::clamp(sums[i] >> resample_bits, 0, 255));
      y += n;
    }
  return out;
}

// [h, w, C] -> [w, h, C]
template <int C>
std::vector<u8> transposed(const std::vector<u8>& x, i64 h, i64 w) {
  std::vector<u8> out(x.size());
  constexpr i64 tile = 16;
  for (i64 top = 0; top < h; top += tile)
    for (i64 left = 0; left < w; left += tile)
      for (i64 column = left; column < std::min(left + tile, w); ++column)
        for (i64 row = top; row < std::min(top + tile, h); ++row)
          std::copy_n(x.data() + (row * w + column) * C, C, out.data() + (column * h + row) * C);
  return out;
}

}  // namespace detail

MINDGAP_INLINE Tensor<u8, 3, Cpu> resample(const Tensor<u8, 3, Cpu>& image, i64 height, i64 width, ResampleFilter filter) {
  const i64 h = image.extent(0), w = image.extent(1), c = image.extent(2);
  constexpr i64 largest = 1 << 16;
  if (std::min({h, w, height, width}) < 1 || std::max({h, w, height, width}) > largest || (c != 1 && c != 3))
    throw Error("resample: an image has extents of 1 to 65536 and 1 or 3 channels",
                {{"image", image.shape().str()}, {"wanted", Shape<3>(height, width, c).str()}});
  // Along the width as along the height, of the transposed image: rows are added whole, without a step between pixels.
  const auto transposed = c == 1 ? detail::transposed<1> : detail::transposed<3>;
  std::vector<u8> pixels(image.data(), image.data() + image.size());
  if (width != w)
    pixels =
        transposed(detail::resample_rows(transposed(pixels, h, w), h * c, detail::resample_taps(w, width, filter)), width, h);
  if (height != h) pixels = detail::resample_rows(pixels, width * c, detail::resample_taps(h, height, filter));
  return Tensor<u8, 3, Cpu>::from(pixels, Shape(height, width, c));
}

}  // namespace mindgap
