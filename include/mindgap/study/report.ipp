// The bodies of study/report.hpp: charts, tables and sentences put together into a page.
#include <mindgap/core/file.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/study/report.hpp>
#include <mindgap/study/report_style.hpp>
#include <mindgap/study/words.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace mindgap {

namespace detail {

using svg::escape;
using namespace words;

inline std::string paragraph(const std::string& raw, const std::string& classes = "") {
  return "<p" + (classes.empty() ? "" : " class=\"" + classes + "\"") + ">" + escape(raw) + "</p>\n";
}
inline std::string section(const std::string& title) { return "<h2>" + escape(title) + "</h2>\n"; }

// What the numbers say about one topic.
inline std::string remark_list(const Findings& f, Topic topic) {
  std::string out;
  for (const Remark& remark : remarks(f))
    if (remark.topic == topic) out += "<li>" + escape(remark.text) + "</li>\n";
  return out.empty() ? "" : "<ul>\n" + out + "</ul>\n";
}

inline std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    u32 word = 0;
    for (size_t i = 0; i < 3; ++i) word = word << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out += at + i > bytes.size() ? '=' : digits[word >> (18 - 6 * i) & 63];
  }
  return out;
}

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

inline std::string recovered_cell(const CurvePoint& point, const char* colour) {
  if (!point.recovered) return "<td class=\"left\">–</td>";
  const double width = std::clamp(point.recovered->mean, 0.0, 1.0) * 100;
  return "<td class=\"left\"><span class=\"value\">" + escape(share(point.recovered->mean)) + "</span>" +
         "<span class=\"meter\" style=\"--c:var(--" + colour + ")\"><i style=\"width:" + svg::number(width, 1) +
         "%\"></i></span></td>";
}

