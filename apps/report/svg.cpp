#include "svg.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace mindgap::report::svg {

std::string escape(std::string_view raw) {
  std::string out;
  for (char c : raw) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += (static_cast<unsigned char>(c) < 32 && c != '\n') || c == 127 ? ' ' : c;
    }
  return out;
}

std::string number(double value, int decimals) {
  if (!std::isfinite(value)) return "–";
  char digits[400];
  const auto end = std::to_chars(digits, digits + sizeof digits, std::abs(value), std::chars_format::fixed, decimals).ptr;
  const std::string magnitude(digits, end);
  return (value < 0 && magnitude.find_first_not_of("0.") != magnitude.npos ? "−" : "") + magnitude;
}

i64 length(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

std::string shorten(const std::string& name, i64 limit) {
  i64 characters = 0;
  for (size_t at = 0; at < name.size(); ++at)
    if ((name[at] & 0xc0) != 0x80 && ++characters > limit) {
      size_t cut = at;  // drop one more character for the ellipsis
      while (cut > 0 && (name[--cut] & 0xc0) == 0x80) {
      }
      return name.substr(0, cut) + "…";
    }
  return name;
}

std::string chart_style(const std::string& root) {
  return root +
         "{--card:#fff;--ink:#1d2126;--soft:#5b6470;--rule:#dfe3e8;--real:#0072b2;--generated:#c94f00;--green:#007a5a;"
         "--purple:#9a3f8f;--gold:#8f6a00;--grey:#68717d}\n"
         "@media (prefers-color-scheme:dark){" +
         root +
         "{--card:#1c1f24;--ink:#e7eaee;--soft:#a3acb8;--rule:#343a42;--real:#5cb8f0;--generated:#ff9a57;--green:#45cfa4;"
         "--purple:#e29ad6;--gold:#e3bd55;--grey:#a9b2bd}}\n"
         "@media print{" +
         root +
         "{--card:#fff;--ink:#000;--soft:#444;--rule:#ccc;--real:#0072b2;--generated:#c94f00;--green:#007a5a;--purple:#9a3f8f;"
         "--gold:#8f6a00;--grey:#555}}\n"
         ".chart{display:block;font:13px/1.2 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',Arial,sans-serif;"
         "font-variant-numeric:tabular-nums}\n"
         ".chart text{fill:var(--soft)}.chart .name{fill:var(--c);font-weight:600;paint-order:stroke;stroke:var(--card);"
         "stroke-width:4px;stroke-linejoin:round}.chart .end{text-anchor:end}.chart .mid{text-anchor:middle}\n"
         ".chart .grid{stroke:var(--rule);stroke-width:1}.chart .ref{stroke:var(--c);stroke-width:1.5;stroke-dasharray:2 4}\n"
         ".chart .line{fill:none;stroke:var(--c);stroke-width:2.25;stroke-linejoin:round}.chart .dash{stroke-dasharray:7 4}\n"
         ".chart .bar{stroke:var(--c);stroke-width:1.5}.chart .dot{fill:var(--c);stroke:var(--card);stroke-width:1.5}\n"
         ".chart .hollow{fill:var(--card);stroke:var(--c);stroke-width:2}.chart .hit{fill:transparent}\n"
         ".chart .cell{fill:var(--c)}.chart .on{fill:var(--card);font-weight:600}.chart .off{fill:var(--ink)}\n";
}

namespace {

// A coordinate, with the hyphen that SVG wants for minus.
std::string px(double value) {
  const std::string digits = number(std::isfinite(value) ? std::abs(value) : 0, 1);
  return (value < 0 && digits != "0.0" ? "-" : "") + digits;
}
std::string xy(const char* x, double x_value, const char* y, double y_value) {
  return std::string(" ") + x + "=\"" + px(x_value) + "\" " + y + "=\"" + px(y_value) + "\"";
}
std::string label(const char* classes, double x, double y, const std::string& raw, const std::string& more = "") {
  return std::string("<text class=\"") + classes + "\"" + xy("x", x, "y", y) + more + ">" + escape(raw) + "</text>";
}
std::string line(const char* classes, double x1, double y1, double x2, double y2) {
  return std::string("<line class=\"") + classes + "\"" + xy("x1", x1, "y1", y1) + xy("x2", x2, "y2", y2) + "/>";
}

std::string marker(Marker kind, double x, double y, const char* classes) {
  const auto path = [&](const std::vector<std::pair<double, double>>& corners) {
    std::string d;
    for (const auto& [dx, dy] : corners) d += (d.empty() ? "M" : "L") + px(x + dx) + " " + px(y + dy);
    return std::string("<path class=\"") + classes + "\" d=\"" + d + "Z\"/>";
  };
  switch (kind) {
    case Marker::circle:
      return std::string("<circle class=\"") + classes + "\"" + xy("cx", x, "cy", y) + " r=\"5.5\"/>";
    case Marker::square:
      return path({{-5, -5}, {5, -5}, {5, 5}, {-5, 5}});
    case Marker::triangle:
      return path({{0, -6.5}, {6, 4.5}, {-6, 4.5}});
    case Marker::diamond:
      return path({{0, -7}, {6, 0}, {0, 7}, {-6, 0}});
    case Marker::plus:
      return path({{-2, -6}, {2, -6}, {2, -2}, {6, -2}, {6, 2}, {2, 2}, {2, 6}, {-2, 6}, {-2, 2}, {-6, 2}, {-6, -2}, {-2, -2}});
    case Marker::none:
      break;
  }
  return "";
}

struct Range {
  double low, high, step;
};

bool has_bar(const Point& p) { return std::isfinite(p.low) && std::isfinite(p.high) && p.high - p.low > 1e-9; }

// Covers all marks, unless some lie so far below the references that the rest would be squeezed flat, and bars as far as they
// take no more than the marks do on either side.
Range y_range(const LineChart& chart) {
  double top = -1e300, floor = 1e300, reference = 1e300;
  for (const Reference& r : chart.references) top = std::max(top, r.y), reference = std::min(reference, r.y);
  for (const Series& s : chart.series)
    for (const Point& p : s.points) top = std::max(top, p.y), floor = std::min(floor, p.y);
  floor = std::min(floor, reference);
  if (chart.cut_below && reference < 1e300) {
    const double limit = reference - 1.5 * std::max(top - reference, 1e-9);
    floor = reference;
    for (const Series& s : chart.series)
      for (const Point& p : s.points)
        if (p.y >= limit) floor = std::min(floor, p.y);
  }
  if (!(top > floor)) top += 0.5, floor -= 0.5;
  const double most = top + (top - floor), least = floor - (top - floor), lowest_mark = floor;
  for (const Series& s : chart.series)
    for (const Point& p : s.points)
      if (has_bar(p) && p.y >= lowest_mark) {
        top = std::max(top, std::min(p.high, most));
        floor = std::min(floor, std::max(p.low, least));
      }
  double step = std::pow(10.0, std::floor(std::log10((top - floor) / 5)));
  for (double factor : {1.0, 2.0, 5.0, 10.0})
    if ((top - floor) / (step * factor) <= 6) {
      step *= factor;
      break;
    }
  return {floor - 0.06 * (top - floor), top + 0.06 * (top - floor), step};
}

// Moves labels apart so that each has `gap` pixels, keeping their order and staying inside [low, high] where they fit.
void spread(std::vector<double>& y, double gap, double low, double high) {
  std::vector<size_t> order(y.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return y[a] < y[b]; });
  for (int round = 0; round < 50; ++round)
    for (size_t i = 1; i < order.size(); ++i) {
      const double overlap = gap - (y[order[i]] - y[order[i - 1]]);
      if (overlap > 0) y[order[i - 1]] -= overlap / 2, y[order[i]] += overlap / 2;
    }
  double next = low;
  for (size_t i : order) next = (y[i] = std::max(y[i], next)) + gap;
  next = high;
  for (size_t i = order.size(); i-- > 0;) next = (y[order[i]] = std::min(y[order[i]], next)) - gap;
}

std::string open_chart(int width, int height, const std::string& classes, const std::string& description) {
  const std::string w = std::to_string(width), h = std::to_string(height);
  return "<svg class=\"chart " + classes + "\" role=\"img\" aria-label=\"" + escape(description) + "\" viewBox=\"0 0 " + w + " " +
         h + "\" width=\"" + w + "\" height=\"" + h + "\">\n";
}
std::string coloured(const std::string& colour) { return "<g style=\"--c:var(--" + colour + ")\">"; }

}  // namespace

