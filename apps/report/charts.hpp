// The line charts of the report, from findings to svg::LineChart. Bars are 95 % intervals; a single seed has none.
#pragma once

#include <mindgap/study/findings.hpp>

#include "svg.hpp"
#include <vector>

namespace mindgap::report {

// What it costs that the front, or the back, learnt from generated images.
svg::LineChart costs_chart(const CostCurve& curve);
// Accuracy against the split for the curves of one way of freezing. The hollow ends are the baselines: nothing frozen is
// the student of the back's source, everything frozen that of the front's.
svg::LineChart swap_chart(const Findings& findings, const std::vector<const Curve*>& curves);
// Accuracy against the number of real training images, a line a recipe.
svg::LineChart real_images_chart(const Findings& findings);
// The gap on held-out images against guidance, a line for each sampler, number of steps and number of images; where all have one
// in common, the names leave it out. Empty where no gap was measured.
svg::LineChart settings_chart(const Findings& findings);

}  // namespace mindgap::report
