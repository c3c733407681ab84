// From rows to findings: baselines, swap curves, what each part of a network costs, few real images, normalisation, and the
// generator's settings; and what may be claimed of them. As JSON they are in comparisons.hpp.
//
// Differences are formed by seed, over the seeds that have both runs. Where the gap sits is asked like with like: at a split the
// prefix cost is (R -> R) - (S -> R), the suffix cost (S -> R) - (S -> S); they sum to the gap between the two controls.
// "Recovered", the paper's measure, stands beside them. Several recipes, normalisations or settings are compared after Holm's
// correction, and one is the best only where it is told from every other.
//
// The rows are those of one configuration: equal device, precision and version.
#pragma once

#include <mindgap/study/results.hpp>

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mindgap {

struct CurvePoint {
  i64 frozen_units;
  std::string split;  // the last frozen unit or group
  Stats top1;
  std::optional<Ratio> recovered;
};

// Accuracy against the split, for one way of freezing.
struct Curve {
  std::string experiment;  // "E1", "E2", "E3"
  std::string direction;   // "S->R", "R->S", "S->S", "R->R"
  std::string policy, suffix_start;
  std::vector<CurvePoint> points;  // ascending in frozen units
};

// What it costs, at one split, that one part of a network learns from generated images instead of real ones: the other part
// is the same, the steps are the same. Over the seeds that have all three runs.
struct SplitCost {
  i64 frozen_units;
  std::string split;
  Stats real_real, synthetic_real, synthetic_synthetic;  // accuracies of R -> R, S -> R, S -> S
  Stats prefix;                                          // (R -> R) - (S -> R)
  Stats suffix;                                          // (S -> R) - (S -> S)
  Stats difference;                                      // suffix - prefix
  Stats controls;                                        // suffix + prefix = (R -> R) - (S -> S)
};

// For one way of freezing.
struct CostCurve {
  std::string policy, suffix_start;
  std::vector<SplitCost> points;  // ascending in frozen units
};

struct RecipePoint {
  i64 real_count;
  i64 steps, steps_before;  // of the optimizer, in this run and in the one that it started from
  Stats top1;
  std::optional<Stats> over_s;  // accuracy minus that of S, by seed
  double p_over_s = 1;          // of over_s, corrected by Holm for the recipes with as many real images
};

// The recipes that the study knows, in the order of the report.
inline constexpr const char* known_recipe_names[] = {"fc", "last group", "last two", "all", "scratch", "mixed"};

// One way to spend few real images.
struct Recipe {
  std::string name;                 // the split column: "fc", "last group", ...
  std::string label;                // in words
  bool fine_tunes;                  // starts from the synthetically trained student
  std::vector<RecipePoint> points;  // ascending in real images
};

// One normalisation, for students trained on each source.
struct NormalisationRow {
  std::string name;
  std::vector<std::optional<Stats>> top1;  // one for each of Findings::normalisation_directions
  std::optional<Stats> gap;                // R - S under it, by seed; "each its own" is "real set" for R
};

// Two normalisations of one direction, `by` = better - worse.
struct NormalisationDifference {
  std::string direction, better, worse;
  Stats by;
  double p;  // corrected by Holm for all such pairs
};

// S trained on images of one setting of the generator, measured on held-out training images.
struct SettingPoint {
  std::string sampler;
  i64 sampling_steps;
  double guidance;
  i64 synthetic_count;
  Stats synthetic;
  std::optional<Stats> gap;  // R - S there
  bool used;                 // S of the baselines has this one
};

struct Findings {
  std::optional<Stats> real, synthetic, gap;  // R, S and R - S on real test images
  std::optional<Stats> more_steps;            // R with twice the steps - R
  i64 real_count = 0, synthetic_count = 0;    // training images of the baselines
  i64 measured_count = 0;                     // test images,
  i64 held_out_count = 0;                     // and held-out training images, which the settings are measured on
  i64 generator_images = 0;                   // labelled real images that the generator saw; 0: not recorded
  i64 synthetic_sets = 0;                     // different seeds of sampling among the baselines S
  i64 classes = 0;                            // 0: not known
  std::vector<Curve> curves;
  std::vector<CostCurve> costs;
  std::vector<Recipe> recipes;
  std::map<i64, std::string> best_recipe;  // by real images: the label of the one that is better than every other, where one is
  std::vector<std::string> normalisation_directions;
  std::vector<NormalisationRow> normalisations;
  std::vector<NormalisationDifference> normalisation_differences;  // of every two, the largest first
  std::vector<SettingPoint> settings;                              // by sampler, steps, number of images, guidance
  std::optional<size_t> best_setting;  // of settings: the one whose S is better than every other's, where one is

  // The first curve of an experiment (and direction); null when it was not run.
  const Curve* curve(const std::string& experiment, const std::string& direction = "") const&;
  const Curve* curve(const std::string& experiment, const std::string& direction = "") const&& = delete;  // into a temporary

  // S is hardly better than guessing, which is right on 1 / classes: the test images do not tell the two apart, or S is right
  // less than twice as often (with less than 10 classes: goes less than a ninth of the way from guessing to perfect). Images of
  // that kind teach next to nothing, and where a gap sits cannot be asked.
  bool guesses() const;
};

// classes: of the data set, for guesses(); 0 where it is not known.
Findings find_findings(const std::vector<Row>& rows, i64 classes = 0);

// The networks are ResNets, and the rows do not say how many units they have.
inline constexpr const char *stage_before_last = "layer3", *last_stage = "layer4";

// The point behind which exactly the last stage and the classifier are trained; null where there is none.
const CurvePoint* last_group(const Curve& curve);
const SplitCost* last_group(const CostCurve& curve);

// Of a smaller difference of accuracies, which prints as 0.0 points, nothing is claimed.
inline constexpr double smallest_difference = 0.0005, significance_level = 0.05;
// The difference is told from 0 by its interval; and, as one of several, by its p-value, corrected for their number.
inline bool told(const Stats& stats) { return stats.resolved() && std::abs(stats.mean) >= smallest_difference; }
inline bool told(const Stats& stats, double corrected_p) { return corrected_p < significance_level && told(stats); }

// Does training on generated images cost accuracy?
enum class GapClaim { none, costs, gains };  // none: not resolved, or the baselines are missing
GapClaim gap_claim(const Findings& findings);

// Does the last stage with the classifier carry more of the gap than all layers before it, or the reverse?
enum class PlaceClaim {
  not_asked,   // no gap is resolved, S merely guesses, or E1 or E3 is missing at the split before the last stage
  unresolved,  // their costs are not told apart, or the larger one is not told from 0
  last,
  earlier
};
PlaceClaim place_claim(const Findings& findings);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/findings.ipp>
#endif
