// The report of a study: one self-contained HTML page for someone who has not read the paper.
//
// Sections: the finding, what was asked, real and generated samples side by side, where the gap sits (costs and accuracy against
// the split), accuracy against the number of real images, the generator's settings, normalisation, where classes are confused,
// how it was made, and all results. A section whose rows are missing is left out. Charts are inline SVG, images inline PNG, no
// script: the page works offline, light, dark, printed and at 400 pixels. Everything from outside is escaped.
//
// Equal data gives equal bytes: no time stamps but those in `how`.
#pragma once

#include <mindgap/study/results.hpp>

#include "images.hpp"
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mindgap::report {

struct ReportData {
  std::string title = "Mind the gap between generated and real images";
  std::string dataset;    // "Fashion-MNIST"
  std::string student;    // a phrase: "a ResNet-18 of width 16"
  std::string generator;  // a phrase: "a class-conditional diffusion model with 1.1 million parameters"; empty: not known
  std::vector<std::string> class_names;
  ImageSet real, synthetic;          // either may be empty
  std::vector<Row> rows;             // of one configuration
  std::vector<std::string> caveats;  // sentences that are shown beside the finding: what else weakens it
  // [classes][classes], counts of test images, row: true class, column: answer; of one student R and one S. May be empty.
  ConfusionMatrix confusion_real, confusion_synthetic;
  // How everything was made: groups of facts, such as {"Generator", {{"steps", "4,250"}, ...}}.
  std::vector<std::pair<std::string, Facts>> how;
};

// Throws when labels, class names and matrices do not fit together, or a matrix holds no counts.
std::string report_html(const ReportData& data);
// The page as a file, written atomically.
void write_report(const std::filesystem::path& path, const ReportData& data);
// The charts as files of their own, costs.svg, swap.svg, real_images.svg and settings.svg, as far as there are rows for them.
void write_figures(const std::filesystem::path& folder, const std::vector<Row>& rows);

}  // namespace mindgap::report
