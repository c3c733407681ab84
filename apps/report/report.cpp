// Charts, tables and sentences put together into a page.
#include "report.hpp"

#include <mindgap/io/file.hpp>

#include "charts.hpp"
#include "html.hpp"
#include "sections.hpp"
#include "sentences.hpp"
#include "style.hpp"
#include "words.hpp"
#include <algorithm>
#include <cmath>
#include <set>

namespace mindgap::report {

using namespace words;
using svg::escape;

namespace {

std::string question_section(const ReportData& data, const Findings& f) {
  const std::string student = data.student.empty() ? "an image classifier" : data.student,
                    dataset = data.dataset.empty() ? "the data set" : data.dataset;
  std::string out = section("What was asked");
  out += paragraph(
      "Image generators can draw training data that nobody has to collect. But a classifier that learns from generated images "
      "does worse on real ones. "
      "The paper “Mind the Gap Between Synthetic and Real” (Hennicke and others, 2024, arXiv 2405.03243) asks where in the "
      "network that loss sits, and answers: mainly in the last "
      "layers. So it should be enough to train those on real images, and few of them.");
  out += paragraph(
      "This page repeats the question on " + dataset + ". The student is " + student +
      ". It is trained once on real images and once on images " +
      (data.generator.empty()
           ? "that were generated before, and always tested on real images that it has not seen"
           : "from " + data.generator + ", and always tested on real images that neither it nor the generator has seen") +
      ". The difference of the two is the gap." + (f.curves.empty() ? "" : " Then networks are put together from both:"));
  const auto row = [](size_t front, size_t back, bool real_front, const std::string& text) {
    return network(front, back, real_front) + "<span>" + text + "</span>\n";
  };
  out +=
      "<div class=\"panel nets\">\n" +
      row(6, 0, true, "<b>R</b>: every layer learns from real images" + (f.real_count ? " (" + count(f.real_count) + ")" : "")) +
      row(6, 0, false,
          "<b>S</b>: every layer learns from generated images" +
              (f.synthetic_count ? " (" + count(f.synthetic_count) + ")" : ""));
  if (!f.curves.empty())
    out += row(4, 2, false, "<b>front S → back R</b>: the front comes from S and is frozen; the back learns from real images") +
           row(4, 2, true, "<b>front R → back S</b>: the reverse");
  return out + "</div>\n";
}

std::string tiles(const Findings& f) {
  if (!f.real || !f.synthetic) return "";
  const auto tile = [](const std::string& value, const std::string& text, const Stats& stats, const std::string& colour) {
    const std::string range_words =
        bounded(stats.low, stats.high) ? range(stats) + " (95\u00a0%)" : count(stats.n, "seed") + ", no interval";
    return "<div class=\"tile\"" + (colour.empty() ? "" : " style=\"--c:var(--" + colour + ")\"") + "><b>" + escape(value) +
           "</b><small>" + escape(range_words) + "</small><small>" + escape(text) + "</small></div>\n";
  };
  std::string out = "<div class=\"tiles\">\n" + tile(percent(f.real->mean), "R: trained on real images", *f.real, "real") +
                    tile(percent(f.synthetic->mean), "S: trained on generated images", *f.synthetic, "generated");
  if (f.gap) out += tile(signed_points(f.gap->mean), "points of gap, R\u00a0−\u00a0S", *f.gap, "");
  if (const SplitCost* cost = f.costs.empty() || f.guesses() ? nullptr : last_group(f.costs.front()))
    out += tile(signed_points(cost->suffix.mean), "points that generated images cost in the last stage and classifier",
                cost->suffix, "") +
           tile(signed_points(cost->prefix.mean), "points in all layers before them", cost->prefix, "");
  return out + "</div>\n";
}

std::string how_section(const ReportData& data) {
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
      "<details class=\"panel\"><summary>All results</summary><div class=\"scroll\"><table>\n<thead><tr><th>experiment</th>"
      "<th>direction</th><th>split or recipe</th><th>frozen "
      "units</th><th>policy</th><th>start</th><th>real</th><th>generated</th>"
      "<th>sampling</th><th>measured on</th><th>steps before</th><th>steps</th><th>seeds</th><th>top-1</th><th>top-5</th>"
      "<th>loss</th></tr></thead>\n<tbody>\n";
  for (const RowGroup& group : summarise(data.rows)) {
    const Row& run = group.run;
    const std::string sampling =
        run.sampler.empty() ? "" : run.sampler + ", " + count(run.sampling_steps, "step") + ", guidance " + decimal(run.guidance);
    out += "<tr>" + cell(run.experiment) + cell(run.direction) + cell(run.split) + cell(count(run.frozen_units)) +
           cell(run.policy) + cell(run.suffix_start) + cell(count(run.real_count)) + cell(count(run.synthetic_count)) +
           cell(sampling) + cell(run.measured_on + " (" + count(run.measured_count) + ")") + cell(count(run.steps_before)) +
           cell(count(run.steps)) + cell(count(i64(group.seeds.size()))) + cell(percent_with_interval(group.top1)) +
           cell(percent_with_interval(group.top5)) + cell(svg::number(group.loss.mean, 3)) + "</tr>\n";
  }
  return out + "</tbody></table></div></details>\n";
}

void check(const ReportData& data) {
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
    bool counts = true;
    for (const auto& row : *matrix) {
      square = square && i64(row.size()) == classes;
      for (double cell : row) counts = counts && cell >= 0 && cell < 1e15 && cell == std::floor(cell);
    }
    if (!square)
      throw Error(text("report: a confusion matrix does not have ", classes, " rows and columns, one for each class name"));
    if (!counts) throw Error("report: a confusion matrix does not hold counts of test images");
  }
}

}  // namespace

std::string report_html(const ReportData& data) {
  check(data);
  const Findings findings = find_findings(data.rows, i64(data.class_names.size()));
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
  for (const std::string& caveat : data.caveats) out += "<li>" + escape(caveat) + "</li>\n";
  out += "</ul></div>\n" + tiles(findings);
  out += question_section(data, findings) + samples_section(data.real, data.synthetic, data.class_names) +
         swap_section(findings) + real_images_section(findings) + settings_section(findings) + normalisation_section(findings) +
         confusion_section(data.confusion_real, data.confusion_synthetic, data.class_names) + how_section(data);
  return out + "</main>\n</body>\n</html>\n";
}

void write_report(const std::filesystem::path& path, const ReportData& data) { write_file_atomic(path, report_html(data)); }

void write_figures(const std::filesystem::path& folder, const std::vector<Row>& rows) {
  const Findings findings = find_findings(rows);
  const auto write = [&](const char* name, const svg::LineChart& chart) {
    write_file_atomic(folder / name, svg::standalone(svg::draw(chart, 860, 400, true)));
  };
  std::vector<const Curve*> curves;
  for (const Curve& curve : findings.curves)
    if (curve.policy == findings.curves[0].policy && curve.suffix_start == findings.curves[0].suffix_start)
      curves.push_back(&curve);
  if (!curves.empty()) write("swap.svg", swap_chart(findings, curves));
  if (!findings.costs.empty()) write("costs.svg", costs_chart(findings.costs.front()));
  if (const svg::LineChart chart = real_images_chart(findings); chart.x_ticks.size() > 1) write("real_images.svg", chart);
  if (const svg::LineChart chart = settings_chart(findings); !chart.series.empty()) write("settings.svg", chart);
}

}  // namespace mindgap::report
