// The bodies of study/findings.hpp.
#include <mindgap/study/findings.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

namespace mindgap {

namespace detail {

using BySeed = std::map<u64, double>;

inline std::optional<Stats> describe(const BySeed& values) {
  std::vector<double> list;
  for (const auto& [seed, value] : values) list.push_back(value);
  return list.empty() ? std::nullopt : std::optional(mindgap::describe(list));
}

// a - b for the seeds that have both.
inline BySeed difference(const BySeed& a, const BySeed& b) {
  BySeed out;
  for (const auto& [seed, value] : a)
    if (const auto other = b.find(seed); other != b.end()) out.emplace(seed, value - other->second);
  return out;
}

// Which of several has the highest mean, where it is told from every other, seed by seed and after Holm's correction.
inline std::optional<size_t> best_of(const std::vector<BySeed>& all) {
  if (all.size() < 2) return std::nullopt;
  size_t best = 0;
  for (size_t i = 1; i < all.size(); ++i)
    if (describe(all[i])->mean > describe(all[best])->mean) best = i;
  std::vector<double> p;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == best) continue;
    const std::optional<Stats> lead = describe(difference(all[best], all[i]));
    p.push_back(lead && lead->mean >= smallest_difference ? student_p(*lead) : 1);
  }
  for (double corrected : holm(p))
    if (corrected >= significance_level) return std::nullopt;
  return best;
}

// R and S of E0 on the test images.
struct Baselines {
  BySeed real, synthetic;
};

inline Baselines find_baselines(Findings& out, const std::vector<Row>& rows) {
  Baselines e0;
  std::set<u64> sets;
  for (const Row& row : rows) {
    if (row.experiment != "E0") continue;
    out.measured_count = row.measured_count;
    if (row.direction == "R") {
      e0.real.emplace(row.seed, row.top1);
      out.real_count = row.real_count;
    } else if (row.direction == "S") {
      e0.synthetic.emplace(row.seed, row.top1);
      out.synthetic_count = row.synthetic_count;
      out.generator_images = row.generator_images;
      sets.insert(row.sampling_seed);
    }
  }
  BySeed longer;
  for (const Row& row : rows)
    if (row.experiment == "E3" && row.direction == "R" && row.split == twice_the_steps) longer.emplace(row.seed, row.top1);
  out.real = describe(e0.real);
  out.synthetic = describe(e0.synthetic);
  out.gap = describe(difference(e0.real, e0.synthetic));
  out.more_steps = describe(difference(longer, e0.real));
  out.synthetic_sets = i64(sets.size());
  return e0;
}

// ---- E1 to E3 -------------------------------------------------------------------------------------------------------

// The runs of one prefix. It may be there by unit and by group; the shorter name is the group's.
struct SwapCell {
  std::string split;
  BySeed top1;
};
using SwapKey = std::tuple<std::string, std::string, std::string, std::string>;  // policy, suffix start, experiment, direction
using SwapCells = std::map<SwapKey, std::map<i64, SwapCell>>;                    // by frozen units

inline SwapCells swap_cells(const std::vector<Row>& rows) {
  SwapCells out;
  for (const Row& row : rows) {
    const bool swap = row.experiment == "E1" || row.experiment == "E2" || row.experiment == "E3";
    if (!swap || row.frozen_units == 0) continue;
    SwapCell& cell = out[{row.policy, row.suffix_start, row.experiment, row.direction}][row.frozen_units];
    if (cell.split.empty() || row.split.size() < cell.split.size()) cell.split = row.split;
    cell.top1.emplace(row.seed, row.top1);
  }
  return out;
}

// Over the seeds that have both baselines, none left out.
inline std::optional<Ratio> recovered(const BySeed& top1, const Baselines& e0) {
  std::vector<double> won, gap;
  for (const auto& [seed, accuracy] : top1) {
    const auto real = e0.real.find(seed), synthetic = e0.synthetic.find(seed);
    if (real == e0.real.end() || synthetic == e0.synthetic.end()) continue;
    won.push_back(accuracy - synthetic->second);
    gap.push_back(real->second - synthetic->second);
  }
  return won.empty() ? std::nullopt : std::optional(ratio_of_means(won, gap));
}

