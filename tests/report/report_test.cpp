// The page says what the findings say, with intervals; it is whole, self-contained and safe against names from outside.
#include "apps/report/report.hpp"

#include "apps/report/sentences.hpp"
#include "apps/report/words.hpp"
#include "tests/made_up_study.hpp"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace mindgap;
using namespace mindgap::report;
using namespace mindgap::test;

namespace {

i64 count_of(const std::string& text, const std::string& part) {
  i64 count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

ReportData report_data() {
  ReportData data;
  data.dataset = "Fashion-MNIST";
  data.class_names = {"Coat", "a,b \"c\" <script>alert(1)</script>", "👟 & Ünï'x", "Bag"};
  data.rows = whole_study(3).rows;
  for (ImageSet* set : {&data.real, &data.synthetic}) {
    set->images = Tensor<u8, 4>::full({8, 28, 28, 1}, 100);
    for (i64 i = 0; i < 8; ++i) set->labels.push_back(i % 4);
  }
  data.confusion_real = {{95, 5, 0, 0}, {0, 100, 0, 0}, {1, 0, 99, 0}, {1, 0, 0, 9}};
  data.confusion_synthetic = {{60, 38, 2, 0}, {0, 100, 0, 0}, {4, 0, 96, 0}, {0, 0, 0, 0}};
  data.caveats = {"A caveat <2> from outside."};
  data.how = {{"Generator <1>", {{"steps & more", "\"4,250\""}}}};
  return data;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report)

BOOST_AUTO_TEST_CASE(page_holds_every_section) {
  const std::string page = report_html(report_data());
  for (const std::string part : {"<h2>What was asked</h2>", "<h2>Real and generated images</h2>", "<h2>Where the gap sits</h2>",
                                 "<h2>How many real images does it take?</h2>", "<h2>How much of the gap is sampling?</h2>",
                                 "<h2>Does normalisation explain it?</h2>", "<h2>Where classes are confused</h2>",
                                 "<h2>How this was made</h2>", "</html>"})
    BOOST_TEST(has(page, part), part);
  BOOST_TEST(count_of(page, "data:image/png;base64,iVBORw0KGgo") == 16);
  BOOST_TEST(count_of(page, "<svg") == count_of(page, "</svg>"));
  BOOST_TEST(count_of(page, "<table>") == count_of(page, "</table>"));
  BOOST_TEST(page == report_html(report_data()));
}

// What the findings say is on the page, each number with its interval; what is not resolved says so.
BOOST_AUTO_TEST_CASE(numbers_have_intervals) {
  const ReportData data = report_data();
  const Findings f = find_findings(data.rows, i64(data.class_names.size()));
  const std::string page = report_html(data);
  BOOST_TEST(has(page, svg::escape(headline(f))));
  for (const Remark& remark : remarks(f)) BOOST_TEST(has(page, svg::escape(remark.text)), remark.text);
  for (const SplitCost& cost : f.costs.at(0).points)
    for (const Stats* stats : {&cost.prefix, &cost.suffix})
      BOOST_TEST(has(page, "<td>" + std::string(told(*stats) ? "● " : "") + words::points_with_interval(*stats) + "</td>"));
  for (const char* experiment : {"E1", "E2"})
    for (const CurvePoint& point : f.curve(experiment)->points) {
      BOOST_TEST(has(page, words::percent_with_interval(point.top1)));
      if (!point.recovered->resolved()) continue;
      BOOST_TEST(has(page, words::share(point.recovered->value) + "<small>" + words::share_range(*point.recovered) + "</small>"));
    }
  for (const SettingPoint& s : f.settings) BOOST_TEST(has(page, words::points_with_interval(*s.gap)));
  BOOST_TEST(has(page, "used in this study"));
  BOOST_TEST(has(page, "A caveat &lt;2&gt; from outside."));
}

BOOST_AUTO_TEST_CASE(a_single_seed_has_numbers_and_no_claim) {
  ReportData data = report_data();
  data.rows = whole_study(1).rows;
  const std::string page = report_html(data);
  for (const char* part : {"not resolved with 1 seed", "All of this is a single seed", "prefix cost", "81."})
    BOOST_TEST(has(page, part), part);
  for (const char* part : {"<td>● ", "▲ <", "as the paper says", "inf", "nan", "± –", "class=\"bar\""})
    BOOST_TEST(!has(page, part), part);
}

// Of one seed: named is only what the test images tell apart, after Holm's correction.
BOOST_AUTO_TEST_CASE(confusions_are_named_where_resolved) {
  ReportData data = report_data();
  data.class_names = {"Coat", "Shirt", "Boot", "Bag"};
  std::string page = report_html(data);
  BOOST_TEST(has(page, "S is worse than R on Coat (95.0\u00a0% recognised by R, 60.0\u00a0% by S)."));
  BOOST_TEST(has(page, "<b>Coat</b> taken for <b>Shirt</b>"));
  BOOST_TEST(!has(page, "<b>Boot</b> taken for"));  // 1 and 4 of 100
  BOOST_TEST(!has(page, "Bag ("));                  // S was not tested on it
  data.confusion_synthetic = {{93, 7, 0, 0}, {1, 99, 0, 0}, {4, 0, 96, 0}, {1, 0, 0, 9}};
  page = report_html(data);
  BOOST_TEST(has(page, "These test images do not tell R and S apart on any class."));
  BOOST_TEST(has(page, "No single confusion is told apart either."));
  BOOST_TEST(!has(page, "taken for <b>"));
}

BOOST_AUTO_TEST_CASE(page_loads_nothing_and_runs_nothing) {
  const std::string page = report_html(report_data());
  for (const std::string part : {"<script", "http://", "https://", "<link", "@import", "url(", "nan", "inf\""})
    BOOST_TEST(!has(page, part), part);
  BOOST_TEST(count_of(page, " src=\"") == count_of(page, " src=\"data:image/png"));
}

BOOST_AUTO_TEST_CASE(names_from_outside_are_escaped) {
  const std::string page = report_html(report_data());
  BOOST_TEST(has(page, "a,b &quot;c&quot; &lt;script&gt;alert(1)&lt;/script&gt;"));
  BOOST_TEST(has(page, "👟 &amp; Ünï&#39;x"));
  BOOST_TEST(has(page, "Generator &lt;1&gt;"));
  BOOST_TEST(has(page, "steps &amp; more</dt><dd>&quot;4,250&quot;"));
  ReportData data = report_data();
  data.title = data.dataset = data.student = data.generator = "<i>x\"'&";
  for (Row& row : data.rows) row.split = row.policy = row.suffix_start = "<i>y\"'&";
  const std::string hostile = report_html(data);
  BOOST_TEST(!has(hostile, "<i>x"));
  BOOST_TEST(!has(hostile, "<i>y"));
}

BOOST_AUTO_TEST_CASE(sections_without_data_are_left_out) {
  const std::string page = report_html(ReportData{});
  BOOST_TEST(has(page, "not both been run"));
  for (const std::string part :
       {"Where the gap sits", "Real and generated images", "How many real", "sampling?", "normalisation", "confused"})
    BOOST_TEST(!has(page, part), part);
  ReportData data = report_data();
  data.synthetic = {};
  data.confusion_synthetic = {};
  BOOST_TEST(!has(report_html(data), "confused"));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  ReportData data = report_data();
  data.real.labels.pop_back();
  BOOST_CHECK_THROW(report_html(data), Error);
  data = report_data();
  data.synthetic.labels[3] = 4;
  BOOST_CHECK_THROW(report_html(data), Error);
  data = report_data();
  data.confusion_real[2].pop_back();
  BOOST_CHECK_THROW(report_html(data), Error);
  for (const double no_count : {0.5, -1.0, std::nan("")}) {
    data = report_data();
    data.confusion_synthetic[1][0] = no_count;
    BOOST_CHECK_THROW(report_html(data), Error);
  }
}

BOOST_AUTO_TEST_CASE(files_are_written) {
  std::string name = (fs::temp_directory_path() / "mindgap-report-XXXXXX").string();
  const fs::path folder = ::mkdtemp(name.data());
  write_report(folder / "report.html", report_data());
  write_figures(folder, report_data().rows);
  BOOST_TEST(read_file(folder / "report.html") == report_html(report_data()));
  for (const char* figure : {"swap.svg", "costs.svg", "real_images.svg", "settings.svg"}) {
    const std::string drawing = read_file(folder / figure);
    BOOST_TEST(drawing.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    BOOST_TEST(has(drawing, "<style>"));
  }
  fs::remove_all(folder);
}

BOOST_AUTO_TEST_CASE(text_helpers) {
  BOOST_TEST(svg::number(-1.25, 1) == "−1.2");
  BOOST_TEST(svg::number(-0.01, 1) == "0.0");
  BOOST_TEST(svg::shorten("Ünïcödé", 7) == "Ünïcödé");
  BOOST_TEST(svg::shorten("Ünïcödé!", 7) == "Ünïcöd…");
  BOOST_TEST(svg::escape(std::string("a\x01<\0>", 5)) == "a &lt; &gt;");
}

BOOST_AUTO_TEST_SUITE_END()
