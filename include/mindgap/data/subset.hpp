// Subsets and mixtures of data sets, fixed by a seed: views, which copy no pixel.
//
//   stratified order: round r takes the r-th image of each class, in a fresh order of the classes; within a class the images
//   come in an order drawn once. A subset of N images is the first N of that order, so subset N lies inside subset M > N, and
//   its counts a class differ by at most 1 for as long as every class has images left.
//
// An order depends on the seed and on the labels alone. Left out: drawing a mixture anew each epoch.
#pragma once

#include <mindgap/data/dataset.hpp>

namespace mindgap {

// All images in stratified order, as members for select().
std::vector<i64> stratified_order(const Dataset& dataset, u64 seed);

HeldOutSplit held_out_split(const Dataset& dataset);

// `count` images, the same number of each class up to 1.
Dataset subset(const Dataset& dataset, i64 count, u64 seed);

// Exactly `per_class` images of each class: what a fair comparison of two sets starts from.
Dataset equal_counts(const Dataset& dataset, i64 per_class, u64 seed);

// `count` images drawn from the set, at most 2^24: whole passes over it while they fit, a stratified subset for the rest.
std::vector<i64> repeated(const Dataset& dataset, i64 count, u64 seed);

inline Dataset repeat(const Dataset& dataset, i64 count, u64 seed) { return select(dataset, repeated(dataset, count, seed)); }

// All sets one after another; sizes and class names must agree.
Dataset concat(const std::vector<Dataset>& sets);

// How many images of each set a mixture has in which set k has the share weights[k] / (sum of weights) of `total` images. total
// 0: the least number for which every image of every set comes at least once. Throws for more than 2^24, and for a share of a set
// that has no images.
std::vector<i64> mixture_counts(const std::vector<Dataset>& sets, const std::vector<double>& weights, i64 total = 0);

// That mixture; a set that is smaller than its share is repeated.
Dataset mix(const std::vector<Dataset>& sets, const std::vector<double>& weights, u64 seed, i64 total = 0);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/subset.ipp>
#endif
