// The bodies of study/findings.hpp.
#include <mindgap/study/findings.hpp>
#include <mindgap/study/words.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace mindgap {

namespace detail {

inline constexpr double small_gap = 0.01;    // below one point a gap is hard to tell from the choice of seed
inline constexpr double early_share = 0.85;  // the paper's shape: real data behind the stem recovers at least this,
inline constexpr double half_share = 0.45;   // and for the last stage and classifier about half of the gap or more
inline constexpr double most_share = 0.60;
inline constexpr double alike = 0.10;  // shares of the gap that differ by less are called alike

struct RecipeWords {
  const char* label;
  bool fine_tunes;
};
// Beside known_recipe_names.
inline constexpr RecipeWords known_recipe_words[] = {
    {"classifier only", true},       {"last stage + classifier", true},  {"last two stages + classifier", true},
    {"all layers fine-tuned", true}, {"from scratch, real only", false}, {"from scratch, mixed", false}};

// "Last-group" and "last_group" are "last group".
inline std::string recipe_name(std::string name) {
  for (char& c : name) c = c == '-' || c == '_' ? ' ' : char(std::tolower(static_cast<unsigned char>(c)));
  if (name == "from scratch") return "scratch";
  return name;
}

using BySeed = std::map<u64, double>;
inline Stats describe(const BySeed& values) {
  std::vector<double> list;
  for (const auto& [seed, value] : values) list.push_back(value);
  return mindgap::describe(list);
}

inline void find_curves(Findings& out, const std::vector<Row>& rows) {
  struct Cell {
    std::string split;
    BySeed top1, recovered;
  };
  std::map<std::tuple<std::string, std::string, std::string, std::string>, std::map<i64, Cell>> curves;
  for (const Row& row : rows) {
    if (row.experiment != "E1" && row.experiment != "E2" && row.experiment != "E3") continue;
    Cell& cell = curves[{row.experiment, row.direction, row.policy, row.suffix_start}][row.frozen_units];
    // The same prefix may be there by unit and by group; the shorter name is the group's.
    if (cell.split.empty() || row.split.size() < cell.split.size()) cell.split = row.split;
    cell.top1.emplace(row.seed, row.top1);
    if (const auto value = recovered(rows, row)) cell.recovered.emplace(row.seed, *value);
  }
  for (const auto& [key, cells] : curves) {
    Curve curve{std::get<0>(key), std::get<1>(key), std::get<2>(key), std::get<3>(key), {}};
    for (const auto& [frozen_units, cell] : cells) {
      CurvePoint point{frozen_units, cell.split, describe(cell.top1), {}};
      if (!cell.recovered.empty()) point.recovered = describe(cell.recovered);
      curve.points.push_back(std::move(point));
    }
    out.curves.push_back(std::move(curve));
  }
  // The defaults of the study first.
  std::stable_partition(out.curves.begin(), out.curves.end(),
                        [](const Curve& c) { return c.policy == "frozen" && c.suffix_start == "reinitialise"; });
}

inline void find_recipes(Findings& out, const std::vector<Row>& rows) {
  std::map<std::string, std::set<std::string>> variants;
  for (const Row& row : rows)
    if (row.experiment == "E5") variants[recipe_name(row.split)].insert(row.policy + ", " + row.suffix_start);
  std::vector<std::string> names;
  for (const char* known : known_recipe_names)
    if (variants.count(known)) names.push_back(known);
  for (const auto& [name, ways] : variants)
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const std::string& name : names)
    for (const std::string& way : variants[name]) {
      Recipe recipe{name, name, false, {}};
      for (size_t i = 0; i < std::size(known_recipe_names); ++i)
        if (name == known_recipe_names[i]) {
          recipe.label = known_recipe_words[i].label;
          recipe.fine_tunes = known_recipe_words[i].fine_tunes;
        }
      if (variants[name].size() > 1) recipe.label += " (" + way + ")";
      std::map<i64, std::pair<BySeed, BySeed>> cells;
      for (const Row& row : rows) {
        if (row.experiment != "E5" || recipe_name(row.split) != name || row.policy + ", " + row.suffix_start != way) continue;
        auto& [top1, over_s] = cells[row.real_count];
        top1.emplace(row.seed, row.top1);
        if (const Row* s = baseline(rows, "S", row.seed)) over_s.emplace(row.seed, row.top1 - s->top1);
      }
      for (const auto& [real_count, cell] : cells) {
        RecipePoint point{real_count, describe(cell.first), {}, 0};
        if (!cell.second.empty()) point.over_s = describe(cell.second);
        for (const auto& [seed, over_s] : cell.second) point.seeds_below_s += over_s < 0;
        recipe.points.push_back(std::move(point));
      }
      out.recipes.push_back(std::move(recipe));
    }
}

