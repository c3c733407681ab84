// Statistics of a study: means over seeds with intervals, ratios of means, corrections for many comparisons, test-sample errors.
//
//   paired difference   Student's t on the differences by seed:  mean +- t(0.975, n - 1) s / sqrt(n)
//   ratio of means      Fieller (1954): all r for which the mean of x - r y is not told from 0 by the same test; where the
//                       denominator is not told from 0 the set is unbounded, and nothing is said about the ratio
//   many comparisons    Holm (1979): p-values multiplied by n, n - 1, ... from the smallest on, kept in order
//   shares of images    Clopper and Pearson (1934), two proportions by the normal approximation with pooled variance
//
// All intervals are two-sided and hold 95 %. They treat seeds as the sample: what is the same for every seed (a generator, a
// synthetic set, the test images) is a condition, not part of the interval. Bootstrap intervals are left out: with 3 to 5 seeds
// they cover 74 to 83 % instead of 95.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <vector>

namespace mindgap {

// Of n values, one a seed.
struct Stats {
  i64 n = 0;
  double mean = 0;
  double std = 0;  // sample standard deviation; NaN for a single value
  double low = 0;  // the mean's 95 % interval by Student's t; from -infinity to infinity for a single value
  double high = 0;

  // True when the interval lies above (below) `value`.
  bool above(double value) const { return low > value; }
  bool below(double value) const { return high < value; }
  bool resolved() const { return above(0) || below(0); }
  double half_width() const { return high - mean; }
};

// Of at least one value; throws for none and for values that are not from -1e60 to 1e60.
Stats describe(const std::vector<double>& values);

// Two-sided p-value of "the mean is `value`"; 1 for a single value. Where all values are equal: 1 if they are `value`, else 0.
// Throws for stats of no values and for a value that is not finite.
double student_p(const Stats& stats, double value = 0);

// A ratio of two means.
struct Ratio {
  i64 n = 0;
  double value = 0;  // mean of the numerators over mean of the denominators; NaN where that mean is 0
  double low = 0;    // Fieller's 95 % interval; from -infinity to infinity where it is unbounded
  double high = 0;

  bool resolved() const;  // the interval is bounded
};

// numerators[i] and denominators[i] belong to the same seed. Throws for none, for other lengths, for values that describe()
// refuses.
Ratio ratio_of_means(const std::vector<double>& numerators, const std::vector<double>& denominators);

// The p-values corrected for their number, in the given order; at most 1. Throws for one that is not 0 to 1.
std::vector<double> holm(const std::vector<double>& p_values);

struct Interval {
  double low, high;
};
// The 95 % interval of a share, of which `hits` of `count` were seen (0 <= hits <= count, count >= 1).
Interval share_interval(i64 hits, i64 count);

// Two-sided p-value of "both shares are equal", hits of count each; 1 where there is nothing to tell them apart by. Throws, as
// share_interval does, for hits that are not 0 to count.
double equal_shares_p(i64 hits, i64 count, i64 other_hits, i64 other_count);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/statistics.ipp>
#endif
