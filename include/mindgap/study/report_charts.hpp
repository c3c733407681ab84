// Building blocks of the report: paragraphs, the network as a row of boxes, and the two line charts.
//
// Accuracy against the split, and accuracy against the number of real images, from findings to svg::LineChart. Bars span
// the lowest and the highest of the seeds.
#pragma once

#include <mindgap/study/findings.hpp>
#include <mindgap/study/svg.hpp>
#include <mindgap/study/words.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace mindgap::detail {

using svg::escape;
using namespace words;

inline std::string paragraph(const std::string& raw, const std::string& classes = "") {
  return "<p" + (classes.empty() ? "" : " class=\"" + classes + "\"") + ">" + escape(raw) + "</p>\n";
}
inline std::string section(const std::string& title) { return "<h2>" + escape(title) + "</h2>\n"; }

inline std::string seeds_tooltip(const std::string& name, const Stats& stats) {
  std::string out = name + ": " + percent(stats.mean);
  if (stats.n > 1)
    out += " (" + svg::number(stats.lowest * 100, 1) + " to " + svg::number(stats.highest * 100, 1) + " over " +
           count(stats.n, "seed") + ")";
  return out;
}
inline svg::Point chart_point(double x, const Stats& stats, const std::string& name, bool hollow = false) {
  return {x, stats.mean * 100, stats.lowest * 100, stats.highest * 100, seeds_tooltip(name, stats), hollow};
}

inline std::vector<svg::Reference> baselines(const Findings& f, const char* real_colour, const char* generated_colour) {
  std::vector<svg::Reference> out;
  if (f.real) out.push_back({"R: all real, " + svg::number(f.real->mean * 100, 1), real_colour, f.real->mean * 100});
  if (f.synthetic)
    out.push_back({"S: all generated, " + svg::number(f.synthetic->mean * 100, 1), generated_colour, f.synthetic->mean * 100});
  return out;
}

// Accuracy against the split for the curves of one way of freezing. The hollow ends are the baselines: nothing frozen is
// the student of the back's source, everything frozen that of the front's.
inline svg::LineChart swap_chart(const Findings& f, const std::vector<const Curve*>& curves) {
  svg::LineChart chart;
  chart.x_title = "frozen from the input up to and including";
  chart.y_title = "% of real test images recognised";
  chart.references = baselines(f, "real", "generated");
  std::map<i64, std::string> splits;
  for (const Curve* curve : curves)
    for (const CurvePoint& point : curve->points) splits.emplace(point.frozen_units, point.split);
  std::map<i64, double> position;
  chart.x_ticks.push_back("nothing");
  for (const auto& [frozen_units, split] : splits) {
    position[frozen_units] = double(chart.x_ticks.size());
    chart.x_ticks.push_back(split);
  }
  chart.x_ticks.push_back("everything");
  const double last = double(chart.x_ticks.size()) - 1;
  chart.description = "Accuracy on real test images against the split.";
  for (const Curve* curve : curves) {
    const bool real_front = curve->direction[0] == 'R', real_back = curve->direction.ends_with('R'),
               control = real_front == real_back;
    svg::Series series;
    series.label = control     ? (real_back ? "control R → R" : "control S → S")
                   : real_back ? "front S → back R"
                               : "front R → back S";
    series.colour = real_back ? "real" : "generated";
    series.marker = control ? svg::Marker::none : real_back ? svg::Marker::circle : svg::Marker::square;
    series.dashed = control;
    const auto &front = real_front ? f.real : f.synthetic, &back = real_back ? f.real : f.synthetic;
    if (back) series.points.push_back(chart_point(0, *back, "nothing frozen", true));
    for (const CurvePoint& point : curve->points) {
      series.points.push_back(
          chart_point(position[point.frozen_units], point.top1, series.label + ", frozen up to " + point.split));
      chart.description += " " + series.points.back().tooltip + ".";
    }
    if (front) series.points.push_back(chart_point(last, *front, "everything frozen", true));
    if (control) {
      // The baselines' spread is drawn by the curves themselves.
      for (svg::Point& point : series.points)
        if (point.hollow) point.low = point.high = point.y;
    } else {
      series.name_at = int(std::min<size_t>(2, series.points.size() - 1));
      series.name_above = real_back;
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

inline svg::LineChart real_images_chart(const Findings& f) {
  svg::LineChart chart;
  chart.x_title = "real training images";
  chart.y_title = "% of real test images recognised";
  chart.references = baselines(f, "soft", "soft");
  chart.dodge = 7;
  chart.description = "Accuracy on real test images against the number of real training images.";
  std::map<i64, double> position;
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) position[point.real_count] = 0;
  for (auto& [real_count, x] : position) {
    x = double(chart.x_ticks.size());
    chart.x_ticks.push_back(count(real_count));
  }
  // The paper's recipe, the last stage, is the strongest.
  const std::pair<const char*, svg::Marker> looks[] = {{"green", svg::Marker::circle}, {"ink", svg::Marker::square},
                                                       {"gold", svg::Marker::diamond}, {"generated", svg::Marker::triangle},
                                                       {"real", svg::Marker::diamond}, {"purple", svg::Marker::plus}};
  const auto look = [&](const Recipe& recipe, size_t index) {
    for (size_t i = 0; i < std::size(known_recipe_names); ++i)
      if (recipe.name == known_recipe_names[i]) return looks[i];
    return looks[index % std::size(looks)];
  };
  for (size_t i = 0; i < f.recipes.size(); ++i) {
    const Recipe& recipe = f.recipes[i];
    svg::Series series;
    series.label = recipe.label;
    std::tie(series.colour, series.marker) = look(recipe, i);
    series.dashed = !recipe.fine_tunes;
    for (const RecipePoint& point : recipe.points) {
      series.points.push_back(
          chart_point(position[point.real_count], point.top1, recipe.label + ", " + count(point.real_count) + " real images"));
      chart.description += " " + series.points.back().tooltip + ".";
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

inline std::string figure(const svg::LineChart& chart, const std::string& caption) {
  std::string out = "<figure>\n<ul class=\"legend\">";
  out += svg::legend(chart);
  out += "</ul>\n" + svg::draw(chart, 860, 400, true, "wide") + svg::draw(chart, 350, 330, false, "narrow");
  return out + "<figcaption>" + escape(caption) + "</figcaption>\n</figure>\n";
}

// The network as a row of boxes: generated front, real back, or the reverse.
inline std::string network(size_t front, size_t back, bool real_front) {
  std::string out = std::string("<span class=\"net") + (front + back > 8 ? " fine" : "") + "\" aria-hidden=\"true\">";
  for (size_t i = 0; i < front + back; ++i) out += (i < front) == real_front ? "<i></i>" : "<i class=\"g\"></i>";
  return out + "</span>";
}

}  // namespace mindgap::detail
