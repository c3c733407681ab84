#include "images.hpp"

#include <mindgap/data/png.hpp>

#include "html.hpp"
#include "words.hpp"
#include <algorithm>
#include <cmath>

namespace mindgap::report {

using namespace words;
using svg::escape;

namespace {

std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    u32 word = 0;
    for (size_t i = 0; i < 3; ++i) word = word << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out += at + i > bytes.size() ? '=' : digits[word >> (18 - 6 * i) & 63];
  }
  return out;
}

std::string strip(const ImageSet& set, const std::string& class_name, i64 class_index, const std::string& kind) {
  if (!set.images.defined()) return "<div></div>\n";
  const i64 h = set.images.extent(1), w = set.images.extent(2), c = set.images.extent(3);
  std::string out;
  i64 shown = 0;
  for (size_t i = 0; i < set.labels.size() && shown < ImageSet::shown; ++i)
    if (set.labels[i] == class_index) {
      out += "<img alt=\"\" width=\"" + std::to_string(w) + "\" height=\"" + std::to_string(h) +
             "\" src=\"data:image/png;base64," + base64(encode_png(set.images.data() + i64(i) * h * w * c, h, w, c)) + "\">";
      ++shown;
    }
  const std::string what = std::to_string(shown) + " " + kind + " images of " + class_name;
  return std::string("<div class=\"strip") + (std::max(h, w) < 96 ? " pixel" : "") + "\" role=\"img\" aria-label=\"" +
         escape(what) + "\">" + out + "</div>\n";
}

}  // namespace

std::string samples_section(const ImageSet& real, const ImageSet& synthetic, const std::vector<std::string>& class_names) {
  if (real.labels.empty() && synthetic.labels.empty()) return "";
  constexpr i64 most_classes = 12;
  const i64 classes = i64(class_names.size()), shown = std::min(classes, most_classes);
  std::string out = section("Real and generated images");
  std::string text = "The first images of each class, not picked by hand.";
  if (shown < classes) text += " " + count(shown) + " of " + count(classes) + " classes are shown.";
  out += paragraph(text) +
         "<div class=\"panel samples\"><span class=\"corner\"></span><span class=\"head\">real</span><span "
         "class=\"head\">generated</span>\n";
  for (i64 i = 0; i < shown; ++i) {
    const i64 class_index = i * classes / shown;
    out += "<span class=\"class\">" + escape(class_names[size_t(class_index)]) + "</span>" +
           strip(real, class_names[size_t(class_index)], class_index, "real") +
           strip(synthetic, class_names[size_t(class_index)], class_index, "generated");
  }
  return out + "</div>\n";
}

namespace {

double row_sum(const std::vector<double>& row) {
  double sum = 0;
  for (double cell : row) sum += cell;
  return sum;
}
// Rows scaled to sum 1; a class without test images stays 0.
ConfusionMatrix rates(ConfusionMatrix cells) {
  for (auto& row : cells) {
    const double sum = row_sum(row);
    for (double& cell : row) cell = sum > 0 ? cell / sum : 0;
  }
  return cells;
}

// A cell of both matrices that differs by more than the choice of the test images explains.
struct Confusion {
  size_t truth, answer;
  double more;  // by S, as a share of the class
};
// Those told apart after Holm's correction for all cells asked about: the diagonal, or all others. The largest difference first.
std::vector<Confusion> told_apart(const ConfusionMatrix& real, const ConfusionMatrix& synthetic, bool diagonal) {
  std::vector<Confusion> cells;
  std::vector<double> p;
  for (size_t i = 0; i < real.size(); ++i) {
    const i64 r = i64(row_sum(real[i])), s = i64(row_sum(synthetic[i]));
    for (size_t j = 0; j < real.size(); ++j) {
      if ((i == j) != diagonal || r < 1 || s < 1) continue;
      cells.push_back({i, j, synthetic[i][j] / double(s) - real[i][j] / double(r)});
      p.push_back(equal_shares_p(i64(synthetic[i][j]), s, i64(real[i][j]), r));
    }
  }
  p = holm(p);
  std::vector<Confusion> out;
  for (size_t k = 0; k < cells.size(); ++k)
    if (p[k] < significance_level) out.push_back(cells[k]);
  std::stable_sort(out.begin(), out.end(),
                   [](const Confusion& a, const Confusion& b) { return std::abs(a.more) > std::abs(b.more); });
  return out;
}

}  // namespace

std::string confusion_section(const ConfusionMatrix& confusion_real, const ConfusionMatrix& confusion_synthetic,
                              const std::vector<std::string>& class_names) {
  if (confusion_real.empty() || confusion_synthetic.empty()) return "";
  const auto real = rates(confusion_real), synthetic = rates(confusion_synthetic);
  std::string out = section("Where classes are confused");
  out += paragraph("One student of each kind, of the first seed; another seed may differ.");
  const std::vector<Confusion> classes = told_apart(confusion_real, confusion_synthetic, true);
  std::vector<std::string> worse, better;
  for (const Confusion& c : classes) {
    auto& list = c.more < 0 ? worse : better;
    if (list.size() < 3)
      list.push_back(class_names[c.truth] + " (" + percent(real[c.truth][c.truth]) + " recognised by R, " +
                     percent(synthetic[c.truth][c.truth]) + " by S)");
  }
  std::string text;
  if (!worse.empty()) text += "S is worse than R on " + listed(worse) + ". ";
  if (!better.empty()) text += "S is better than R on " + listed(better) + ". ";
  const size_t more = classes.size() - worse.size() - better.size();
  if (classes.empty()) text = "These test images do not tell R and S apart on any class.";
  else if (more) text += count(i64(more)) + " more of " + count(i64(class_names.size())) + " classes are told apart.";
  else if (classes.size() < class_names.size()) text += "On no other class do these test images tell them apart.";
  out += paragraph(text);
  out += "<div class=\"panel maps\"><div><h3>R, trained on real images</h3>" +
         svg::heat_map(real, class_names, "real", "Confusion matrix of R") +
         "</div><div><h3>S, trained on generated images</h3>" +
         svg::heat_map(synthetic, class_names, "generated", "Confusion matrix of S") + "</div></div>\n";
  out += paragraph(
      "Each row is a class, each column an answer; the numbers are % of the class. A perfect student has a dark diagonal only.",
      "note");
  std::string list;
  size_t shown = 0;
  for (const auto& [truth, answer, more] : told_apart(confusion_real, confusion_synthetic, false)) {
    if (++shown > 6) break;
    list += "<li><b>" + escape(class_names[truth]) + "</b> taken for <b>" + escape(class_names[answer]) +
            "</b>: " + escape(percent(real[truth][answer])) + " by R, " + escape(percent(synthetic[truth][answer])) + " by S (" +
            escape(signed_points(more)) + " points)</li>\n";
  }
  if (list.empty()) return out + paragraph("No single confusion is told apart either.");
  return out + "<h3>The largest differences</h3>\n<ul>\n" + list + "</ul>\n" +
         paragraph("Named are the differences that these test images tell from 0, after Holm's correction for all cells.",
                   "note");
}

}  // namespace mindgap::report