// One direction as a table.
inline std::string swap_table(const Curve& curve) {
  const bool real_front = curve.direction[0] == 'R', real_back = curve.direction.ends_with('R');
  std::string out = std::string("<div class=\"scroll\"><table>\n<caption>") +
                    (real_front ? "front R → back " : "front S → back ") + (real_back ? "R" : "S") +
                    "</caption>\n<thead><tr><th>frozen up to</th><th class=\"left\">network</th><th>accuracy</th><th "
                    "class=\"left\">recovered</th></tr></thead>\n<tbody>\n";
  for (size_t i = 0; i < curve.points.size(); ++i) {
    const CurvePoint& point = curve.points[i];
    out += "<tr><th>" + escape(point.split) + "</th><td class=\"left\">" + network(i + 1, curve.points.size() - i, real_front) +
           "</td><td>" + escape(with_spread(point.top1)) + "</td>" + recovered_cell(point, real_back ? "real" : "generated") +
           "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

inline std::string swap_tables(const Findings& f, const Curve* swap, const Curve* reverse) {
  std::string out =
      "<div class=\"panel pair\">\n" + (swap ? swap_table(*swap) : "") + (reverse ? swap_table(*reverse) : "") + "</div>\n";
  out += paragraph(
      "Recovered: the share of the gap, 0 % is S and 100 % is R, formed for each seed and then averaged. Accuracies are mean ± "
      "standard deviation over seeds.",
      "note");
  if (swap && f.gap && f.gap->mean > 0) {
    // What each further frozen group costs, R at the left end and S at the right.
    std::string costs;
    double before = f.real->mean;
    for (const CurvePoint& point : swap->points) {
      costs += point.split + " " + signed_points(point.top1.mean - before) + ", ";
      before = point.top1.mean;
    }
    out += paragraph("From R to S, leaving one part more to generated images changes the accuracy by (points): " + costs +
                         "the classifier " + signed_points(f.synthetic->mean - before) + ".",
                     "note");
  }
  return out;
}

inline std::string policy_words(const std::string& policy) {
  if (policy == "frozen") return "kept as they were";
  if (policy == "live") return "live, that is taken from each batch and still moving";
  if (policy == "reestimated") return "re-estimated once on the new training images";
  return policy;
}
inline std::string start_words(const std::string& suffix_start) {
  if (suffix_start == "reinitialise") return "start from fresh random weights";
  if (suffix_start == "continue") return "continue from the weights that they had";
  return "start by " + suffix_start;
}

inline std::string swap_section(const Findings& f) {
  std::vector<std::pair<std::string, std::string>> ways;
  for (const Curve& curve : f.curves)
    if (std::pair way{curve.policy, curve.suffix_start}; std::find(ways.begin(), ways.end(), way) == ways.end())
      ways.push_back(way);
  if (ways.empty()) return "";
  std::string out = section("Where the gap sits");
  out += paragraph(
      "The front of a network is trained on one source and frozen; the layers behind it are then trained on the other. Read the "
      "round marks from left to "
      "right: the more of the front comes from generated images, the less is left to learn from real ones. Where the line falls, "
      "there the gap sits.");
  for (const auto& [policy, suffix_start] : ways) {
    std::vector<const Curve*> curves;
    const Curve *swap = nullptr, *reverse = nullptr;
    for (const Curve& curve : f.curves) {
      if (curve.policy != policy || curve.suffix_start != suffix_start) continue;
      curves.push_back(&curve);
      if (curve.experiment == "E1" && !swap) swap = &curve;
      if (curve.experiment == "E2" && !reverse) reverse = &curve;
    }
    if (ways.size() > 1)
      out += "<h3>" +
             escape("Batch-norm statistics: " + policy_words(policy) + "; the layers behind " + start_words(suffix_start)) +
             "</h3>\n";
    out += figure(swap_chart(f, curves),
                  "Bars span the lowest and the highest of the seeds, marks are their mean. Hollow marks are the baselines R and "
                  "S. Batch-norm statistics of frozen layers: " +
                      policy_words(policy) + "; the layers behind " + start_words(suffix_start) + ".");
    if (swap || reverse) out += swap_tables(f, swap, reverse);
  }
  return out + remark_list(f, Topic::swap);
}

inline std::string real_images_section(const Findings& f) {
  if (f.recipes.empty()) return "";
  std::string out = section("How many real images does it take?");
  out += paragraph(
      "If the last layers carry the gap, then few real images may be enough to repair them. Starting from S, only the "
      "classifier, the last stage or all layers are trained on "
      "a handful of real images. The two alternatives start from nothing: on these real images alone, or on the generated set "
      "with the real images mixed in.");
  out += figure(real_images_chart(f),
                "Bars span the lowest and the highest of the seeds. Whatever lies below the dotted line of S was not worth its "
                "real images. Arrows at the lower edge stand for "
                "values below the axis.");
  std::set<i64> counts;
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) counts.insert(point.real_count);
  out +=
      "<div class=\"panel scroll\"><table>\n<caption>Accuracy, and below it the distance to S in "
      "points.</caption>\n<thead><tr><th>trained on real images</th>";
  for (i64 images : counts) out += "<th>" + count(images) + " images</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const Recipe& recipe : f.recipes) {
    out += "<tr><th>" + escape(recipe.label) + "</th>";
    for (i64 images : counts) {
      const auto point =
          std::find_if(recipe.points.begin(), recipe.points.end(), [&](const RecipePoint& p) { return p.real_count == images; });
      if (point == recipe.points.end()) {
        out += "<td>–</td>";
        continue;
      }
      out += "<td>" + escape(with_spread(point->top1));
      if (point->over_s)
        out += std::string("<small class=\"") +
               (std::abs(point->over_s->mean) < visible ? "\">"
                : point->over_s->mean < 0               ? "below\">▼ "
                                                        : "above\">▲ ") +
               escape(signed_points(point->over_s->mean)) + "</small>";
      out += "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n" + remark_list(f, Topic::real_images);
}

inline std::string normalisation_section(const Findings& f) {
  if (f.normalisations.empty()) return "";
  std::string out = section("Does normalisation explain it?");
  out += paragraph(
      "Generated images differ from real ones in brightness and contrast too. If that were the gap, the right input "
      "normalisation would close it.");
  out +=
      "<div class=\"panel scroll\"><table>\n<caption>Accuracy on real test images, mean ± standard deviation over "
      "seeds.</caption>\n<thead><tr><th>normalisation</th>";
  for (const std::string& direction : f.normalisation_directions)
    out += "<th>" +
           escape(direction == "R"   ? "trained on real (R)"
                  : direction == "S" ? "trained on generated (S)"
                                     : direction) +
           "</th>";
  const auto& d = f.normalisation_directions;
  const auto column = [&](const char* direction) { return size_t(std::find(d.begin(), d.end(), direction) - d.begin()); };
  const size_t r = column("R"), s = column("S");
  const bool gaps = r < d.size() && s < d.size();
  out += std::string(gaps ? "<th>gap, points</th>" : "") + "</tr></thead>\n<tbody>\n";
  for (const NormalisationRow& row : f.normalisations) {
    out += "<tr><th>" + escape(row.name) + "</th>";
    for (const auto& top1 : row.top1) out += "<td>" + (top1 ? escape(with_spread(*top1)) : "–") + "</td>";
    if (gaps)
      out += "<td>" + (row.top1[r] && row.top1[s] ? escape(svg::number((row.top1[r]->mean - row.top1[s]->mean) * 100, 1)) : "–") +
             "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n" + remark_list(f, Topic::normalisation);
}

inline std::string strip(const ReportData& data, const ImageSet& set, i64 class_index, const std::string& kind) {
  if (!set.images.defined()) return "<div></div>\n";
  const i64 h = set.images.extent(1), w = set.images.extent(2), c = set.images.extent(3);
  std::string out;
  i64 shown = 0;
  for (size_t i = 0; i < set.labels.size() && shown < 8; ++i)
    if (set.labels[i] == class_index) {
      out += "<img alt=\"\" width=\"" + std::to_string(w) + "\" height=\"" + std::to_string(h) +
             "\" src=\"data:image/png;base64," + base64(encode_png(set.images.data() + i64(i) * h * w * c, h, w, c)) + "\">";
      ++shown;
    }
  const std::string what = std::to_string(shown) + " " + kind + " images of " + data.class_names[size_t(class_index)];
  return std::string("<div class=\"strip") + (std::max(h, w) < 96 ? " pixel" : "") + "\" role=\"img\" aria-label=\"" +
         escape(what) + "\">" + out + "</div>\n";
}

inline std::string samples_section(const ReportData& data) {
  if (data.real.labels.empty() && data.synthetic.labels.empty()) return "";
  constexpr i64 most_classes = 12;
  const i64 classes = i64(data.class_names.size()), shown = std::min(classes, most_classes);
  std::string out = section("Real and generated images");
  std::string text = "The first images of each class, not picked by hand.";
  if (shown < classes) text += " " + count(shown) + " of " + count(classes) + " classes are shown.";
  out += paragraph(text) +
         "<div class=\"panel samples\"><span class=\"corner\"></span><span class=\"head\">real</span><span "
         "class=\"head\">generated</span>\n";
  for (i64 i = 0; i < shown; ++i) {
    const i64 class_index = i * classes / shown;
    out += "<span class=\"class\">" + escape(data.class_names[size_t(class_index)]) + "</span>" +
           strip(data, data.real, class_index, "real") + strip(data, data.synthetic, class_index, "generated");
  }
  return out + "</div>\n";
}

// Rows scaled to sum 1; a class without test images stays 0.
inline std::vector<std::vector<double>> rates(std::vector<std::vector<double>> cells) {
  for (auto& row : cells) {
    double sum = 0;
    for (double cell : row) sum += cell;
    for (double& cell : row) cell = sum > 0 ? cell / sum : 0;
  }
  return cells;
}

inline std::string confusion_section(const ReportData& data) {
  if (data.confusion_real.empty() || data.confusion_synthetic.empty()) return "";
  const auto real = rates(data.confusion_real), synthetic = rates(data.confusion_synthetic);
  const size_t n = data.class_names.size();
  struct Cell {
    size_t truth, answer;
    double more;  // by S
  };
  std::vector<Cell> mistakes, hits;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) (i == j ? hits : mistakes).push_back({i, j, synthetic[i][j] - real[i][j]});
  std::stable_sort(mistakes.begin(), mistakes.end(),
                   [](const Cell& a, const Cell& b) { return std::abs(a.more) > std::abs(b.more); });
  std::stable_sort(hits.begin(), hits.end(), [](const Cell& a, const Cell& b) { return a.more < b.more; });

  std::string out = section("Where classes are confused");
  std::string text = "S loses most on";
  size_t named = 0;
  for (; named < std::min<size_t>(3, hits.size()) && hits[named].more < -0.005; ++named) {
    const size_t i = hits[named].truth;
    text += (named ? "; " : " ") + data.class_names[i] + " (" + percent(real[i][i]) + " recognised by R, " +
            percent(synthetic[i][i]) + " by S)";
  }
  out += paragraph(named ? text + "." : "No class is recognised notably worse by S than by R.");
  out += "<div class=\"panel maps\"><div><h3>R, trained on real images</h3>" +
         svg::heat_map(real, data.class_names, "real", "Confusion matrix of R") +
         "</div><div><h3>S, trained on generated images</h3>" +
         svg::heat_map(synthetic, data.class_names, "generated", "Confusion matrix of S") + "</div></div>\n";
  out += paragraph(
      "Each row is a class, each column an answer; the numbers are % of the class. A perfect student has a dark diagonal only.",
      "note");
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(6, mistakes.size()) && std::abs(mistakes[i].more) >= 0.005; ++i) {
    const auto& [truth, answer, more] = mistakes[i];
    list += "<li><b>" + escape(data.class_names[truth]) + "</b> taken for <b>" + escape(data.class_names[answer]) +
            "</b>: " + escape(percent(real[truth][answer])) + " by R, " + escape(percent(synthetic[truth][answer])) + " by S (" +
            escape(signed_points(more)) + " points)</li>\n";
  }
  if (!list.empty()) out += "<h3>The largest differences</h3>\n<ul>\n" + list + "</ul>\n";
  return out;
}

inline std::string question_section(const ReportData& data, const Findings& f) {
  const std::string student = data.student.empty() ? "An image classifier" : data.student,
                    dataset = data.dataset.empty() ? "the data set" : data.dataset;
  std::string out = section("What was asked");
  out += paragraph(
      "Image generators can draw training data that nobody has to collect. But a classifier that learns from generated images "
      "does worse on real ones. "
      "The paper “Mind the Gap Between Synthetic and Real” (Hennicke and others, 2024, arXiv 2405.03243) asks where in the "
      "network that loss sits, and answers: mainly in the last "
      "layers. So it should be enough to train those on real images, and few of them.");
  out += paragraph("This page repeats the question on " + dataset + ". The student is " + student +
                   ". It is trained once on real images and once on images" +
                   (data.generator.empty() ? " from a generator" : " from " + data.generator) +
                   ", and always tested on real images that neither it nor the generator has seen. The difference of the two is "
                   "the gap. Then networks are put together from both:");
  const auto row = [](size_t front, size_t back, bool real_front, const std::string& text) {
    return network(front, back, real_front) + "<span>" + text + "</span>\n";
  };
  out +=
      "<div class=\"panel nets\">\n" +
      row(6, 0, true, "<b>R</b>: every layer learns from real images" + (f.real_count ? " (" + count(f.real_count) + ")" : "")) +
      row(6, 0, false,
          "<b>S</b>: every layer learns from generated images" +
              (f.synthetic_count ? " (" + count(f.synthetic_count) + ")" : "")) +
      row(4, 2, false, "<b>front S → back R</b>: the front comes from S and is frozen; the back learns from real images") +
      row(4, 2, true, "<b>front R → back S</b>: the reverse") + "</div>\n";
  return out;
}

inline std::string tiles(const Findings& f) {
  if (!f.real || !f.synthetic) return "";
  const auto tile = [](const std::string& value, const std::string& text, const std::string& colour) {
    return "<div class=\"tile\"" + (colour.empty() ? "" : " style=\"--c:var(--" + colour + ")\"") + "><b>" + escape(value) +
           "</b><small>" + escape(text) + "</small></div>\n";
  };
  std::string out = "<div class=\"tiles\">\n" + tile(percent(f.real->mean), "R: trained on real images", "real") +
                    tile(percent(f.synthetic->mean), "S: trained on generated images", "generated");
  if (f.gap)
    out += tile(svg::number(f.gap->mean * 100, 1) + (f.gap->n > 1 ? " ± " + svg::number(f.gap->deviation * 100, 1) : ""),
                "points of gap, over " + count(f.gap->n, "seed"), "");
  const Curve* swap = f.curve("E1");
  const CurvePoint* tail = swap ? last_group(*swap) : nullptr;
  if (tail && tail->recovered)
    out += tile(share(tail->recovered->mean), "of it won back by real data for the last stage and classifier", "");
  return out + "</div>\n";
}

inline std::string how_section(const ReportData& data) {
  std::string out = section("How this was made");
  double seconds = 0;
  for (const Row& row : data.rows) seconds += row.seconds;
  for (const auto& [title, facts] : data.how) {
    out += "<h3>" + escape(title) + "</h3>\n<dl>";
    for (const auto& [fact, value] : facts) out += "<dt>" + escape(fact) + "</dt><dd>" + escape(value) + "</dd>\n";
    out += "</dl>\n";
  }
  out += paragraph(count(i64(data.rows.size()), "run") + ", " + svg::number(seconds / 60, 1) +
                       " minutes of training and testing in all. Every run is a row of results.csv; study.json holds the "
                       "configuration and these summaries.",
                   "note");
  out +=
      "<details class=\"panel\"><summary>All results</summary><div "
      "class=\"scroll\"><table>\n<thead><tr><th>experiment</th><th>direction</th><th>split or recipe</th>"
      "<th>frozen "
      "units</th><th>policy</th><th>start</th><th>real</th><th>generated</th><th>epochs</th><th>seeds</th><th>top-1</"
      "th><th>top-5</th><th>loss</th></tr></thead>\n<tbody>\n";
  for (const RowGroup& group : summarise(data.rows)) {
    const auto cell = [](const std::string& raw) { return "<td>" + escape(raw) + "</td>"; };
    const Row& run = group.run;
    out += "<tr>" + cell(run.experiment) + cell(run.direction) + cell(run.split) + cell(count(run.frozen_units)) +
           cell(run.policy) + cell(run.suffix_start) + cell(count(run.real_count)) + cell(count(run.synthetic_count)) +
           cell(count(run.epochs)) + cell(count(i64(group.seeds.size()))) + cell(with_spread(group.top1)) +
           cell(with_spread(group.top5)) + cell(svg::number(group.loss.mean, 3)) + "</tr>\n";
  }
  return out + "</tbody></table></div></details>\n";
}

inline void check(const ReportData& data) {
  const i64 classes = i64(data.class_names.size());
  for (const auto* set : {&data.real, &data.synthetic}) {
    const i64 images = set->images.defined() ? set->images.extent(0) : 0;
    if (images != i64(set->labels.size()))
      throw Error(text("report: ", images, " sample images, ", set->labels.size(), " labels"));
    for (i64 label : set->labels)
      if (label < 0 || label >= classes)
        throw Error(text("report: sample of class ", label, ", but there are ", classes, " class names"));
  }
  for (const auto* matrix : {&data.confusion_real, &data.confusion_synthetic}) {
    bool square = matrix->empty() || i64(matrix->size()) == classes;
    for (const auto& row : *matrix) square = square && i64(row.size()) == classes;
    if (!square)
      throw Error(text("report: a confusion matrix does not have ", classes, " rows and columns, one for each class name"));
  }
}

}  // namespace detail

