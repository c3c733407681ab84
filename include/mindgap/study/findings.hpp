// From rows to findings: baselines, swap curves, data efficiency, normalisation, and what they say in plain sentences.
//
// Sentences are computed from the numbers, never assumed: a gap that is missing or small against the spread is called
// that, a shape that differs from the paper's is called that, and a recipe that ends below the student without any real
// image is named with its loss. Differences are formed per seed and then averaged.
//
// The rows are those of one configuration: equal epochs, device, precision and version.
#pragma once

#include <mindgap/study/results.hpp>

#include <optional>
#include <string>
#include <vector>

namespace mindgap {

struct CurvePoint {
  i64 frozen_units;
  std::string split;  // the last frozen unit or group
  Stats top1;
  std::optional<Stats> recovered;
};

// Accuracy against the split, for one way of freezing.
struct Curve {
  std::string experiment;  // "E1", "E2", "E3"
  std::string direction;   // "S->R", "R->S", "S->S", "R->R"
  std::string policy, suffix_start;
  std::vector<CurvePoint> points;  // ascending in frozen units
};

struct RecipePoint {
  i64 real_count;
  Stats top1;
  std::optional<Stats> over_s;  // accuracy minus that of S, per seed
  i64 seeds_below_s = 0;
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
};

struct Findings {
  std::optional<Stats> real, synthetic, gap;  // R, S and R - S on real test images
  i64 real_count = 0, synthetic_count = 0;    // training images of the baselines
  std::vector<Curve> curves;
  std::vector<Recipe> recipes;
  std::vector<std::string> normalisation_directions;
  std::vector<NormalisationRow> normalisations;

  // The first curve of an experiment; null when it was not run.
  const Curve* curve(const std::string& experiment) const&;
  const Curve* curve(const std::string& experiment) const&& = delete;  // it would point into a temporary
};

Findings find_findings(const std::vector<Row>& rows);

// The point of a curve behind which exactly the last stage and the classifier are trained; null for a curve without one.
const CurvePoint* last_group(const Curve& curve);
// "layer1" of the unit "layer1.0"; a group is its own.
inline std::string unit_group(const std::string& unit) { return unit.substr(0, unit.find('.')); }

// The finding in one or two sentences.
std::string headline(const Findings& findings);

enum class Topic { gap, swap, real_images, normalisation };
struct Remark {
  Topic topic;
  bool leading;  // belongs beside the headline
  std::string text;
};
// What else the numbers say, and where they are weak; a sentence or two each.
std::vector<Remark> remarks(const Findings& findings);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/findings.ipp>
#endif
