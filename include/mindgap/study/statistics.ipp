// The bodies of study/statistics.hpp: sums by xtensor, distributions by Boost.Math.
//
// Values are centred on their first before they are summed, so that equal values have that value as their mean, to the last
// bit, and a deviation of exactly 0.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/interop/xtensor.hpp>
#include <mindgap/study/statistics.hpp>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>

namespace mindgap {

namespace detail {

inline constexpr double two_sided_tail = 0.025;  // what a 95 % interval leaves out on each side

// Quantile 0.975 of Student's t for n values.
inline double student_quantile(i64 n) {
  return boost::math::quantile(boost::math::complement(boost::math::students_t(double(n - 1)), two_sided_tail));
}

inline void check_values(const char* who, const char* what, const std::vector<double>& values) {
  if (values.empty()) throw Error(text(who, ": wants at least one of the ", what), {{"remedy", "give one a seed that was run"}});
  // Of greater ones no double holds what is summed, powers up to the fourth.
  for (size_t i = 0; i < values.size(); ++i)
    if (!(std::abs(values[i]) <= 1e60))
      throw Error(text(who, ": number ", i, " of ", values.size(), " ", what, " is ", values[i]),
                  {{"wanted", "-1e60 to 1e60"}, {"remedy", "leave out, or repeat, the run that it came from"}});
}

inline double centred_mean(const std::vector<double>& values) { return values[0] + xt::mean(xt::adapt(values) - values[0])(); }

// What values differ from their mean by.
inline xt::xtensor<double, 1> residuals(const std::vector<double>& values) { return xt::adapt(values) - centred_mean(values); }

inline void check_share(const char* who, i64 hits, i64 count) {
  if (count < 1 || hits < 0 || hits > count)
    throw Error(text(who, ": ", hits, " hits of ", count), {{"remedy", "count at least 1, and 0 to count hits"}});
}

}  // namespace detail

MINDGAP_INLINE Stats describe(const std::vector<double>& values) {
  detail::check_values("describe", "values", values);
  Stats out;
  out.n = i64(values.size());
  out.mean = detail::centred_mean(values);
  if (out.n == 1) {
    out.std = std::nan("");
    out.low = -std::numeric_limits<double>::infinity();
    out.high = std::numeric_limits<double>::infinity();
    return out;
  }
  out.std = std::sqrt(xt::sum(xt::square(detail::residuals(values)))() / double(out.n - 1));
  const double half = detail::student_quantile(out.n) * out.std / std::sqrt(double(out.n));
  out.low = out.mean - half;
  out.high = out.mean + half;
  return out;
}

MINDGAP_INLINE double student_p(const Stats& stats, double value) {
  if (stats.n < 1 || !std::isfinite(value))
    throw Error(text("student_p: asks for ", value, " in a sample of ", stats.n),
                {{"remedy", "give what describe() returned, and a finite number"}});
  if (stats.n == 1) return 1;
  if (stats.std == 0) return stats.mean == value ? 1 : 0;
  const double t = (stats.mean - value) / (stats.std / std::sqrt(double(stats.n)));
  return 2 * boost::math::cdf(boost::math::students_t(double(stats.n - 1)), -std::abs(t));
}

MINDGAP_INLINE bool Ratio::resolved() const { return std::isfinite(low) && std::isfinite(high); }

// Fieller: all r with (x - r y)^2 <= k (s_xx - 2 r s_xy + r^2 s_yy), x and y the means, k = t^2 / n. About the ratio of the
// means, r = x / y + d, that is
//   (y^2 - k s_yy) d^2 + 2 k c d - k v <= 0,   v the variance of e = x_i - (x / y) y_i,   c its covariance with y_i.
// Where y^2 > k s_yy both terms under the root are positive and nothing cancels: one root each side of 0. Elsewhere the set is
// unbounded.
MINDGAP_INLINE Ratio ratio_of_means(const std::vector<double>& numerators, const std::vector<double>& denominators) {
  if (numerators.size() != denominators.size())
    throw Error(text("ratio_of_means: ", numerators.size(), " numerators but ", denominators.size(), " denominators"),
                {{"remedy", "give one of each a seed"}});
  detail::check_values("ratio_of_means", "numerators", numerators);
  detail::check_values("ratio_of_means", "denominators", denominators);
  Ratio out;
  out.n = i64(numerators.size());
  out.low = -std::numeric_limits<double>::infinity();
  out.high = std::numeric_limits<double>::infinity();
  const double x = detail::centred_mean(numerators), y = detail::centred_mean(denominators);
  out.value = y == 0 ? std::nan("") : x / y;
  if (out.n == 1 || y == 0) return out;

  const xt::xtensor<double, 1> from_y = detail::residuals(denominators), e = detail::residuals(numerators) - out.value * from_y;
  const double t = detail::student_quantile(out.n), k = t * t / double(out.n), freedom = double(out.n - 1);
  const double v = xt::sum(e * e)() / freedom, c = xt::sum(e * from_y)() / freedom;
  const double reach = std::sqrt(k * (xt::sum(from_y * from_y)() / freedom));  // the half width of the denominator's interval
  const double leading = (std::abs(y) - reach) * (std::abs(y) + reach);
  if (!(leading > 0)) return out;
  const double root = std::sqrt(k * c * (k * c) + leading * (k * v));
  // The root of greater magnitude by a sum of equal signs, the other from the product of both, -k v / leading.
  const double far = -(k * c + std::copysign(root, c)), near = far == 0 ? 0 : -k * v / far;
  out.low = out.value + std::min(far / leading, near);
  out.high = out.value + std::max(far / leading, near);
  return out;
}

MINDGAP_INLINE std::vector<double> holm(const std::vector<double>& p_values) {
  for (size_t i = 0; i < p_values.size(); ++i)
    if (!(p_values[i] >= 0 && p_values[i] <= 1))
      throw Error(text("holm: p-value ", i, " of ", p_values.size(), " is ", p_values[i]), {{"remedy", "p-values are 0 to 1"}});
  std::vector<size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> out(p_values.size());
  double least = 0;
  for (size_t i = 0; i < order.size(); ++i)
    out[order[i]] = least = std::max(least, std::min(1.0, double(order.size() - i) * p_values[order[i]]));
  return out;
}

MINDGAP_INLINE Interval share_interval(i64 hits, i64 count) {
  detail::check_share("share_interval", hits, count);
  using Binomial = boost::math::binomial_distribution<double>;
  return {Binomial::find_lower_bound_on_p(double(count), double(hits), detail::two_sided_tail),
          Binomial::find_upper_bound_on_p(double(count), double(hits), detail::two_sided_tail)};
}

MINDGAP_INLINE double equal_shares_p(i64 hits, i64 count, i64 other_hits, i64 other_count) {
  detail::check_share("equal_shares_p", hits, count);
  detail::check_share("equal_shares_p", other_hits, other_count);
  const double pooled = (double(hits) + double(other_hits)) / (double(count) + double(other_count));
  const double variance = pooled * (1 - pooled) * (1 / double(count) + 1 / double(other_count));
  if (variance == 0) return 1;  // none hit, or all
  const double z = (double(hits) / double(count) - double(other_hits) / double(other_count)) / std::sqrt(variance);
  return 2 * boost::math::cdf(boost::math::normal(), -std::abs(z));
}

}  // namespace mindgap
