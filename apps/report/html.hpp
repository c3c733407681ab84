// Building blocks of the page: paragraphs, titles, table cells, figures, the network as a row of boxes. Text from outside is
// escaped here.
#pragma once

#include <mindgap/study/statistics.hpp>

#include "svg.hpp"
#include <optional>
#include <string>

namespace mindgap::report {

std::string paragraph(const std::string& raw, const std::string& classes = "");
std::string section(const std::string& title);

std::string cell(const std::string& raw);
std::string head(const std::string& raw);
// A difference in points, marked where its interval leaves out 0.
std::string difference_cell(const Stats& stats);
std::string difference_cell(const std::optional<Stats>& stats);
// A table below its words; where it is wider than the page it scrolls, they do not.
std::string table_panel(const std::string& words, const std::string& columns, const std::string& rows);

// A chart for wide and for narrow pages, with its legend. What all say of their bars is bars_note.
std::string figure(const svg::LineChart& chart, const std::string& caption);
inline const char* const bars_note =
    "Bars are 95\u00a0% intervals over seeds, marks are means; a bar without a cap goes on beyond the figure, a single seed has "
    "none.";

// The network as a row of boxes: generated front, real back, or the reverse; by a split's name, where it is one by group.
std::string network(size_t front, size_t back, bool real_front);
std::string network(const std::string& split, bool real_front);

}  // namespace mindgap::report
