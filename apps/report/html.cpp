#include "html.hpp"

#include "words.hpp"
#include <algorithm>

namespace mindgap::report {

using namespace words;
using svg::escape;

std::string paragraph(const std::string& raw, const std::string& classes) {
  return "<p" + (classes.empty() ? "" : " class=\"" + classes + "\"") + ">" + escape(raw) + "</p>\n";
}
std::string section(const std::string& title) { return "<h2>" + escape(title) + "</h2>\n"; }

std::string cell(const std::string& raw) { return "<td>" + escape(raw) + "</td>"; }
std::string head(const std::string& raw) { return "<th>" + escape(raw) + "</th>"; }
std::string difference_cell(const Stats& stats) {
  return "<td>" + escape((told(stats) ? "● " : "") + points_with_interval(stats)) + "</td>";
}
std::string difference_cell(const std::optional<Stats>& stats) { return stats ? difference_cell(*stats) : "<td>–</td>"; }

std::string table_panel(const std::string& words, const std::string& columns, const std::string& rows) {
  return "<div class=\"panel\">\n" + paragraph(words, "note") + "<div class=\"scroll\"><table>\n<thead><tr>" + columns +
         "</tr></thead>\n<tbody>\n" + rows + "</tbody></table></div></div>\n";
}

std::string figure(const svg::LineChart& chart, const std::string& caption) {
  std::string out = "<figure>\n<ul class=\"legend\">";
  out += svg::legend(chart);
  out += "</ul>\n" + svg::draw(chart, 860, 400, true, "wide") + svg::draw(chart, 350, 330, false, "narrow");
  return out + "<figcaption>" + escape(caption) + "</figcaption>\n</figure>\n";
}

std::string network(size_t front, size_t back, bool real_front) {
  std::string out = std::string("<span class=\"net") + (front + back > 8 ? " fine" : "") + "\" aria-hidden=\"true\">";
  for (size_t i = 0; i < front + back; ++i) out += (i < front) == real_front ? "<i></i>" : "<i class=\"g\"></i>";
  return out + "</span>";
}
std::string network(const std::string& split, bool real_front) {
  const std::string groups[] = {"stem", "layer1", "layer2", "layer3", last_stage, "fc"};
  const size_t front = size_t(std::find(std::begin(groups), std::end(groups), split) - groups) + 1;
  return front < std::size(groups) ? network(front, std::size(groups) - front, real_front) : "";
}

}  // namespace mindgap::report