std::string legend(const LineChart& chart) {
  const auto item = [](const std::string& colour, const std::string& mark, const std::string& label) {
    return "<li><svg class=\"chart\" width=\"30\" height=\"16\" viewBox=\"0 0 30 16\" aria-hidden=\"true\">" + coloured(colour) +
           mark + "</g></svg>" + escape(label) + "</li>";
  };
  std::string out;
  for (const Series& s : chart.series)
    out += item(
        s.colour,
        std::string("<path class=\"line") + (s.dashed ? " dash" : "") + "\" d=\"M0 8L30 8\"/>" + marker(s.marker, 15, 8, "dot"),
        s.label);
  for (const Reference& r : chart.references) out += item(r.colour, line("ref", 0, 8, 30, 8), r.label);
  return out;
}

std::string draw(const LineChart& chart, int width, int height, bool name_lines, const std::string& classes) {
  const double left = 40, right = width - (name_lines ? 190.0 : 14.0), top = 34;
  i64 longest = 0;
  for (const std::string& tick : chart.x_ticks) longest = std::max(longest, length(tick));
  const double ticks = double(std::max<size_t>(chart.x_ticks.size(), 1)), step = (right - left) / ticks;
  const bool slanted = double(longest) * 7.2 > step - 6;
  const double bottom = height - (slanted ? 46 + 4.6 * double(std::min<i64>(longest, 16)) : 48);
  const Range range = y_range(chart);
  const auto px_x = [&](double x) { return left + (x + 0.5) * step; };
  const auto px_y = [&](double y) { return bottom - (y - range.low) / (range.high - range.low) * (bottom - top); };

  std::string out = open_chart(width, height, classes, chart.description);
  out += label("", 0, 14, chart.y_title);
  const int decimals = range.step < 0.1 ? 2 : range.step < 1 ? 1 : 0;
  for (double y = std::ceil(range.low / range.step) * range.step; y <= range.high; y += range.step) {
    out += line("grid", left, px_y(y), right, px_y(y)) + label("end", left - 8, px_y(y) + 4.5, number(y, decimals)) + "\n";
  }
  for (size_t i = 0; i < chart.x_ticks.size(); ++i) {
    const double x = px_x(double(i));
    const std::string tick = shorten(chart.x_ticks[i], 16);
    if (slanted)
      out +=
          label("end", x + 4, bottom + 18, tick, " transform=\"rotate(-40 " + px(x + 4) + " " + px(bottom + 18) + ")\"") + "\n";
    else out += label("mid", x, bottom + 20, tick) + "\n";
  }
  out += label("mid", (left + right) / 2, height - 6, chart.x_title) + "\n";

  struct Name {
    std::string text, colour;
    double y;
  };
  std::vector<Name> names;
  for (const Reference& r : chart.references) {
    const double y = px_y(r.y);
    out += coloured(r.colour) + line("ref", left, y, right, y);
    out += "</g>\n";
    names.push_back({r.label, r.colour, y});
  }
  std::string marks;
  for (size_t s = 0; s < chart.series.size(); ++s) {
    const Series& series = chart.series[s];
    const double shift = (double(s) - double(chart.series.size() - 1) / 2) * chart.dodge;
    // Segments, cut where they leave the chart below.
    std::string d;
    for (size_t i = 1; i < series.points.size(); ++i) {
      double x0 = px_x(series.points[i - 1].x) + shift, y0 = px_y(series.points[i - 1].y), x1 = px_x(series.points[i].x) + shift,
             y1 = px_y(series.points[i].y);
      if (y0 > bottom && y1 > bottom) continue;
      const double cut = x0 + (x1 - x0) * (bottom - y0) / (y1 - y0);
      const bool connected = i > 1 && y0 <= bottom;
      if (y0 > bottom) x0 = cut, y0 = bottom;
      if (y1 > bottom) x1 = cut, y1 = bottom;
      if (!connected || d.empty()) d += "M" + px(x0) + " " + px(y0);
      d += "L" + px(x1) + " " + px(y1);
    }
    out += coloured(series.colour) + "<path class=\"line" + (series.dashed ? " dash" : "") + "\" d=\"" + d + "\"/></g>\n";
    marks += coloured(series.colour);
    for (const Point& p : series.points) {
      const double x = px_x(p.x) + shift;
      marks += "<g><title>" + escape(p.tooltip) + "</title>";
      if (p.y < range.low) {  // below the axis: an arrow and the value
        marks += "<path class=\"dot\" d=\"M" + px(x - 6) + " " + px(bottom - 5) + "L" + px(x + 6) + " " + px(bottom - 5) + "L" +
                 px(x) + " " + px(bottom + 5) + "Z\"/>" + label("name", x + 9, bottom - 3, number(p.y, 1));
      } else {
        if (has_bar(p)) {  // without a cap where it leaves the chart
          const double low = std::min(px_y(p.low), bottom), high = std::max(px_y(p.high), top);
          marks += line("bar", x, low, x, high);
          if (p.low >= range.low) marks += line("bar", x - 4, low, x + 4, low);
          if (p.high <= range.high) marks += line("bar", x - 4, high, x + 4, high);
        }
        marks += marker(series.marker, x, px_y(p.y), p.hollow ? "hollow" : "dot");
      }
      marks += "<circle class=\"hit\"" + xy("cx", x, "cy", std::min(px_y(p.y), bottom)) + " r=\"12\"/></g>\n";
    }
    if (series.name_at >= 0 && name_lines) {
      const Point& p = series.points[size_t(series.name_at)];
      const double above = px_y(has_bar(p) ? p.high : p.y) - 13, below = px_y(has_bar(p) ? p.low : p.y) + 23;
      marks += label("name mid", px_x(p.x) + shift, series.name_above ? std::max(above, top + 10) : std::min(below, bottom - 4),
                     series.label);
    } else if (!series.points.empty() && !series.label.empty()) {
      names.push_back({series.label, series.colour, std::min(px_y(series.points.back().y), bottom - 4)});
    }
    marks += "</g>\n";
  }
  out += marks;
  if (name_lines) {
    std::vector<double> y;
    for (const Name& name : names) y.push_back(name.y);
    spread(y, 17, top, bottom);
    for (size_t i = 0; i < names.size(); ++i)
      out += coloured(names[i].colour) + label("name", right + 8, y[i] + 4.5, shorten(names[i].text, 28)) + "</g>\n";
  }
  return out + "</svg>\n";
}