inline void find_curves(Findings& out, const SwapCells& cells, const Baselines& e0) {
  for (const auto& [key, prefixes] : cells) {
    const auto& [policy, suffix_start, experiment, direction] = key;
    Curve curve{experiment, direction, policy, suffix_start, {}};
    for (const auto& [frozen_units, cell] : prefixes)
      curve.points.push_back({frozen_units, cell.split, *describe(cell.top1), recovered(cell.top1, e0)});
    out.curves.push_back(std::move(curve));
  }
}

inline SplitCost split_cost(i64 frozen_units, const std::string& split, const std::vector<double>& rr,
                            const std::vector<double>& sr, const std::vector<double>& ss) {
  std::vector<double> prefix, suffix, difference, sum;
  for (size_t i = 0; i < rr.size(); ++i) {
    prefix.push_back(rr[i] - sr[i]);
    suffix.push_back(sr[i] - ss[i]);
    difference.push_back(suffix[i] - prefix[i]);
    sum.push_back(rr[i] - ss[i]);
  }
  const auto stats = [](const std::vector<double>& values) { return mindgap::describe(values); };
  return {frozen_units, split, stats(rr), stats(sr), stats(ss), stats(prefix), stats(suffix), stats(difference), stats(sum)};
}

inline void find_costs(Findings& out, const SwapCells& cells) {
  for (const auto& [key, prefixes] : cells) {
    const auto& [policy, suffix_start, experiment, direction] = key;
    if (experiment != "E1") continue;
    const auto real = cells.find({policy, suffix_start, "E3", "R->R"}),
               generated = cells.find({policy, suffix_start, "E3", "S->S"});
    if (real == cells.end() || generated == cells.end()) continue;
    CostCurve curve{policy, suffix_start, {}};
    for (const auto& [frozen_units, cell] : prefixes) {
      const auto r = real->second.find(frozen_units), s = generated->second.find(frozen_units);
      if (r == real->second.end() || s == generated->second.end()) continue;
      std::vector<double> rr, sr, ss;
      for (const auto& [seed, accuracy] : cell.top1) {
        const auto other = r->second.top1.find(seed), same = s->second.top1.find(seed);
        if (other == r->second.top1.end() || same == s->second.top1.end()) continue;
        rr.push_back(other->second), sr.push_back(accuracy), ss.push_back(same->second);
      }
      if (!sr.empty()) curve.points.push_back(split_cost(frozen_units, cell.split, rr, sr, ss));
    }
    if (!curve.points.empty()) out.costs.push_back(std::move(curve));
  }
}

// The study's own way of freezing first.
template <class Curves>
void defaults_first(Curves& curves) {
  std::stable_partition(curves.begin(), curves.end(),
                        [](const auto& c) { return c.policy == "frozen" && c.suffix_start == "reinitialise"; });
}

// ---- E5 -------------------------------------------------------------------------------------------------------------

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

// The runs of one recipe with one number of real images.
struct RecipeCell {
  i64 steps, steps_before;
  BySeed top1;
};
// By place in the report, name, way of freezing; by real images.
using RecipeCells = std::map<std::tuple<size_t, std::string, std::string>, std::map<i64, RecipeCell>>;

