#include "sections.hpp"

#include "charts.hpp"
#include "html.hpp"
#include "sentences.hpp"
#include "words.hpp"
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace mindgap::report {

using namespace words;
using svg::escape;

namespace {

// What the numbers say about one topic.
std::string remark_list(const Findings& f, Topic topic) {
  std::string out;
  for (const Remark& remark : remarks(f))
    if (remark.topic == topic) out += "<li>" + escape(remark.text) + "</li>\n";
  return out.empty() ? "" : "<ul>\n" + out + "</ul>\n";
}

// ---- where the gap sits ---------------------------------------------------------------------------------------------

std::string costs_table(const CostCurve& curve) {
  std::set<i64> seeds;
  std::string rows;
  for (const SplitCost& cost : curve.points) {
    seeds.insert(cost.prefix.n);
    rows += "<tr>" + head(cost.split) + difference_cell(cost.prefix) + difference_cell(cost.suffix) +
            cell(percent_with_interval(cost.real_real)) + cell(percent_with_interval(cost.synthetic_real)) +
            cell(percent_with_interval(cost.synthetic_synthetic)) + "</tr>\n";
  }
  const std::string over = *seeds.begin() == *seeds.rbegin() ? count(*seeds.begin(), "seed")
                                                             : count(*seeds.begin()) + " to " + count(*seeds.rbegin(), "seed");
  return table_panel(
      "Costs in points, accuracies in %, ± half the 95\u00a0% interval, " + over + ". ● The interval leaves out 0.",
      head("front up to") + head("prefix cost") + head("suffix cost") + head("R → R") + head("S → R") + head("S → S"), rows);
}

std::string recovered_cell(const std::optional<Ratio>& ratio) {
  if (!ratio) return cell("–");
  if (!ratio->resolved()) return cell("not resolved");
  return "<td>" + escape(share(ratio->value)) + "<small>" + escape(share_range(*ratio)) + "</small></td>";
}

// One direction as a table.
std::string swap_table(const Curve& curve) {
  const bool real_front = curve.direction[0] == 'R', real_back = curve.direction.ends_with('R');
  std::string out = std::string("<div class=\"scroll\"><table>\n<caption>") +
                    (real_front ? "front R → back " : "front S → back ") + (real_back ? "R" : "S") +
                    "</caption>\n<thead><tr><th>frozen up to</th><th "
                    "class=\"left\">network</th><th>accuracy</th><th>recovered</th></tr></thead>\n<tbody>\n";
  for (const CurvePoint& point : curve.points)
    out += "<tr>" + head(point.split) + "<td class=\"left\">" + network(point.split, real_front) + "</td>" +
           cell(percent_with_interval(point.top1)) + recovered_cell(point.recovered) + "</tr>\n";
  return out + "</tbody></table></div>\n";
}

std::string policy_words(const std::string& policy) {
  if (policy == "frozen") return "kept as they were";
  if (policy == "live") return "live, that is taken from each batch and still moving";
  if (policy == "reestimated") return "re-estimated once on the new training images";
  return policy;
}
std::string start_words(const std::string& suffix_start) {
  if (suffix_start == "reinitialise") return "start from fresh random weights";
  if (suffix_start == "continue") return "continue from the weights that they had";
  return "start by " + suffix_start;
}

std::string recovered_part(const Findings& f, const std::vector<const Curve*>& curves, const std::string& freezing) {
  std::string tables;
  for (const Curve* curve : curves)
    if (curve->experiment != "E3") tables += swap_table(*curve);
  std::string out =
      figure(swap_chart(f, curves), std::string(bars_note) + " Hollow marks are the baselines R and S. " + freezing);
  if (tables.empty()) return out;
  return out + "<div class=\"panel pair\">\n" + tables + "</div>\n" +
         paragraph(
             "Recovered is the paper's measure: the mean of (accuracy − S) over the mean of (R − S), so S is 0\u00a0% and R is "
             "100\u00a0%. Below it stands Fieller's 95\u00a0% interval over all seeds, none left out; where it is unbounded, the "
             "share is not resolved.",
             "note");
}

}  // namespace

std::string swap_section(const Findings& f) {
  std::vector<std::pair<std::string, std::string>> ways;
  for (const Curve& curve : f.curves)
    if (std::pair way{curve.policy, curve.suffix_start}; std::find(ways.begin(), ways.end(), way) == ways.end())
      ways.push_back(way);
  if (ways.empty()) return "";
  std::string out = section("Where the gap sits");
  out += paragraph(
      "The front of a network is trained on one source and frozen; then the back is trained on the same source or on the other. "
      "S → R has a front from generated images and a back from real ones.");
  if (!f.costs.empty())
    out += paragraph(
        "Two networks that differ in one part only say what it costs that this part learnt from generated images. Prefix cost: "
        "the front, R → R minus S → R. Suffix cost: the back, S → R minus S → S. All have had the same steps. Where the prefix "
        "cost rises from one split to the next, there the gap sits.");
  for (const auto& [policy, suffix_start] : ways) {
    std::vector<const Curve*> curves;
    for (const Curve& curve : f.curves)
      if (curve.policy == policy && curve.suffix_start == suffix_start) curves.push_back(&curve);
    const std::string freezing = "Batch-norm statistics of frozen layers: " + policy_words(policy) + "; the layers behind " +
                                 start_words(suffix_start) + ".";
    if (ways.size() > 1) out += "<h3>" + escape(freezing) + "</h3>\n";
    for (const CostCurve& curve : f.costs)
      if (curve.policy == policy && curve.suffix_start == suffix_start)
        out += figure(costs_chart(curve), bars_note) + costs_table(curve);
    out += recovered_part(f, curves, freezing);
  }
  return out + remark_list(f, Topic::swap);
}

// ---- few real images ------------------------------------------------------------------------------------------------

namespace {

// "105 + 60": the steps of the run that it started from, and its own; one for each number of images.
std::string steps_of(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const RecipePoint& point : recipe.points) {
    const std::string steps = (point.steps_before ? count(point.steps_before) + " + " : "") + count(point.steps);
    if (std::find(out.begin(), out.end(), steps) == out.end()) out.push_back(steps);
  }
  return listed(out);
}

std::string recipe_cell(const RecipePoint& point) {
  std::string out = "<td>" + escape(percent_with_interval(point.top1));
  if (!point.over_s) return out + "</td>";
  const bool claimed = told(*point.over_s, point.p_over_s);
  out += std::string("<small") +
         (!claimed                 ? ">"
          : point.over_s->mean < 0 ? " class=\"below\">▼ "
                                   : " class=\"above\">▲ ") +
         escape(points_with_interval(*point.over_s)) + "</small>";
  return out + "</td>";
}

}  // namespace

