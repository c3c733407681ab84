// Charts as SVG text: lines over an ordinal axis, and heat maps of square matrices.
//
// Type is set in real pixels: a chart is drawn once for wide and once for narrow pages instead of being scaled until
// nobody can read it. Colours are CSS variables (chart_style), so that one drawing serves light, dark and print; every
// series has its own marker too, so that nothing depends on telling colours apart. Points carry <title> tooltips.
// Text from outside is escaped here. Left out: everything that the report does not draw.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mindgap::report::svg {

// Safe inside HTML text and quoted attributes. Control characters, which HTML forbids, become spaces.
std::string escape(std::string_view raw);
// "12.5": fixed decimals with a true minus sign; a dash for NaN.
std::string number(double value, int decimals);
// Characters of a UTF-8 text.
i64 length(std::string_view text);
// The first `limit` characters (UTF-8) of a name, with an ellipsis where it was cut.
std::string shorten(const std::string& name, i64 limit);

struct Point {
  double x;             // position on the ordinal axis, 0 is the first tick
  double y, low, high;  // mean and the bar around it; the bar is left out where an end is not finite
  std::string tooltip;
  bool hollow = false;  // an anchor that another series measured
};

enum class Marker { circle, square, triangle, diamond, plus, none };

struct Series {
  std::string label;
  std::string colour;  // a variable of chart_style: "real"
  Marker marker = Marker::circle;
  bool dashed = false;
  std::vector<Point> points;
  int name_at = -1;         // the point that carries the name; -1: at the right end of the chart
  bool name_above = false;  // of that point
};

struct Reference {  // a horizontal line
  std::string label;
  std::string colour;
  double y;
};

struct LineChart {
  std::string description;  // for people who cannot see it
  std::string x_title, y_title;
  std::vector<std::string> x_ticks;  // at 0, 1, 2, ...
  std::vector<Series> series;
  std::vector<Reference> references;
  double dodge = 0;       // pixels by which series stand apart where they share an x
  bool cut_below = true;  // marks far below the references become arrows at the lower edge
};

// The variables and classes that the charts use; `root` is the selector that carries the variables.
std::string chart_style(const std::string& root);
// The keys of a chart as items of an HTML list.
std::string legend(const LineChart& chart);
// Draws at `width` x `height` pixels. name_lines: lines carry their names; otherwise the caller adds a legend.
std::string draw(const LineChart& chart, int width, int height, bool name_lines, const std::string& classes = "");
// A square matrix of fractions (row: truth, column: answer); darker is more. Cells are named up to 24 rows.
std::string heat_map(const std::vector<std::vector<double>>& cells, const std::vector<std::string>& names,
                     const std::string& colour, const std::string& description);
// The drawing as an .svg file of its own, with a margin, for a README or a paper.
std::string standalone(std::string drawing);

}  // namespace mindgap::report::svg