inline void find_recipes(Findings& out, const std::vector<Row>& rows, const Baselines& e0) {
  RecipeCells cells;
  std::map<std::string, std::set<std::string>> ways;
  for (const Row& row : rows) {
    if (row.experiment != "E5") continue;
    const std::string name = recipe_name(row.split), way = row.policy + ", " + row.suffix_start;
    const size_t place =
        size_t(std::find(std::begin(known_recipe_names), std::end(known_recipe_names), name) - known_recipe_names);
    ways[name].insert(way);
    RecipeCell& cell =
        cells[{place, name, way}].try_emplace(row.real_count, RecipeCell{row.steps, row.steps_before, {}}).first->second;
    cell.top1.emplace(row.seed, row.top1);
  }
  std::map<i64, std::vector<RecipePoint*>> against_s;
  std::map<i64, std::vector<std::pair<size_t, BySeed>>> against_each_other;
  for (const auto& [key, counts] : cells) {
    const auto& [place, name, way] = key;
    const bool known = place < std::size(known_recipe_names);
    Recipe recipe{name, known ? known_recipe_words[place].label : name, known && known_recipe_words[place].fine_tunes, {}};
    if (ways[name].size() > 1) recipe.label += " (" + way + ")";
    for (const auto& [real_count, cell] : counts) {
      recipe.points.push_back(
          {real_count, cell.steps, cell.steps_before, *describe(cell.top1), describe(difference(cell.top1, e0.synthetic)), 1});
      against_each_other[real_count].emplace_back(out.recipes.size(), cell.top1);
    }
    out.recipes.push_back(std::move(recipe));
  }
  for (Recipe& recipe : out.recipes)
    for (RecipePoint& point : recipe.points)
      if (point.over_s) against_s[point.real_count].push_back(&point);
  for (const auto& [real_count, points] : against_s) {
    std::vector<double> p;
    for (const RecipePoint* point : points) p.push_back(student_p(*point->over_s));
    p = holm(p);
    for (size_t i = 0; i < points.size(); ++i) points[i]->p_over_s = p[i];
  }
  for (const auto& [real_count, recipes] : against_each_other) {
    std::vector<BySeed> top1;
    for (const auto& [index, values] : recipes) top1.push_back(values);
    if (const auto best = best_of(top1)) out.best_recipe[real_count] = out.recipes[recipes[*best].first].label;
  }
}

// ---- E6 -------------------------------------------------------------------------------------------------------------

inline void find_normalisations(Findings& out, const std::vector<Row>& rows) {
  std::map<std::string, std::map<std::string, BySeed>> cells;  // by direction, by name
  std::vector<std::string> names;
  for (const Row& row : rows) {
    if (row.experiment != "E6") continue;
    if (std::find(names.begin(), names.end(), row.split) == names.end()) names.push_back(row.split);
    cells[row.direction][row.split].emplace(row.seed, row.top1);
  }
  for (const auto& [direction, by_name] : cells) out.normalisation_directions.push_back(direction);
  const auto of = [&](const std::string& direction, const std::string& name) {
    const auto by_name = cells.find(direction);
    if (by_name == cells.end()) return BySeed{};
    const auto cell = by_name->second.find(name);
    return cell == by_name->second.end() ? BySeed{} : cell->second;
  };
  for (const std::string& name : names) {
    NormalisationRow row{name, {}, {}};
    for (const auto& [direction, by_name] : cells) row.top1.push_back(describe(of(direction, name)));
    BySeed real = of("R", name);
    if (real.empty() && name == "each its own") real = of("R", "real set");
    row.gap = describe(difference(real, of("S", name)));
    out.normalisations.push_back(std::move(row));
  }
  std::vector<double> p;
  for (const auto& [direction, by_name] : cells)
    for (auto a = by_name.begin(); a != by_name.end(); ++a)
      for (auto b = std::next(a); b != by_name.end(); ++b) {
        const bool first = describe(a->second)->mean >= describe(b->second)->mean;
        const auto &better = first ? *a : *b, &worse = first ? *b : *a;
        const std::optional<Stats> by = describe(difference(better.second, worse.second));
        if (!by) continue;
        out.normalisation_differences.push_back({direction, better.first, worse.first, *by, 1});
        p.push_back(student_p(*by));
      }
  p = holm(p);
  for (size_t i = 0; i < p.size(); ++i) out.normalisation_differences[i].p = p[i];
  std::stable_sort(out.normalisation_differences.begin(), out.normalisation_differences.end(),
                   [](const auto& a, const auto& b) { return a.by.mean > b.by.mean; });
}

// ---- E10 ------------------------------------------------------------------------------------------------------------