std::string real_images_section(const Findings& f) {
  if (f.recipes.empty()) return "";
  std::string out = section("How many real images does it take?");
  out += paragraph(
      "If the last layers carry the gap, few real images may be enough to repair them. Starting from S, only the classifier, the "
      "last stage or all layers are trained on a handful of R's real images. Recipes from scratch learn from these real images "
      "alone, or from the generated set with the real images mixed in.");
  const svg::LineChart chart = real_images_chart(f);
  if (chart.x_ticks.size() > 1)  // a single number of images makes no line
    out += figure(chart, std::string(bars_note) + " Arrows at the lower edge stand for values below the axis.");
  std::set<i64> counts;
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) counts.insert(point.real_count);
  std::string columns = head("trained on real images"), rows;
  for (i64 images : counts) columns += head(count(images, "image"));
  for (const Recipe& recipe : f.recipes) {
    rows += "<tr><th>" + escape(recipe.label) + "<small>" + escape(steps_of(recipe)) + " steps</small></th>";
    for (i64 images : counts) {
      const auto point =
          std::find_if(recipe.points.begin(), recipe.points.end(), [&](const RecipePoint& p) { return p.real_count == images; });
      rows += point == recipe.points.end() ? cell("–") : recipe_cell(*point);
    }
    rows += "</tr>\n";
  }
  return out +
         table_panel(
             "Accuracy in %, and below it the distance to S in points, ± half the 95\u00a0% interval. ▲ above, ▼ below S: "
             "resolved after Holm's correction for the recipes of a column. Steps: those of S, and further ones.",
             columns, rows) +
         remark_list(f, Topic::real_images);
}

// ---- normalisation, settings ----------------------------------------------------------------------------------------

std::string normalisation_section(const Findings& f) {
  if (f.normalisations.empty()) return "";
  std::string out = section("Does normalisation explain it?");
  out += paragraph(
      "Generated images differ from real ones in brightness and contrast too. If that were the gap, the right input "
      "normalisation would close it.");
  const bool gaps =
      std::any_of(f.normalisations.begin(), f.normalisations.end(), [](const auto& row) { return row.gap.has_value(); });
  std::string columns = head("normalisation") + (gaps ? head("gap") : ""), rows;
  for (const std::string& direction : f.normalisation_directions)
    columns += head(direction == "R" ? "trained on real (R)" : direction == "S" ? "trained on generated (S)" : direction);
  for (const NormalisationRow& row : f.normalisations) {
    rows += "<tr>" + head(row.name) + (gaps ? difference_cell(row.gap) : "");
    for (const auto& top1 : row.top1) rows += cell(top1 ? percent_with_interval(*top1) : "–");
    rows += "</tr>\n";
  }
  return out +
         table_panel(
             "Accuracy on real test images in %, gap R − S in points, ± half the 95\u00a0% interval. ● The interval leaves out "
             "0.",
             columns, rows) +
         remark_list(f, Topic::normalisation);
}

std::string settings_section(const Findings& f) {
  if (f.settings.empty()) return "";
  std::string out = section("How much of the gap is sampling?");
  out += paragraph(
      "The same generator draws other images with another sampler, more steps or another guidance (how strongly an image is "
      "pushed towards its class). S was trained on images of each setting.");
  const svg::LineChart chart = settings_chart(f);
  const bool gaps = !chart.series.empty();
  if (gaps)
    out += figure(chart, std::string(bars_note) + " A line is a sampler with its steps and its number of images (2k: 2,000).");
  std::string rows;
  for (const SettingPoint& s : f.settings)
    rows += "<tr><th>" + escape(s.sampler + ", " + count(s.sampling_steps, "step")) +
            (s.used ? "<small>used in this study</small>" : "") + "</th>" + cell(decimal(s.guidance)) +
            (gaps ? difference_cell(s.gap) : "") + cell(percent_with_interval(s.synthetic)) + cell(count(s.synthetic_count)) +
            "</tr>\n";
  return out +
         table_panel(
             "On held-out real images: gap R − S in points, accuracy of S in %, ± half the 95\u00a0% interval. ● The interval "
             "leaves out 0.",
             head("sampler") + head("guidance") + (gaps ? head("gap") : "") + head("S") + head("images"), rows) +
         remark_list(f, Topic::settings);
}

}  // namespace mindgap::report
