// What was compared with what, as JSON for study.json: each comparison with the number of seeds, the mean difference, its 95 %
// interval (null where it is unbounded) and whether that leaves out 0.
//
//   {"gap": {"n": 5, "mean": 0.059, "low": 0.051, "high": 0.067, "resolved": true}, "place_claim": "last layers", ...}
#pragma once

#include <mindgap/study/findings.hpp>

#include <string>

namespace mindgap {

// headline: what they say in words. Keys: headline, gap, gap_claim, place_claim, guesses, more_steps, costs, recipes,
// best_recipe, normalisations, settings, best_setting (an index into settings). What is missing or not resolved is null or empty.
std::string comparisons_json(const Findings& findings, const std::string& headline);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/comparisons.ipp>
#endif