std::string heat_map(const std::vector<std::vector<double>>& cells, const std::vector<std::string>& names,
                     const std::string& colour, const std::string& description) {
  const int n = int(cells.size());
  const bool named = n <= 24, valued = n <= 12;
  const int cell = valued ? 32 : std::max(4, 384 / std::max(n, 1));
  i64 longest = 0;
  for (const std::string& name : names) longest = std::max(longest, std::min<i64>(length(name), 13));
  const int left = named ? 14 + 7 * int(longest) : 20, below = named ? 26 + 5 * int(longest) : 20;
  std::string out = open_chart(left + n * cell + 2, 24 + n * cell + below, "heat", description) + coloured(colour);
  out += label("", 0, 14, "true class") + label("end", left + n * cell, 20 + n * cell + below, "answer");
  for (int row = 0; row < n; ++row) {
    const double y = 24 + row * cell;
    if (named) {
      const double x = left + row * cell + cell * 0.5 + 4, foot = 24 + n * cell + 14;
      out += label("end", left - 8, y + cell * 0.5 + 4.5, shorten(names[size_t(row)], 13));
      out += label("end", x, foot, shorten(names[size_t(row)], 13), " transform=\"rotate(-40 " + px(x) + " " + px(foot) + ")\"");
    }
    for (int column = 0; column < n; ++column) {
      const double value = cells[size_t(row)][size_t(column)];
      if (!(value > 0)) continue;
      const double strength = std::min(1.0, std::sqrt(value)), x = left + column * cell;
      out += "<g><title>" +
             escape(names[size_t(row)] + (row == column ? " recognised" : " taken for " + names[size_t(column)]) + ": ") +
             number(value * 100, 1) + " %</title><rect class=\"cell\"" + xy("x", x, "y", y) + " width=\"" +
             std::to_string(cell - 1) + "\" height=\"" + std::to_string(cell - 1) + "\" fill-opacity=\"" + number(strength, 3) +
             "\"/>";
      if (valued && value >= 0.005)
        out += label(strength > 0.6 ? "mid on" : "mid off", x + (cell - 1) * 0.5, y + cell * 0.5 + 4, number(value * 100, 0));
      out += "</g>";
    }
    out += "\n";
  }
  return out + "</g></svg>\n";
}

std::string standalone(std::string drawing) {
  drawing.insert(drawing.find("<svg") + 4, " xmlns=\"http://www.w3.org/2000/svg\" style=\"padding:16px;background:var(--card)\"");
  drawing.insert(drawing.find('>') + 1, "\n<style>" + chart_style("svg") + "svg{box-sizing:content-box}</style>");
  return drawing;
}

}  // namespace mindgap::report::svg