inline void find_settings(Findings& out, const std::vector<Row>& rows) {
  std::map<std::tuple<std::string, i64, i64, double>, BySeed> cells;
  BySeed real;
  std::set<std::tuple<std::string, i64, i64, double>> used;
  const auto setting = [](const Row& row) {
    return std::tuple(row.sampler, row.sampling_steps, row.synthetic_count, row.guidance);
  };
  for (const Row& row : rows) {
    if (row.experiment == "E0" && row.direction == "S") used.insert(setting(row));
    if (row.experiment != "E10") continue;
    out.held_out_count = row.measured_count;
    (row.direction == "R" ? real : cells[setting(row)]).emplace(row.seed, row.top1);
  }
  std::vector<BySeed> all;
  for (const auto& [key, top1] : cells) {
    const auto& [sampler, steps, images, guidance] = key;
    out.settings.push_back(
        {sampler, steps, guidance, images, *describe(top1), describe(difference(real, top1)), used.count(key) > 0});
    all.push_back(top1);
  }
  out.best_setting = best_of(all);
}

// "layer3", or the last unit of it.
template <class Points>
auto last_group_of(const Points& points) -> decltype(points.data()) {
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].split == stage_before_last) return &points[i];
    const bool followed = i + 1 < points.size() && points[i + 1].frozen_units == points[i].frozen_units + 1 &&
                          points[i + 1].split.starts_with(last_stage);
    if (followed && points[i].split.starts_with(stage_before_last)) return &points[i];
  }
  return nullptr;
}

}  // namespace detail

MINDGAP_INLINE const Curve* Findings::curve(const std::string& experiment, const std::string& direction) const& {
  for (const Curve& curve : curves)
    if (curve.experiment == experiment && (direction.empty() || curve.direction == direction)) return &curve;
  return nullptr;
}

MINDGAP_INLINE bool Findings::guesses() const {
  if (classes < 2 || !synthetic) return false;
  const double chance = 1.0 / double(classes);
  if (synthetic->mean < chance + std::min(chance, (1 - chance) / 9)) return true;
  if (measured_count < 1) return false;
  const i64 hits = std::clamp<i64>(std::llround(synthetic->mean * double(measured_count)), 0, measured_count);
  return share_interval(hits, measured_count).low <= chance;
}

MINDGAP_INLINE const CurvePoint* last_group(const Curve& curve) { return detail::last_group_of(curve.points); }
MINDGAP_INLINE const SplitCost* last_group(const CostCurve& curve) { return detail::last_group_of(curve.points); }

MINDGAP_INLINE Findings find_findings(const std::vector<Row>& rows, i64 classes) {
  Findings out;
  out.classes = classes;
  const detail::Baselines e0 = detail::find_baselines(out, rows);
  const detail::SwapCells cells = detail::swap_cells(rows);
  detail::find_curves(out, cells, e0);
  detail::find_costs(out, cells);
  detail::defaults_first(out.curves);
  detail::defaults_first(out.costs);
  detail::find_recipes(out, rows, e0);
  detail::find_normalisations(out, rows);
  detail::find_settings(out, rows);
  return out;
}

MINDGAP_INLINE GapClaim gap_claim(const Findings& f) {
  if (!f.gap || !told(*f.gap)) return GapClaim::none;
  return f.gap->mean > 0 ? GapClaim::costs : GapClaim::gains;
}

MINDGAP_INLINE PlaceClaim place_claim(const Findings& f) {
  if (gap_claim(f) != GapClaim::costs || f.guesses() || f.costs.empty()) return PlaceClaim::not_asked;
  const SplitCost* cost = last_group(f.costs.front());
  if (!cost) return PlaceClaim::not_asked;
  if (!told(cost->difference)) return PlaceClaim::unresolved;
  const bool last = cost->difference.mean > 0;
  if (!(last ? cost->suffix : cost->prefix).above(0)) return PlaceClaim::unresolved;
  return last ? PlaceClaim::last : PlaceClaim::earlier;
}

}  // namespace mindgap
