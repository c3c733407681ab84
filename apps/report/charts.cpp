#include "charts.hpp"

#include "words.hpp"
#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace mindgap::report {

using namespace words;

namespace {

// A mean with its interval, in per cent of images or in points.
svg::Point chart_point(double x, const Stats& stats, const std::string& name, const std::string& unit, bool hollow = false) {
  const std::string tooltip = name + ": " + svg::number(stats.mean * 100, 1) + unit + " (" + interval(stats) + ")";
  return {x, stats.mean * 100, stats.low * 100, stats.high * 100, tooltip, hollow};
}
svg::Point accuracy_point(double x, const Stats& stats, const std::string& name, bool hollow = false) {
  return chart_point(x, stats, name, "\u00a0%", hollow);
}

std::vector<svg::Reference> baseline_lines(const Findings& f, const char* real_colour, const char* generated_colour) {
  std::vector<svg::Reference> out;
  if (f.real) out.push_back({"R: all real, " + svg::number(f.real->mean * 100, 1), real_colour, f.real->mean * 100});
  if (f.synthetic)
    out.push_back({"S: all generated, " + svg::number(f.synthetic->mean * 100, 1), generated_colour, f.synthetic->mean * 100});
  return out;
}

// 2000 -> "2k", 1234 -> "1,234": where the name of a line has little room.
std::string short_count(i64 value) { return value && value % 1000 == 0 ? count(value / 1000) + "k" : count(value); }

}  // namespace

svg::LineChart costs_chart(const CostCurve& curve) {
  svg::LineChart chart;
  chart.x_title = "split: the front reaches up to and including";
  chart.y_title = "points of accuracy that generated images cost";
  chart.references = {{"no cost", "soft", 0}};
  chart.dodge = 14;
  chart.cut_below = false;
  chart.description = "What generated images cost in the front and in the back of a network, against the split.";
  svg::Series prefix{"prefix cost (the front)", "generated", svg::Marker::circle, false, {}};
  svg::Series suffix{"suffix cost (the back)", "purple", svg::Marker::square, false, {}};
  for (const SplitCost& cost : curve.points) {
    const double x = double(chart.x_ticks.size());
    chart.x_ticks.push_back(cost.split);
    prefix.points.push_back(chart_point(x, cost.prefix, "prefix cost, front up to " + cost.split, " points"));
    suffix.points.push_back(chart_point(x, cost.suffix, "suffix cost, front up to " + cost.split, " points"));
    chart.description += " " + prefix.points.back().tooltip + "; " + suffix.points.back().tooltip + ".";
  }
  chart.series = {std::move(prefix), std::move(suffix)};
  return chart;
}

svg::LineChart swap_chart(const Findings& f, const std::vector<const Curve*>& curves) {
  svg::LineChart chart;
  chart.x_title = "frozen from the input up to and including";
  chart.y_title = "% of real test images recognised";
  chart.references = baseline_lines(f, "real", "generated");
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
    if (back) series.points.push_back(accuracy_point(0, *back, "nothing frozen", true));
    for (const CurvePoint& point : curve->points) {
      series.points.push_back(
          accuracy_point(position[point.frozen_units], point.top1, series.label + ", frozen up to " + point.split));
      chart.description += " " + series.points.back().tooltip + ".";
    }
    if (front) series.points.push_back(accuracy_point(last, *front, "everything frozen", true));
    if (control) {  // their intervals are in the table of costs
      for (svg::Point& point : series.points) point.low = point.high = point.y;
    } else {
      series.name_at = int(std::min<size_t>(2, series.points.size() - 1));
      series.name_above = real_back;
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

svg::LineChart real_images_chart(const Findings& f) {
  svg::LineChart chart;
  chart.x_title = "real training images";
  chart.y_title = "% of real test images recognised";
  chart.references = baseline_lines(f, "soft", "soft");
  chart.dodge = 9;
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
          accuracy_point(position[point.real_count], point.top1, recipe.label + ", " + count(point.real_count) + " real images"));
      chart.description += " " + series.points.back().tooltip + ".";
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

svg::LineChart settings_chart(const Findings& f) {
  svg::LineChart chart;
  chart.x_title = "guidance";
  chart.y_title = "gap R − S on held-out real images, points";
  chart.references = {{"no gap", "soft", 0}};
  chart.dodge = 12;
  chart.cut_below = false;
  chart.description = "The gap on held-out real images against guidance.";
  std::set<std::string> samplers;
  std::set<i64> images;
  std::map<double, double> position;
  for (const SettingPoint& s : f.settings) {
    if (!s.gap) continue;
    samplers.insert(s.sampler), images.insert(s.synthetic_count), position[s.guidance] = 0;
  }
  for (auto& [guidance, x] : position) {
    x = double(chart.x_ticks.size());
    chart.x_ticks.push_back(decimal(guidance));
  }
  const std::pair<const char*, svg::Marker> looks[] = {{"generated", svg::Marker::circle}, {"real", svg::Marker::square},
                                                       {"green", svg::Marker::triangle},   {"purple", svg::Marker::diamond},
                                                       {"gold", svg::Marker::plus},        {"ink", svg::Marker::circle}};
  for (const SettingPoint& s : f.settings) {
    if (!s.gap) continue;
    const std::string label = (samplers.size() > 1 ? s.sampler + ", " : "") + count(s.sampling_steps, "step") +
                              (images.size() > 1 ? ", " + short_count(s.synthetic_count) : "");
    if (chart.series.empty() || chart.series.back().label != label) {
      const auto& [colour, marker] = looks[chart.series.size() % std::size(looks)];
      chart.series.push_back({label, colour, marker, chart.series.size() >= std::size(looks), {}});
    }
    auto& points = chart.series.back().points;
    points.push_back(chart_point(position[s.guidance], *s.gap, label + ", guidance " + decimal(s.guidance), " points"));
    chart.description += " " + points.back().tooltip + ".";
  }
  return chart;
}

}  // namespace mindgap::report
