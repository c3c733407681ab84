// A function a topic.
#include "sentences.hpp"

#include "words.hpp"
#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

namespace mindgap::report {

using namespace words;

namespace {

const std::string the_last = std::string("the last stage (") + last_stage + ") and the classifier";
const char* const the_earlier = "all layers before them";

std::string source_sizes(const Findings& f) {
  if (f.real_count == f.synthetic_count) return percent(f.synthetic->mean) + " instead of " + percent(f.real->mean);
  return percent(f.synthetic->mean) + " with " + count(f.synthetic_count) + " generated images instead of " +
         percent(f.real->mean) + " with " + count(f.real_count) + " real ones";
}

std::string gap_sentence(const Findings& f) {
  switch (gap_claim(f)) {
    case GapClaim::costs:
      return "Training on generated images instead of real ones costs " + points(f.gap->mean) +
             " of accuracy on real test images (" + interval(*f.gap) + "): " + source_sizes(f) + ".";
    case GapClaim::gains:
      return "Training on generated images instead of real ones gains " + points(f.gap->mean) +
             " of accuracy on real test images (R − S: " + interval(*f.gap) + "): " + source_sizes(f) +
             ". There is no gap whose place could be asked for.";
    case GapClaim::none:
      break;
  }
  return "Whether generated images cost accuracy is " + unresolved(f.gap->n) +
         ": on real test images the students trained on real images are right on " + percent(f.real->mean) +
         ", those trained on generated ones on " + percent(f.synthetic->mean) + "; R − S is " + signed_points(f.gap->mean) +
         " points (" + interval(*f.gap) + ").";
}

std::string guess_sentence(const Findings& f) {
  return "S, trained on generated images, is right on " + percent(f.synthetic->mean) + " where guessing is right on " +
         percent(1 / double(f.classes)) +
         ": images like these teach next to nothing, so it cannot be asked which layers carry the gap.";
}

std::string place_sentence(const Findings& f) {
  const PlaceClaim claim = place_claim(f);
  if (claim == PlaceClaim::not_asked) return "";
  const SplitCost& cost = *last_group(f.costs.front());
  const std::string last = "generated images cost " + points_with_range(cost.suffix) + " in " + the_last + ", ",
                    earlier = points_with_range(cost.prefix) + " in " + the_earlier;
  switch (claim) {
    case PlaceClaim::last:
      return "At the split before the last stage " + last + "and " + earlier +
             ": the last stage and the classifier carry more of the gap than all layers before them, as the paper says.";
    case PlaceClaim::earlier:
      return "At the split before the last stage " + last + "but " + earlier +
             ": the layers before the last stage carry more of the gap than the last stage and the classifier, unlike in the "
             "paper.";
    default:
      return "Which layers carry it is " + unresolved(cost.difference.n) + ": at the split before the last stage " + last +
             "and " + earlier + ".";
  }
}

using Say = std::function<void(Topic, bool leading, std::string text)>;

// ---- what the intervals are about -----------------------------------------------------------------------------------

std::string conditions(const Findings& f) {
  std::string out =
      f.gap->n == 1
          ? "All of this is a single seed: there are no intervals, and nothing is resolved. The numbers hold for this generator, "
          : "The intervals (Student, 95\u00a0%) treat the students' seeds as the sample. They hold for this generator, ";
  out += f.synthetic_sets > 1 ? "its " + count(f.synthetic_sets) + " sets of images" : "this one set of its images";
  out += f.measured_count > 0 ? " and these " + count(f.measured_count) + " test images, not for others."
                              : " and these test images, not for others.";
  if (f.measured_count > 0) {
    double widest = 0;
    for (const Stats& stats : {*f.real, *f.synthetic}) {
      const i64 hits = std::clamp<i64>(std::llround(stats.mean * double(f.measured_count)), 0, f.measured_count);
      const Interval interval = share_interval(hits, f.measured_count);
      widest = std::max(widest, (interval.high - interval.low) / 2);
    }
    out += " The choice of the test images alone adds ±" + svg::number(widest * 100, 1) + " points to each accuracy.";
  }
  return out;
}

std::string generator_sight(const Findings& f) {
  if (!f.generator_images) return "How many labelled real images the generator was trained on is not recorded.";
  std::string out = "The generator itself was trained on " + count(f.generator_images) + " labelled real images";
  if (f.real_count > 0) {
    const double times = double(f.generator_images) / double(f.real_count);
    if (f.generator_images == f.real_count) out += ", as many as R";
    else out += ", " + svg::number(times, times < 10 ? 1 : 0) + " times R's set (" + count(f.real_count) + ")";
  }
  return out + ".";
}

// ---- where the gap sits ---------------------------------------------------------------------------------------------

void remark_on_swaps(const Findings& f, const Say& say) {
  if (!f.costs.empty()) {
    const CostCurve& curve = f.costs.front();
    const SplitCost& cost = last_group(curve) ? *last_group(curve) : curve.points.back();
    say(Topic::swap, false,
        "At every split the two costs add up to the gap between the controls, (R → R) − (S → S): " +
            points_with_range(cost.controls) + " for a front up to " + cost.split +
            ". Each interval holds 95\u00a0% by itself; of many, a few miss by chance.");
  }
  if (!f.curves.empty()) {
    std::string text =
        "“Recovered”, the paper's measure, leaves out that a network with a frozen front has had two trainings and R one: it can "
        "pass 100\u00a0% without any merit of the images. ";
    if (!f.more_steps) text += "What R gains from twice the steps was not measured.";
    else if (told(*f.more_steps))
      text += "From twice the steps R " + std::string(f.more_steps->mean > 0 ? "gains " : "loses ") + points(f.more_steps->mean) +
              " (" + interval(*f.more_steps) + ").";
    else
      text += "What R gains from twice the steps is " + unresolved(f.more_steps->n) + " (" + signed_points(f.more_steps->mean) +
              " points, " + interval(*f.more_steps) + ").";
    say(Topic::swap, false, text + " The costs compare like with like.");
  }
  const Curve* reverse = f.curve("E2");
  if (const CurvePoint* point = reverse ? last_group(*reverse) : nullptr) {
    std::string text = "The other way round, with a front from real images and only " + the_last +
                       " from generated ones, a student reaches " + percent(point->top1.mean) + " (" + interval(point->top1) +
                       ")";
    if (point->recovered)
      text += point->recovered->resolved() ? " and recovers " + share_with_range(*point->recovered) + " of the gap"
                                           : "; what it recovers of the gap is " + unresolved(point->recovered->n);
    say(Topic::swap, false, text + ".");
  }
}

// ---- few real images ------------------------------------------------------------------------------------------------

// "5 recipes": "“a” +0.6 (0.2 to 1.0)"
std::string over_s(const Recipe& recipe, const Stats& stats) {
  return "“" + recipe.label + "” " + signed_points(stats.mean) +
         (bounded(stats.low, stats.high) ? " (" + range(stats) + ")" : "");
}

std::string recipes_with(const Findings& f, i64 images) {
  std::vector<std::string> above, below, open;
  i64 recipes = 0, seeds = 0;
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) {
      if (point.real_count != images) continue;
      ++recipes;
      seeds = std::max(seeds, point.top1.n);
      if (!point.over_s) continue;
      const bool claimed = told(*point.over_s, point.p_over_s);
      (!claimed ? open : point.over_s->mean > 0 ? above : below).push_back(over_s(recipe, *point.over_s));
    }
  std::string out = "With " + count(images, "real image");
  if (above.empty() && below.empty()) out += " no recipe is told from S: that is " + unresolved(seeds) + ".";
  else {
    std::vector<std::string> parts;
    if (!above.empty()) parts.push_back("above S " + std::string(above.size() == 1 ? "is " : "are ") + listed(above));
    if (!below.empty()) parts.push_back("below S " + std::string(below.size() == 1 ? "is " : "are ") + listed(below));
    if (!open.empty()) parts.push_back("not resolved: " + listed(open));
    for (size_t i = 0; i < parts.size(); ++i) out += (i ? "; " : " (points over S) ") + parts[i];
    out += ".";
  }
  if (recipes < 2) return out;
  const auto best = f.best_recipe.find(images);
  if (best != f.best_recipe.end()) return out + " Better than every other is “" + best->second + "”.";
  return out + " Which recipe is best is " + unresolved(seeds) + ".";
}

// Whether the recipes had as many steps in all, a sentence for each number of images, or one where all are alike.
std::vector<std::string> recipe_steps(const Findings& f, const std::set<i64>& counts) {
  std::vector<std::string> out;
  std::set<i64> every;
  bool matched = true;
  for (const i64 images : counts) {
    std::set<i64> totals;
    std::vector<std::string> parts;
    for (const Recipe& recipe : f.recipes)
      for (const RecipePoint& point : recipe.points) {
        if (point.real_count != images) continue;
        totals.insert(point.steps + point.steps_before);
        parts.push_back("“" + recipe.label + "” " + (point.steps_before ? count(point.steps_before) + " + " : "") +
                        count(point.steps));
      }
    every.merge(std::set<i64>(totals));
    matched = matched && totals.size() == 1;
    const std::string with = "With " + count(images, "real image") + " ";
    out.push_back(totals.size() == 1
                      ? with + "every recipe has " + count(*totals.begin(), "step") + " in all, those of S counted."
                      : with + "the recipes differ in steps, those of S first: " + listed(parts) + ".");
  }
  if (matched && every.size() == 1) return {"Every recipe has " + count(*every.begin(), "step") + " in all, those of S counted."};
  return out;
}

void remark_on_recipes(const Findings& f, const Say& say) {
  std::set<i64> counts;
  for (const Recipe& recipe : f.recipes)
    for (const RecipePoint& point : recipe.points) counts.insert(point.real_count);
  for (const i64 images : counts) say(Topic::real_images, images == *counts.begin(), recipes_with(f, images));
  for (const std::string& text : recipe_steps(f, counts)) say(Topic::real_images, false, text);
  if (!counts.empty())
    say(Topic::real_images, false,
        "The few real images are a part of R's. What is above, below or best is said after Holm's correction for the recipes "
        "with as many images; each interval in brackets stands for itself.");
}

// ---- normalisation, settings ----------------------------------------------------------------------------------------

void remark_on_normalisation(const Findings& f, const Say& say) {
  std::vector<std::string> resolved;
  i64 seeds = 0;
  for (const NormalisationDifference& d : f.normalisation_differences) {
    seeds = std::max(seeds, d.by.n);
    if (told(d.by, d.p))
      resolved.push_back("for " + d.direction + " “" + d.better + "” is " + points_with_range(d.by) + " better than “" + d.worse +
                         "”");
  }
  if (!f.normalisation_differences.empty()) {
    const i64 pairs = i64(f.normalisation_differences.size());
    if (resolved.empty())
      say(Topic::normalisation, false,
          "Which normalisation is better is " + unresolved(seeds) + " (" + count(pairs, "pair") + ", Holm's correction).");
    else {
      const size_t told = resolved.size(), shown = std::min<size_t>(told, 3);
      resolved.resize(shown);
      say(Topic::normalisation, true,
          "Normalisation: " + listed(resolved) + ". " +
              (told > shown ? std::to_string(told) + " of " + count(pairs, "pair") + " are told apart"
                            : "No other pair is told apart") +
              " (Holm's correction).");
    }
  }
  const NormalisationRow* smallest = nullptr;
  bool all = true;
  for (const NormalisationRow& row : f.normalisations) {
    if (!row.gap) continue;
    all = all && row.gap->above(0);
    if (!smallest || row.gap->mean < smallest->gap->mean) smallest = &row;
  }
  if (smallest && all)
    say(Topic::normalisation, false,
        "Under each normalisation a gap remains; the smallest is " + points_with_range(*smallest->gap) + ", with “" +
            smallest->name + "”.");
}

std::string setting_name(const SettingPoint& s) {
  return s.sampler + ", " + count(s.sampling_steps, "step") + ", guidance " + decimal(s.guidance) + ", " +
         count(s.synthetic_count, "image");
}

void remark_on_settings(const Findings& f, const Say& say) {
  if (f.settings.empty()) return;
  const auto first = std::max_element(f.settings.begin(), f.settings.end(), [](const SettingPoint& a, const SettingPoint& b) {
    return a.gap && b.gap ? a.gap->mean > b.gap->mean : a.synthetic.mean < b.synthetic.mean;
  });
  std::string text = first->gap ? "The smallest gap, " + points_with_range(*first->gap) + ", is seen with "
                                : "S is highest, " + percent_with_interval(first->synthetic) + ", with ";
  text += setting_name(*first);
  if (f.settings.size() == 1) text += ", the only setting that was tried";
  else if (f.best_setting && &*first == &f.settings[*f.best_setting]) text += "; it is told from every other setting";
  else text += "; whether it is the best setting is " + unresolved(first->synthetic.n);
  say(Topic::settings, !f.gap,
      text + ". Measured on " + (f.held_out_count ? count(f.held_out_count) + " " : std::string()) +
          "held-out training images, so that the choice of a setting has not seen the test images.");
}

}  // namespace

std::string headline(const Findings& f) {
  if (!f.gap && !f.settings.empty())
    return "This study compares settings of the generator; R and S were not tested on the test images.";
  if (!f.gap)
    return "The two baselines, one student trained on real and one on generated images, have not both been run yet, so there is "
           "no gap to speak of.";
  const std::string more = f.guesses() ? guess_sentence(f) : place_sentence(f);
  return gap_sentence(f) + (more.empty() ? "" : " " + more);
}

std::vector<Remark> remarks(const Findings& f) {
  std::vector<Remark> out;
  const Say say = [&](Topic topic, bool leading, std::string text) { out.push_back({topic, leading, std::move(text)}); };
  if (f.gap) {
    say(Topic::gap, true, conditions(f));
    say(Topic::gap, true, generator_sight(f));
    if (!f.guesses()) remark_on_swaps(f, say);
    remark_on_recipes(f, say);
    remark_on_normalisation(f, say);
  }
  remark_on_settings(f, say);
  return out;
}

}  // namespace mindgap::report