inline void find_normalisations(Findings& out, const std::vector<Row>& rows) {
  std::map<std::string, std::map<std::string, BySeed>> cells;
  std::set<std::string> directions;
  std::vector<std::string> names;
  for (const Row& row : rows) {
    if (row.experiment != "E6") continue;
    if (std::find(names.begin(), names.end(), row.split) == names.end()) names.push_back(row.split);
    directions.insert(row.direction);
    cells[row.split][row.direction].emplace(row.seed, row.top1);
  }
  out.normalisation_directions.assign(directions.begin(), directions.end());
  for (const std::string& name : names) {
    NormalisationRow row{name, {}};
    for (const std::string& direction : out.normalisation_directions) {
      const auto cell = cells[name].find(direction);
      row.top1.push_back(cell == cells[name].end() ? std::nullopt : std::optional(describe(cell->second)));
    }
    out.normalisations.push_back(std::move(row));
  }
}

// True when the means go one way but for steps that are small against the gap.
inline bool steady(const Curve& curve, double sign, double gap) {
  for (size_t i = 1; i < curve.points.size(); ++i)
    if (sign * (curve.points[i].top1.mean - curve.points[i - 1].top1.mean) < -alike * gap) return false;
  return true;
}

// "the last stage (layer4) and the classifier"
inline std::string tail_name(const Curve& curve) {
  return "the last stage (" + unit_group(curve.points.back().split) + ") and the classifier";
}

}  // namespace detail

MINDGAP_INLINE const Curve* Findings::curve(const std::string& experiment) const& {
  for (const Curve& curve : curves)
    if (curve.experiment == experiment && !curve.points.empty()) return &curve;
  return nullptr;
}

MINDGAP_INLINE const CurvePoint* last_group(const Curve& curve) {
  if (curve.points.empty()) return nullptr;
  const std::string last = unit_group(curve.points.back().split);
  for (auto point = curve.points.rbegin(); point != curve.points.rend(); ++point)
    if (unit_group(point->split) != last) return &*point;
  return nullptr;
}

MINDGAP_INLINE Findings find_findings(const std::vector<Row>& rows) {
  Findings out;
  detail::BySeed real, synthetic, gap;
  for (const Row& row : rows) {
    if (row.experiment != "E0") continue;
    if (row.direction == "R" && real.emplace(row.seed, row.top1).second) out.real_count = row.real_count;
    if (row.direction == "S" && synthetic.emplace(row.seed, row.top1).second) out.synthetic_count = row.synthetic_count;
  }
  for (const auto& [seed, accuracy] : real)
    if (const auto s = synthetic.find(seed); s != synthetic.end()) gap.emplace(seed, accuracy - s->second);
  if (!real.empty()) out.real = detail::describe(real);
  if (!synthetic.empty()) out.synthetic = detail::describe(synthetic);
  if (!gap.empty()) out.gap = detail::describe(gap);
  detail::find_curves(out, rows);
  detail::find_recipes(out, rows);
  detail::find_normalisations(out, rows);
  return out;
}

MINDGAP_INLINE std::string headline(const Findings& f) {
  using namespace detail;
  using namespace words;
  if (!f.gap)
    return "The two baselines, one student trained on real and one on generated images, have not both been run yet, so there is "
           "no gap to speak of.";
  const std::string s = percent(f.synthetic->mean), r = percent(f.real->mean);
  if (f.gap->mean <= 0)
    return "Here generated images cost nothing: a student trained on them alone is right on " + s +
           " of the real test images, one trained on real images on " + r + ". There is no gap whose place could be asked for.";
  const bool equal = f.real_count == f.synthetic_count;
  std::string out = "A student trained on generated images alone is right on " + s + " of the real test images; trained on " +
                    (equal ? "as many real ones" : "real ones") + " it is right on " + r + ", " + points(f.gap->mean) + " more. ";
  const Curve* swap = f.curve("E1");
  const CurvePoint* tail = swap ? last_group(*swap) : nullptr;
  if (!tail || !tail->recovered || !swap->points.front().recovered) return out;
  const double early = swap->points.front().recovered->mean, late = tail->recovered->mean;
  out += "Real images for everything behind the " + swap->points.front().split + " win back " + share(early) +
         " of this gap, for " + tail_name(*swap) + " alone " + share(late) + ": ";
  const bool reaches = early >= early_share;
  if (reaches && late >= most_share) out += "the loss sits mainly in the last layers, as the paper says.";
  else if (reaches && late >= half_share)
    out += "about half of the loss sits in the last layers, close to the shape that the paper describes.";
  else if (reaches)
    out += "most of the loss sits before the last stage, which differs from the paper; there the last layers carry most of it.";
  else
    out += "even a network that keeps only its " + swap->points.front().split +
           " from generated images does not come close to the one trained on real images, which differs from the paper.";
  return out;
}

