// The bodies of study/comparisons.hpp, over nlohmann's JSON.
#include <mindgap/study/comparisons.hpp>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

namespace mindgap {

namespace detail {

// Six decimals, as the rows have; null where it is not finite.
inline nlohmann::ordered_json json_number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(std::round(value * 1e6) / 1e6) : nlohmann::ordered_json();
}

inline nlohmann::ordered_json compared(const Stats& stats) {
  return {{"n", stats.n},
          {"mean", json_number(stats.mean)},
          {"low", json_number(stats.low)},
          {"high", json_number(stats.high)},
          {"resolved", stats.resolved()}};
}
inline nlohmann::ordered_json compared(const std::optional<Stats>& stats) {
  return stats ? compared(*stats) : nlohmann::ordered_json();
}

}  // namespace detail

MINDGAP_INLINE std::string comparisons_json(const Findings& f, const std::string& headline) {
  using detail::compared;
  using nlohmann::ordered_json;
  ordered_json out;
  out["headline"] = headline;
  out["gap"] = compared(f.gap);
  const GapClaim gap = gap_claim(f);
  out["gap_claim"] = gap == GapClaim::costs ? "costs" : gap == GapClaim::gains ? "gains" : "not resolved";
  const PlaceClaim place = place_claim(f);
  out["place_claim"] = place == PlaceClaim::last         ? "last layers"
                       : place == PlaceClaim::earlier    ? "earlier layers"
                       : place == PlaceClaim::unresolved ? "not resolved"
                                                         : "not asked";
  out["guesses"] = f.guesses();
  out["more_steps"] = compared(f.more_steps);
  out["costs"] = ordered_json::array();
  for (const CostCurve& curve : f.costs)
    for (const SplitCost& cost : curve.points)
      out["costs"].push_back({{"policy", curve.policy},
                              {"suffix_start", curve.suffix_start},
                              {"split", cost.split},
                              {"frozen_units", cost.frozen_units},
                              {"prefix", compared(cost.prefix)},
                              {"suffix", compared(cost.suffix)},
                              {"difference", compared(cost.difference)},
                              {"controls", compared(cost.controls)}});
  out["recipes"] = ordered_json::array();
  out["best_recipe"] = ordered_json::object();
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) {
      out["recipes"].push_back({{"recipe", recipe.label},
                                {"real_count", point.real_count},
                                {"steps", point.steps},
                                {"steps_before", point.steps_before},
                                {"over_s", compared(point.over_s)},
                                {"p_holm", point.over_s ? detail::json_number(point.p_over_s) : ordered_json()}});
      const auto best = f.best_recipe.find(point.real_count);
      out["best_recipe"][std::to_string(point.real_count)] =
          best == f.best_recipe.end() ? ordered_json() : ordered_json(best->second);
    }
  out["normalisations"] = ordered_json::array();
  for (const NormalisationDifference& d : f.normalisation_differences)
    out["normalisations"].push_back({{"direction", d.direction},
                                     {"better", d.better},
                                     {"worse", d.worse},
                                     {"by", compared(d.by)},
                                     {"p_holm", detail::json_number(d.p)}});
  out["settings"] = ordered_json::array();
  for (const SettingPoint& s : f.settings)
    out["settings"].push_back({{"sampler", s.sampler},
                               {"sampling_steps", s.sampling_steps},
                               {"guidance", s.guidance},
                               {"synthetic_count", s.synthetic_count},
                               {"used", s.used},
                               {"gap", compared(s.gap)}});
  out["best_setting"] = f.best_setting ? ordered_json(*f.best_setting) : ordered_json();
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace mindgap
