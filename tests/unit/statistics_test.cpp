// study/statistics.hpp: values against SciPy 1.17.1 and statsmodels 0.15.0, edge cases and errors; and what "95 %" promises, in
// 10,000 simulated studies of 3, 5 and 8 seeds.
#include <mindgap/core/random.hpp>
#include <mindgap/study/statistics.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity(), nan_value = std::numeric_limits<double>::quiet_NaN();

// Accuracies in percent of five seeds: R, S, and what was recovered.
const std::vector<double> real = {81.2, 82.1, 80.9, 82.6, 81.7}, synthetic = {75.4, 76.9, 75.2, 76.1, 75.9},
                          swapped = {79.8, 80.6, 80.1, 80.9, 79.6};

std::vector<double> minus(const std::vector<double>& a, const std::vector<double>& b, double factor = 1) {
  std::vector<double> out;
  for (size_t i = 0; i < a.size(); ++i) out.push_back(a[i] - factor * b[i]);
  return out;
}

bool close(double value, double wanted, double relative = 1e-11) {
  return std::abs(value - wanted) <= relative * std::abs(wanted);
}
#define CLOSE(value, wanted)                                                                       \
  do {                                                                                             \
    const double close_value = (value);                                                            \
    BOOST_TEST(close(close_value, wanted), #value " is " << close_value << ", wanted " << wanted); \
  } while (false)

// 0.75 of the distance, and 1.25 times the distance, from the estimate to a bound.
std::vector<double> around(double estimate, double bound) {
  std::vector<double> out;
  for (double part : {0.75, 1 - 1e-9, 1 + 1e-9, 1.25}) out.push_back(estimate + part * (bound - estimate));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(statistics)

// scipy.stats.ttest_rel(real, synthetic): .confidence_interval(), .pvalue; numpy's mean and std(ddof=1) of the differences;
// ttest_1samp(differences, 6).pvalue
BOOST_AUTO_TEST_CASE(paired_differences) {
  const Stats gap = describe(minus(real, synthetic));
  BOOST_TEST(gap.n == 5);
  CLOSE(gap.mean, 5.8);
  CLOSE(gap.std, 0.4636809247747887);
  CLOSE(gap.low, 5.224264089053314);
  CLOSE(gap.high, 6.3757359109466805);
  CLOSE(gap.half_width(), 0.5757359109466805);
  CLOSE(student_p(gap), 9.720404542092886e-06);
  CLOSE(student_p(gap, 6), 0.389420149323607);
  BOOST_TEST(gap.resolved());
  BOOST_TEST(gap.above(5.2));
  BOOST_TEST(!gap.above(5.3));
  BOOST_TEST(gap.below(6.4));
  BOOST_TEST(!gap.below(6.3));
}

// ttest_1samp([0.3, -0.1, 0.5], 0) and ttest_1samp([1, 2], 0)
BOOST_AUTO_TEST_CASE(few_values) {
  const Stats three = describe({0.3, -0.1, 0.5});
  CLOSE(three.low, -0.5255832733860186);
  CLOSE(three.high, 0.9922499400526852);
  CLOSE(student_p(three), 0.3168699489360268);
  BOOST_TEST(!three.resolved());
  const Stats two = describe({1, 2});
  CLOSE(two.low, -4.853102368087347);
  CLOSE(two.high, 7.853102368087347);
  CLOSE(student_p(two), 0.20483276469913345);
}

BOOST_AUTO_TEST_CASE(one_value_says_nothing) {
  const Stats one = describe({0.7});
  BOOST_TEST(one.n == 1);
  BOOST_TEST(one.mean == 0.7);
  BOOST_TEST(std::isnan(one.std));
  BOOST_TEST(one.low == -infinity);
  BOOST_TEST(one.high == infinity);
  BOOST_TEST(!one.resolved());
  BOOST_TEST(student_p(one) == 1);
  BOOST_TEST(student_p(one, 0.7) == 1);
}

BOOST_AUTO_TEST_CASE(equal_values_are_a_point) {
  for (double value : {0.1, -0.7, 0.0, 1e-300, 81.74}) {  // (0.1 + 0.1 + 0.1) / 3 is not 0.1
    const Stats equal = describe({value, value, value});
    BOOST_TEST(equal.mean == value);
    BOOST_TEST(equal.std == 0);
    BOOST_TEST(equal.low == value);
    BOOST_TEST(equal.high == value);
    BOOST_TEST(equal.resolved() == (value != 0));
    BOOST_TEST(student_p(equal, value) == 1);
    BOOST_TEST(student_p(equal, value + 1) == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_large_common_part_costs_no_digits) {
  const Stats plain = describe({0.25, -0.5, 0.75, 1.5}), shifted = describe({0.25 + 1e9, -0.5 + 1e9, 0.75 + 1e9, 1.5 + 1e9});
  CLOSE(shifted.std, plain.std);
  BOOST_TEST(student_p(describe({1, 1 + 1e-15, 1 - 1e-15})) < 1e-20);
}

BOOST_AUTO_TEST_CASE(p_and_interval_say_the_same) {
  for (const auto& values :
       std::vector<std::vector<double>>{minus(real, synthetic), {0.3, -0.1, 0.5}, {1, 2}, {-4, -4.5, -3.9, -4.1}}) {
    const Stats stats = describe(values);
    for (double bound : {stats.low, stats.high})
      for (double value : around(stats.mean, bound)) {
        const bool excluded = stats.above(value) || stats.below(value);
        BOOST_TEST((student_p(stats, value) < 0.05) == excluded, value << " of " << stats.low << " to " << stats.high);
        BOOST_TEST(excluded == (std::abs(value - stats.mean) > std::abs(bound - stats.mean)));
      }
    CLOSE(student_p(stats, stats.low), 0.05);
    CLOSE(student_p(stats, stats.high), 0.05);
  }
}

// The bounds are where scipy.stats.ttest_1samp(x - r * y, 0).pvalue is 0.05, found by scipy.optimize.brentq on each side of
// mean(x) / mean(y).
BOOST_AUTO_TEST_CASE(ratios) {
  const Ratio recovered = ratio_of_means(minus(swapped, synthetic), minus(real, synthetic));
  BOOST_TEST(recovered.n == 5);
  BOOST_TEST(recovered.resolved());
  CLOSE(recovered.value, 0.741379310344827);
  CLOSE(recovered.low, 0.6421239174556554);
  CLOSE(recovered.high, 0.8403474087797248);
  const Ratio both_negative = ratio_of_means({-1, 0.5, 0.2, -0.4}, {-3, -2.5, -3.6, -2.9});
  CLOSE(both_negative.value, 0.05833333333333333);
  CLOSE(both_negative.low, -0.3094736112719096);
  CLOSE(both_negative.high, 0.4154202909203307);
  const Ratio lopsided = ratio_of_means({3, 5, 4}, {3, 6, 4.5});  // the denominator's own interval is 0.77 to 8.23
  CLOSE(lopsided.value, 8. / 9);
  CLOSE(lopsided.low, 0.7882293811182504);
  CLOSE(lopsided.high, 1.9590012331818507);
}

BOOST_AUTO_TEST_CASE(a_ratio_s_bounds_are_where_its_test_says_so) {
  const std::vector<double> x = minus(swapped, synthetic), y = minus(real, synthetic);
  const Ratio ratio = ratio_of_means(x, y);
  for (double bound : {ratio.low, ratio.high})
    for (double r : around(ratio.value, bound)) {
      const bool excluded = r < ratio.low || r > ratio.high;
      BOOST_TEST((student_p(describe(minus(x, y, r))) < 0.05) == excluded, r << " of " << ratio.low << " to " << ratio.high);
    }
}

BOOST_AUTO_TEST_CASE(a_denominator_that_may_be_0_bounds_nothing) {
  const auto unbounded = [](const Ratio& ratio, double value) {
    BOOST_TEST(!ratio.resolved());
    BOOST_TEST(ratio.low == -infinity);
    BOOST_TEST(ratio.high == infinity);
    BOOST_TEST((std::isnan(value) ? std::isnan(ratio.value) : ratio.value == value), ratio.value << " wanted " << value);
  };
  unbounded(ratio_of_means({3, 5, 4}, {2, 6, 4}), 1);  // the denominator's interval is -0.97 to 8.97
  unbounded(ratio_of_means({3, 5}, {-1, 1}), nan_value);
  unbounded(ratio_of_means({3, 5}, {0, 0}), nan_value);
  unbounded(ratio_of_means({0, 0}, {0, 0}), nan_value);
  unbounded(ratio_of_means({3}, {2}), 1.5);
  unbounded(ratio_of_means({3}, {0}), nan_value);
  // Bounded exactly where the denominator's own interval excludes 0.
  for (double mean : {4.9, 4.96, 4.98, 5.1}) {
    const std::vector<double> y = {mean - 2, mean + 2, mean};
    BOOST_TEST(ratio_of_means({3, 5, 4.5}, y).resolved() == describe(y).resolved());
  }
}

BOOST_AUTO_TEST_CASE(equal_denominators_divide_the_interval) {
  const std::vector<double> x = {0.3, -0.1, 0.5};
  const Stats stats = describe(x);
  for (double y : {0.1, 3.0}) {
    const Ratio ratio = ratio_of_means(x, {y, y, y});
    CLOSE(ratio.low, stats.low / y);
    CLOSE(ratio.high, stats.high / y);
  }
  const Ratio negative = ratio_of_means(x, {-3, -3, -3});
  CLOSE(negative.low, stats.high / -3);
  CLOSE(negative.high, stats.low / -3);
}

BOOST_AUTO_TEST_CASE(an_exact_ratio_is_a_point) {
  const Ratio half = ratio_of_means({1.5, 2, 2.5}, {3, 4, 5});
  BOOST_TEST(half.value == 0.5);
  BOOST_TEST(half.low == 0.5);
  BOOST_TEST(half.high == 0.5);
  const Ratio none = ratio_of_means({0, 0, 0}, {3, 4, 5});
  BOOST_TEST(none.low == 0);
  BOOST_TEST(none.high == 0);
  BOOST_TEST(ratio_of_means({2, 2}, {4, 4}).resolved());
  // Nearly exact: the width is about 1e-9, which the plain quadratic formula loses.
  const double small = 1e-9;
  const Ratio near = ratio_of_means({1.5 + small, 2 - 2 * small, 2.5 + small}, {3, 4, 5});
  const double student = 4.302652729749464;  // scipy.stats.t.ppf(0.975, 2)
  BOOST_TEST(close(near.high - near.low,
                   2 * student * std::sqrt(3.0) * small / std::sqrt(3.0) / std::sqrt(16 - student * student / 3), 1e-5));
}

// statsmodels.stats.proportion.proportion_confint(hits, count, method="beta"), and scipy.stats.binomtest(hits, count)
// .proportion_ci(method="exact"), which agrees.
BOOST_AUTO_TEST_CASE(shares) {
  const auto check = [](i64 hits, i64 count, double low, double high) {
    const Interval interval = share_interval(hits, count);
    CLOSE(interval.low, low);
    CLOSE(interval.high, high);
  };
  check(7590, 10000, 0.7504927103198313, 0.767356203310784);
  check(3, 10, 0.06673951117773447, 0.6524528500599973);
  check(0, 20, 0, 0.16843347098308534);
  check(20, 20, 0.8315665290169146, 1);
  check(1, 1, 0.025, 1);
  check(0, 1, 0, 0.975);
}

// statsmodels.stats.proportion.proportions_ztest([hits, other_hits], [count, other_count])
BOOST_AUTO_TEST_CASE(two_shares) {
  CLOSE(equal_shares_p(8174, 10000, 7590, 10000), 5.150375335444718e-24);
  CLOSE(equal_shares_p(7590, 10000, 8174, 10000), 5.150375335444718e-24);
  CLOSE(equal_shares_p(45, 60, 30, 50), 0.09260069782067576);
  BOOST_TEST(equal_shares_p(5, 10, 5, 10) == 1);
  BOOST_TEST(equal_shares_p(0, 10, 0, 7) == 1);  // no variance to measure a difference by
  BOOST_TEST(equal_shares_p(10, 10, 7, 7) == 1);
  BOOST_TEST(equal_shares_p(10, 10, 0, 7) < 1e-4);
}

// By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04, and the last may not fall below the one
// before it. statsmodels.stats.multitest.multipletests(p, method="holm")[1] agrees.
BOOST_AUTO_TEST_CASE(many_comparisons) {
  const auto check = [](const std::vector<double>& p, const std::vector<double>& wanted) {
    const std::vector<double> corrected = holm(p);
    BOOST_REQUIRE(corrected.size() == wanted.size());
    for (size_t i = 0; i < p.size(); ++i) CLOSE(corrected[i], wanted[i]);
  };
  check({0.01, 0.04, 0.03, 0.005}, {0.03, 0.06, 0.06, 0.02});
  check({0.5, 0.012, 0.6, 0.012, 0.2}, {1, 0.06, 1, 0.06, 0.6});
  check({0.03}, {0.03});
  check({0, 1}, {0, 1});
  check({}, {});
}

BOOST_AUTO_TEST_CASE(errors) {
  REFUSED(describe({}), "describe: wants at least one of the values");
  REFUSED(describe({1, nan_value, 3}), "number 1 of 3 values is nan");
  REFUSED(describe({infinity}), "number 0 of 1 values is inf");
  REFUSED(describe({1e308, -1e308}), "number 0 of 2 values is 1e+308");
  REFUSED(ratio_of_means({1, 2}, {1, -1e61}), "number 1 of 2 denominators is -1e+61");
  const Stats large = describe({1e60, -1e60});
  BOOST_TEST((large.mean == 0 && std::isfinite(large.low) && std::isfinite(large.high)));
  const Ratio wide = ratio_of_means({1e60, 0.9e60}, {1e60, 0.8e60});
  BOOST_TEST((std::isfinite(wide.value) && !std::isnan(wide.low) && !std::isnan(wide.high)));
  REFUSED(student_p(Stats{}), "a sample of 0");
  REFUSED(student_p(describe({1, 2}), nan_value), "asks for nan");
  REFUSED(ratio_of_means({}, {}), "at least one of the numerators");
  REFUSED(ratio_of_means({1, 2}, {1}), "2 numerators but 1 denominators");
  REFUSED(ratio_of_means({1, -infinity}, {1, 2}), "number 1 of 2 numerators is -inf");
  REFUSED(ratio_of_means({1, 2}, {nan_value, 2}), "number 0 of 2 denominators is nan");
  REFUSED(holm({0.1, 1.5}), "p-value 1 of 2 is 1.5");
  REFUSED(holm({-0.1}), "p-value 0 of 1 is -0.1");
  REFUSED(holm({nan_value}), "is nan");
  REFUSED(share_interval(0, 0), "share_interval: 0 hits of 0");
  REFUSED(share_interval(-1, 5), "-1 hits of 5");
  REFUSED(share_interval(6, 5), "6 hits of 5");
  REFUSED(equal_shares_p(1, 2, 3, 2), "equal_shares_p: 3 hits of 2");
  REFUSED(equal_shares_p(1, 0, 1, 2), "1 hits of 0");
}

namespace {

constexpr i64 studies = 10000;

struct Study {
  std::vector<double> real, synthetic, swapped;  // a value a seed
};

// Accuracies in percent: what a seed has in common (its order of the images, its first weights) moves all three by 3 points,
// and each has 0.7 of its own. The truth: `gap` from synthetic to real, of which swapped recovers 0.6.
Study simulated(i64 seeds, double gap, i64 study) {
  Study out;
  for (i64 seed = 0; seed < seeds; ++seed) {
    float z[4];
    Stream(11, "simulated study", u64(seeds), u64(study)).normals(u64(seed), z);
    const double common = 75 + 3 * z[0];
    out.synthetic.push_back(common + 0.7 * z[1]);
    out.real.push_back(common + gap + 0.7 * z[2]);
    out.swapped.push_back(common + 0.6 * gap + 0.7 * z[3]);
  }
  return out;
}

// The share of studies of which `holds` is true.
template <class Holds>
double share(Holds&& holds) {
  i64 hits = 0;
  for (i64 study = 0; study < studies; ++study) hits += holds(study) ? 1 : 0;
  return double(hits) / double(studies);
}

bool covers(const Stats& stats, double truth) { return !stats.above(truth) && !stats.below(truth); }

}  // namespace

BOOST_AUTO_TEST_CASE(simulated_means_and_differences_cover) {
  for (i64 seeds : {3, 5, 8}) {
    double paired_width = 0, mean_width = 0;
    const double mean = share([&](i64 study) {
      const Stats stats = describe(simulated(seeds, 5, study).synthetic);
      mean_width += stats.half_width() / double(studies);
      return covers(stats, 75);
    });
    const double difference = share([&](i64 study) {
      const Study s = simulated(seeds, 5, study);
      const Stats stats = describe(minus(s.real, s.synthetic));
      paired_width += stats.half_width() / double(studies);
      // The test, and the interval, of the same study agree.
      BOOST_REQUIRE((student_p(stats, 5) < 0.05) == !covers(stats, 5));
      return covers(stats, 5);
    });
    BOOST_TEST_MESSAGE(seeds << " seeds: mean " << mean << ", difference " << difference);
    BOOST_TEST((mean > 0.93 && mean < 0.97), seeds << " seeds: the mean is covered in " << mean);
    BOOST_TEST((difference > 0.93 && difference < 0.97), seeds << " seeds: the difference is covered in " << difference);
    BOOST_TEST(paired_width < 0.4 * mean_width);  // the seed's own part is gone
  }
}

BOOST_AUTO_TEST_CASE(simulated_ratios_cover) {
  for (i64 seeds : {3, 5, 8}) {
    // A gap of 6 points, known within about 1; and one of half a point, which no study of these sizes tells from 0 reliably.
    for (double gap : {6.0, 0.5}) {
      i64 bounded = 0;
      const double covered = share([&](i64 study) {
        const Study s = simulated(seeds, gap, study);
        const Ratio ratio = ratio_of_means(minus(s.swapped, s.synthetic), minus(s.real, s.synthetic));
        bounded += ratio.resolved() ? 1 : 0;
        return ratio.low <= 0.6 && 0.6 <= ratio.high;
      });
      const double resolved = double(bounded) / double(studies);
      BOOST_TEST_MESSAGE(seeds << " seeds, gap " << gap << ": ratio " << covered << ", bounded " << resolved);
      BOOST_TEST(covered > 0.93, seeds << " seeds, gap " << gap << ": the ratio is covered in " << covered);
      if (gap == 6) {
        BOOST_TEST(covered < 0.97, seeds << " seeds: the ratio is covered in " << covered);
        BOOST_TEST(resolved > 0.95, seeds << " seeds: " << resolved << " are bounded");
      } else {
        BOOST_TEST(resolved < 0.5, seeds << " seeds: " << resolved << " are bounded");
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(simulated_shares_are_covered) {
  for (i64 count : {20, 100})
    for (double truth : {0.03, 0.3, 0.76}) {
      std::vector<Interval> intervals;
      for (i64 hits = 0; hits <= count; ++hits) intervals.push_back(share_interval(hits, count));
      const double covered = share([&](i64 study) {
        const Stream stream(11, "simulated share", u64(count), u64(study));
        i64 hits = 0;
        for (i64 begin = 0; begin < count; begin += 4) {
          const PhiloxBlock words = stream.block(u64(begin / 4));
          for (u64 i = 0; i < 4; ++i) hits += double(words[i]) * 0x1p-32 < truth ? 1 : 0;  // counts are multiples of 4
        }
        return intervals[size_t(hits)].low <= truth && truth <= intervals[size_t(hits)].high;
      });
      BOOST_TEST_MESSAGE(count << " images, share " << truth << ": " << covered);
      BOOST_TEST(covered >= 0.95, count << " images, share " << truth << ": covered in " << covered);
    }
}

// No simulation: the probability of every outcome, summed where its interval covers.
BOOST_AUTO_TEST_CASE(shares_are_covered_whatever_the_truth) {
  for (i64 count : {1, 7, 50}) {
    std::vector<Interval> intervals;
    for (i64 hits = 0; hits <= count; ++hits) intervals.push_back(share_interval(hits, count));
    for (double truth = 0.005; truth < 1; truth += 0.005) {
      double covered = 0;
      for (i64 hits = 0; hits <= count; ++hits)
        if (intervals[size_t(hits)].low <= truth && truth <= intervals[size_t(hits)].high)
          covered +=
              std::exp(std::lgamma(double(count + 1)) - std::lgamma(double(hits + 1)) - std::lgamma(double(count - hits + 1)) +
                       double(hits) * std::log(truth) + double(count - hits) * std::log1p(-truth));
      BOOST_TEST(covered > 0.95 - 1e-9, count << " images, share " << truth << ": " << covered);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