MINDGAP_INLINE std::vector<Remark> remarks(const Findings& f) {
  using namespace detail;
  using namespace words;
  std::vector<Remark> out;
  const auto say = [&](Topic topic, bool leading, std::string text) { out.push_back({topic, leading, std::move(text)}); };
  if (!f.gap) return out;
  const double gap = f.gap->mean;
  if (f.gap->n == 1)
    say(Topic::gap, true, "All of this is a single run (one seed); differences of a few tenths of a point mean nothing.");
  else if (gap > 0)
    say(Topic::gap, true,
        "Over " + std::to_string(f.gap->n) + " seeds the gap lies between " + svg::number(f.gap->lowest * 100, 1) + " and " +
            svg::number(f.gap->highest * 100, 1) + " points.");
  if (gap > 0 && (gap < small_gap || f.gap->lowest <= 0))
    say(Topic::gap, true, "The gap is small against what the choice of seed alone changes, so shares of it are unreliable here.");
  if (gap <= 0) return out;

  const Curve *swap = f.curve("E1"), *reverse = f.curve("E2");
  if (swap && !steady(*swap, -1, gap))
    say(Topic::swap, false,
        "The curve does not fall steadily from left to right: some splits do better than a split before them by more than a "
        "tenth of the gap.");
  if (const CurvePoint* front = reverse ? last_group(*reverse) : nullptr; front && front->recovered) {
    std::string text = "The other way round, with a front that learnt from real images and " + tail_name(*reverse) +
                       " from generated ones, the student reaches " + percent(front->top1.mean) + ", " +
                       share(front->recovered->mean) + " of the gap";
    if (const CurvePoint* tail = swap ? last_group(*swap) : nullptr; tail && tail->recovered) {
      const double lead = tail->recovered->mean - front->recovered->mean;
      text += lead > alike    ? ": real images do more for the last layers than for all layers before them"
              : lead < -alike ? ": real images do more for the layers before than for the last ones, which differs from the paper"
                              : ": real images do about as much for the last layers as for all layers before them";
    }
    say(Topic::swap, false, text + (steady(*reverse, 1, gap) ? "." : ". That curve does not rise steadily."));
  }
  double most = 0;
  for (const Curve& curve : f.curves)
    if (curve.experiment == "E1" || curve.experiment == "E2")
      for (const CurvePoint& point : curve.points)
        if (point.recovered) most = std::max(most, point.recovered->mean);
  if (most > 1.005)
    say(Topic::swap, false,
        "Some mixtures recover more than 100 % (at most " + share(most) +
            "): a network whose front and back saw different images has seen more images than either baseline, and can "
            "beat the one trained on real images.");
  for (const Curve& control : f.curves)
    if (control.experiment == "E3" && control.direction == "R->R" && last_group(control) && f.real) {
      const double cost = f.real->mean - last_group(control)->top1.mean;
      say(Topic::swap, false,
          "Freezing by itself " + (cost > 0 ? "costs " + points(cost) : "costs nothing (" + points(cost) + " better)") +
              ": that is the control in which front and back both learn from real images, split before the last stage.");
      break;
    }

  std::set<i64> counts;
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) counts.insert(point.real_count);
  for (const i64 images : counts) {
    const Recipe* best = nullptr;
    double best_over = -2, best_accuracy = 0;
    std::string losers;
    for (const Recipe& recipe : f.recipes)
      for (const RecipePoint& point : recipe.points) {
        if (point.real_count != images || !point.over_s) continue;
        if (point.over_s->mean > best_over) best = &recipe, best_over = point.over_s->mean, best_accuracy = point.top1.mean;
        // Harm is a mean below S and most of the runs below it.
        if (!recipe.fine_tunes || point.over_s->mean > -visible || 2 * point.seeds_below_s <= point.over_s->n) continue;
        losers += (losers.empty() ? "" : ", ") + ("“" + recipe.label + "” " + signed_points(point.over_s->mean));
        if (point.seeds_below_s < point.over_s->n)
          losers += " (below in " + std::to_string(point.seeds_below_s) + " of " + std::to_string(point.over_s->n) + " runs)";
      }
    if (!best) continue;
    const bool same = std::abs(best_over) < visible;
    std::string text = "With " + count(images) + " real images the best recipe here is “" + best->label + "” with " +
                       percent(best_accuracy) + ", " +
                       (same ? "no better than" : points(best_over) + (best_over > 0 ? " above" : " below")) +
                       " the student that saw no real image.";
    if (!losers.empty()) text += " Careless fine-tuning does harm (points against that student): " + losers + ".";
    say(Topic::real_images, images == *counts.begin(), std::move(text));
  }

  for (size_t d = 0; d < f.normalisation_directions.size(); ++d) {
    if (f.normalisation_directions[d] != "S") continue;
    const NormalisationRow *best = nullptr, *worst = nullptr;
    for (const NormalisationRow& row : f.normalisations) {
      if (!row.top1[d]) continue;
      if (!best || row.top1[d]->mean > best->top1[d]->mean) best = &row;
      if (!worst || row.top1[d]->mean < worst->top1[d]->mean) worst = &row;
    }
    if (!best || best == worst) continue;
    const double left = f.real->mean - best->top1[d]->mean;
    say(Topic::normalisation, true,
        "Normalisation moves the student trained on generated images by " + points(best->top1[d]->mean - worst->top1[d]->mean) +
            " (best: " + best->name + ", " + percent(best->top1[d]->mean) + "); " +
            (left > 0.25 * gap ? "it does not close the gap." : "with the best choice little of the gap is left."));
  }
  return out;
}

}  // namespace mindgap