MINDGAP_INLINE std::string report_html(const ReportData& data) {
  using namespace detail;
  check(data);
  const Findings findings = find_findings(data.rows);
  std::set<u64> seeds;
  for (const Row& row : data.rows) seeds.insert(row.seed);
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\">\n<title>" +
      escape(data.title) + "</title>\n<style>" + svg::chart_style(":root") + report_style + "</style>\n</head>\n<body>\n<main>\n";
  out += "<h1>" + escape(data.title) + "</h1>\n";
  out += paragraph((data.dataset.empty() ? "" : data.dataset + ". ") + count(i64(data.rows.size()), "run") + ", " +
                       count(i64(seeds.size()), "seed") + ".",
                   "sub");
  out += "<div class=\"finding\">" + paragraph(headline(findings)) + "<ul>\n";
  for (const Remark& remark : remarks(findings))
    if (remark.leading) out += "<li>" + escape(remark.text) + "</li>\n";
  out += "</ul></div>\n" + tiles(findings);
  out += question_section(data, findings) + samples_section(data) + swap_section(findings) + real_images_section(findings) +
         normalisation_section(findings) + confusion_section(data) + how_section(data);
  return out + "</main>\n</body>\n</html>\n";
}

MINDGAP_INLINE void write_report(const std::filesystem::path& path, const ReportData& data) {
  write_file_atomic(path, report_html(data));
}

MINDGAP_INLINE void write_figures(const std::filesystem::path& folder, const std::vector<Row>& rows) {
  const Findings findings = find_findings(rows);
  std::vector<const Curve*> curves;
  for (const Curve& curve : findings.curves)
    if (curve.policy == findings.curves[0].policy && curve.suffix_start == findings.curves[0].suffix_start)
      curves.push_back(&curve);
  if (!curves.empty())
    write_file_atomic(folder / "swap.svg", svg::standalone(svg::draw(detail::swap_chart(findings, curves), 860, 400, true)));
  if (!findings.recipes.empty())
    write_file_atomic(folder / "real_images.svg",
                      svg::standalone(svg::draw(detail::real_images_chart(findings), 860, 400, true)));
}

}  // namespace mindgap
