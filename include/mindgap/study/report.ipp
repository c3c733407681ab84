// The bodies of study/report.hpp: charts, tables and sentences put together into a page.
#include <mindgap/core/file.hpp>
#include <mindgap/study/report.hpp>
#include <mindgap/study/report_style.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace mindgap {

namespace detail {

// What the numbers say about one topic.
inline std::string remark_list(const Findings& f, Topic topic) {
  std::string out;
  for (const Remark& remark : remarks(f))
    if (remark.topic == topic) out += "<li>" + escape(remark.text) + "</li>\n";
  return out.empty() ? "" : "<ul>\n" + out + "</ul>\n";
}

inline std::string recovered_cell(const CurvePoint& point, const char* colour, bool metered) {
  if (!point.recovered) return "<td class=\"left\">–</td>";
  const std::string value = "<td class=\"left\"><span class=\"value\">" + escape(share(point.recovered->mean)) + "</span>";
  if (!metered) return value + "</td>";
  return value + "<span class=\"meter\" style=\"--c:var(--" + colour +
         ")\"><i style=\"width:" + svg::number(std::clamp(point.recovered->mean, 0.0, 1.0) * 100, 1) + "%\"></i></span></td>";
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
           "</td><td>" + escape(with_spread(point.top1)) + "</td>" +
           recovered_cell(point, real_back ? "real" : "generated", curve.points.size() < 8) + "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

inline std::string swap_tables(const Findings& f, const Curve* swap, const Curve* reverse) {
  std::string out =
      "<div class=\"panel pair\">\n" + (swap ? swap_table(*swap) : "") + (reverse ? swap_table(*reverse) : "") + "</div>\n";
  out += paragraph(
      "Recovered: the share of the gap, 0\u00a0% is S and 100\u00a0% is R, formed for each seed and then averaged. Accuracies "
      "are mean ± "
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

inline std::string question_section(const ReportData& data, const Findings& f) {
  const std::string student = data.student.empty() ? "an image classifier" : data.student,
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
  out += question_section(data, findings) + samples_section(data.real, data.synthetic, data.class_names) +
         swap_section(findings) + real_images_section(findings) + normalisation_section(findings) +
         confusion_section(data.confusion_real, data.confusion_synthetic, data.class_names) + how_section(data);
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
