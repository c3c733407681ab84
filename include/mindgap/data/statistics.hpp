// Mean and std of each channel of a data set, in units of [0, 1]: what a student's input normalisation needs.
//
//   mean[c] = sum_v v h_c(v) / n,   std[c] = sqrt(sum_v (v - mean)^2 h_c(v) / n),   v = value / 255
//
// h_c counts the pixels of value v in channel c, so the result does not depend on threads or order; one read of the images.
#pragma once

#include <mindgap/data/augment.hpp>
#include <mindgap/data/dataset.hpp>

namespace mindgap {

Normalisation channel_statistics(const Dataset& dataset);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/statistics.ipp>
#endif
