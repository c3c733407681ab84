// Nothing is said that the intervals do not allow: what is resolved is told, what is not is called so.
#include "apps/report/sentences.hpp"

#include "apps/report/summary.hpp"
#include "apps/report/words.hpp"
#include "tests/made_up_study.hpp"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <sstream>

using namespace mindgap;
using namespace mindgap::report;
using namespace mindgap::test;

namespace {

std::string headline_of(const MadeUpStudy& study, i64 classes = 10) {
  return plain(headline(find_findings(study.rows, classes)));
}
std::string remarks_of(const MadeUpStudy& study, i64 classes = 10) {
  std::string out;
  for (const Remark& remark : remarks(find_findings(study.rows, classes))) out += remark.text + "\n";
  return plain(out);
}
void says(const std::string& text, const std::string& part, bool wanted) {
  BOOST_TEST(has(text, part) == wanted, (wanted ? "misses: " : "has: ") << part << "\n  in: " << text);
}
#define SAYS(text, part) says(text, part, true)
#define SAYS_NOT(text, part) says(text, part, false)

}  // namespace

BOOST_AUTO_TEST_SUITE(sentences)

// ---- the gap --------------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_gap_is_claimed_with_its_interval) {
  const MadeUpStudy study = whole_study(5);
  const Findings f = find_findings(study.rows, 10);
  BOOST_TEST((gap_claim(f) == GapClaim::costs));
  SAYS(headline_of(study), "Training on generated images instead of real ones costs " + words::points(f.gap->mean));
  SAYS(headline_of(study), "(95 % interval " + words::range(*f.gap) + ", 5 seeds)");
}

BOOST_AUTO_TEST_CASE(a_gain_is_called_that) {
  MadeUpStudy study = whole_study(5);
  change(study, [](Row& row) {
    if (row.experiment == "E0" && row.direction == "S") row.top1 += 0.08;
  });
  SAYS(headline_of(study), "gains 2.");
  SAYS(headline_of(study), "no gap whose place could be asked for");
  SAYS_NOT(headline_of(study), "carry");
}

BOOST_AUTO_TEST_CASE(a_gap_that_is_not_resolved) {
  MadeUpStudy study;
  for (const auto& [r, s] : {std::pair{82.0, 81.0}, {80.0, 81.5}, {84.0, 81.0}}) {
    study.add("E0", "R", "", 0, r);
    study.add("E0", "S", "", 0, s);
    ++study.seed;
  }
  SAYS(headline_of(study), "Whether generated images cost accuracy is not resolved with 3 seeds");
  SAYS(headline_of(study), "R − S is +0.8 points (95 % interval −4.8 to 6.4, 3 seeds)");
  SAYS_NOT(headline_of(study), "costs");
  BOOST_TEST(has(headline(Findings{}), "not both been run"));
}

BOOST_AUTO_TEST_CASE(one_seed_resolves_nothing) {
  const MadeUpStudy study = whole_study(1, 0);
  SAYS(headline_of(study), "not resolved with 1 seed");
  SAYS(headline_of(study), "81.9 %");
  SAYS(headline_of(study), "+6.0 points (1 seed, no interval)");
  const std::string text = remarks_of(study);
  SAYS(text, "All of this is a single seed");
  SAYS(text, "With 100 real images no recipe is told from S: that is not resolved with 1 seed.");
  SAYS(text, "Which recipe is best is not resolved with 1 seed");
  SAYS(text, "What R gains from twice the steps is not resolved with 1 seed (+1.6 points");
  SAYS(text, "what it recovers of the gap is not resolved with 1 seed");
  SAYS(text, "Which normalisation is better is not resolved with 1 seed");
  SAYS(text, "whether it is the best setting is not resolved with 1 seed");
  for (const char* claim : {"carry", "told from every", "Better than", "above S", "below S", "inf", "nan", "–"})
    SAYS_NOT(text, claim);
}

// ---- where it sits --------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(last_layers_carry_more) {
  const std::string text = headline_of(split_study(0.5, 5.5));
  SAYS(text, "in the last stage (layer4) and the classifier");
  SAYS(text, "the last stage and the classifier carry more of the gap than all layers before them, as the paper says.");
  const SplitCost cost = find_findings(split_study(0.5, 5.5).rows).costs.at(0).points.at(0);
  SAYS(text, "cost " + words::points_with_range(cost.suffix) + " in the last");
  BOOST_TEST(std::abs(cost.prefix.mean + cost.suffix.mean - cost.controls.mean) < 1e-12);
  BOOST_TEST(std::abs(cost.suffix.mean - cost.prefix.mean - cost.difference.mean) < 1e-12);
}

BOOST_AUTO_TEST_CASE(earlier_layers_carry_more) {
  const std::string text = headline_of(split_study(5.5, 0.5));
  SAYS(text,
       "the layers before the last stage carry more of the gap than the last stage and the classifier, unlike in the paper.");
  SAYS_NOT(text, "as the paper says");
}

BOOST_AUTO_TEST_CASE(which_layers_is_not_resolved) {
  const std::string text = headline_of(split_study(3, 3));
  SAYS(text, "Which layers carry it is not resolved with 5 seeds: at the split before the last stage");
  SAYS_NOT(text, "paper");
  // A difference of costs whose larger one is not told from 0 says nothing either.
  MadeUpStudy study;
  for (const double wide : {-2.5, 0.0, 2.5}) add_split(study, 82 + wide, 83 + 2 * wide, 82 + 0.4 * wide, 78 + 2.6 * wide);
  const Findings f = find_findings(study.rows);
  BOOST_TEST((place_claim(f) == PlaceClaim::not_asked || place_claim(f) == PlaceClaim::unresolved));
}

BOOST_AUTO_TEST_CASE(place_is_not_asked_without_controls) {
  MadeUpStudy study = split_study(0.5, 5.5);
  std::erase_if(study.rows, [](const Row& row) { return row.direction == "S->S"; });
  BOOST_TEST((place_claim(find_findings(study.rows)) == PlaceClaim::not_asked));
  for (const char* word : {"carry", "paper", "layers"}) SAYS_NOT(headline_of(study), word);
}

// Two seeds gave "recovered 84 %" an interval of 98 points either way, and the page said that the last layers carry the gap.
BOOST_AUTO_TEST_CASE(two_seeds_with_wide_intervals) {
  MadeUpStudy study;
  add_split(study, 82.4, 80.9, 75.0, 82.0);
  add_split(study, 81.2, 81.3, 77.1, 81.9);
  const Findings f = find_findings(study.rows, 10);
  BOOST_TEST(f.curve("E1")->points.at(0).recovered->n == 2);
  BOOST_TEST(!f.curve("E1")->points.at(0).recovered->resolved());
  BOOST_TEST(plain(words::share_with_range(*f.curve("E1")->points.at(0).recovered)) == "not resolved");
  BOOST_TEST((place_claim(f) != PlaceClaim::last));
  SAYS(headline_of(study), "not resolved with 2 seeds");
  for (const char* claim : {"carry more", "as the paper says", "mainly"}) SAYS_NOT(headline_of(study) + remarks_of(study), claim);
}

// A generator of noise: S is right on 11 % of ten classes, and the page said "as the paper says", 139 % won back.
BOOST_AUTO_TEST_CASE(a_generator_of_noise_says_nothing_about_layers) {
  for (const i64 seeds : {1, 5}) {
    MadeUpStudy study;
    study.noise = 0.3;
    for (i64 i = 0; i < seeds; ++i) add_split(study, 82, 80, 11, 82);
    const Findings f = find_findings(study.rows, 10);
    BOOST_TEST(f.guesses());
    BOOST_TEST((place_claim(f) == PlaceClaim::not_asked));
    const std::string text = headline_of(study) + "\n" + remarks_of(study);
    SAYS(text, "where guessing is right on 10.0 %: images like these teach next to nothing");
    for (const char* claim : {"carry more", "as the paper says", "unlike in the paper", "recovers", "Recovered"})
      SAYS_NOT(text, claim);
    BOOST_TEST((gap_claim(f) == (seeds == 1 ? GapClaim::none : GapClaim::costs)));
  }
}

// ---- what the numbers are about -------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(conditions_are_named) {
  MadeUpStudy study = whole_study(5);
  std::string text = remarks_of(study);
  SAYS(text, "They hold for this generator, this one set of its images and these 2,000 test images, not for others.");
  SAYS(text, "The choice of the test images alone adds ±1.9 points to each accuracy.");
  SAYS(text, "trained on 54,000 labelled real images, 42 times R's set (1,300)");
  SAYS(text, "From twice the steps R gains 1.");
  SAYS(text, "two costs add up to the gap between the controls, (R → R) − (S → S)");
  change(study, [](Row& row) {
    row.sampling_seed = row.seed;
    if (row.generator_images) row.generator_images = 1300;
    if (row.split == twice_the_steps) row.top1 = 0.82 + 0.02 * (row.seed % 2 ? -1 : 1);
  });
  text = remarks_of(study);
  SAYS(text, "its 5 sets of images");
  SAYS(text, "trained on 1,300 labelled real images, as many as R.");
  SAYS(text, "What R gains from twice the steps is not resolved with 5 seeds");
  change(study, [](Row& row) { row.generator_images = 0; });
  std::erase_if(study.rows, [](const Row& row) { return row.split == twice_the_steps; });
  text = remarks_of(study);
  SAYS(text, "How many labelled real images the generator was trained on is not recorded");
  SAYS(text, "What R gains from twice the steps was not measured");
}

BOOST_AUTO_TEST_CASE(the_other_way_round) {
  MadeUpStudy study = whole_study(5);
  const Findings f = find_findings(study.rows);
  const CurvePoint point = *last_group(*f.curve("E2"));
  SAYS(remarks_of(study),
       "The other way round, with a front from real images and only the last stage (layer4) and the classifier from "
       "generated ones, a student reaches " +
           plain(words::percent(point.top1.mean)));
  SAYS(remarks_of(study), "and recovers " + plain(words::share_with_range(*point.recovered)) + " of the gap");
  change(study, [](Row& row) {
    if (row.experiment == "E0" && row.direction == "S") row.top1 += 0.02 * double(row.seed);  // the gap is not resolved any more
  });
  SAYS(remarks_of(study), "what it recovers of the gap is not resolved with 5 seeds");
}

// ---- few real images ------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(recipes_above_and_below_s) {
  const std::string text = remarks_of(whole_study(5, 0.2));
  SAYS(text, "With 100 real images (points over S) above S is “from scratch, mixed” +1.");
  SAYS(text, "below S are “last stage + classifier” −");
  SAYS(text, "“from scratch, real only” −1");
  SAYS(text, "not resolved: “classifier only”");
  SAYS(text, "Better than every other is “from scratch, mixed”");
  SAYS(text, "Every recipe has 210 steps in all, those of S counted.");
  SAYS(text, "The few real images are a part of R's.");
}

BOOST_AUTO_TEST_CASE(best_is_withheld) {
  MadeUpStudy study = whole_study(5, 0.2);
  change(study, [](Row& row) {  // two recipes that are alike, both above S
    if (row.split == "fc") row.top1 = (row.real_count == 100 ? 0.776 : 0.791) + 0.002 * std::cos(double(row.seed));
  });
  const Findings f = find_findings(study.rows);
  BOOST_TEST(f.best_recipe.count(100) == 0u);
  SAYS(remarks_of(study), "above S are “classifier only”");
  SAYS(remarks_of(study), "Which recipe is best is not resolved with 5 seeds.");
  SAYS_NOT(remarks_of(study), "Better than every other");
}

// Each of several recipes is a chance to be wrong: p of 0.03 is resolved alone, and not among five.
BOOST_AUTO_TEST_CASE(recipes_are_corrected_for_their_number) {
  const auto study = [](i64 others) {
    MadeUpStudy s;
    for (; s.seed <= 5; ++s.seed) {
      const double wobble = double(s.seed) - 3;
      s.add("E0", "S", "", 0, 76);
      s.add("E0", "R", "", 0, 82);
      s.add("E5", "S->R", "fc", 9, 77.2 + wobble / 2, 100);
      for (i64 i = 0; i < others; ++i) s.add("E5", "S->R", "other " + std::to_string(i), 0, 76 + (i % 2 ? wobble : -wobble), 100);
    }
    return s;
  };
  BOOST_TEST(find_findings(study(0).rows).recipes[0].points[0].p_over_s < 0.05);
  SAYS(remarks_of(study(0)), "above S is “classifier only”");
  const Findings f = find_findings(study(4).rows);
  BOOST_TEST(f.recipes[0].points[0].over_s->resolved());
  BOOST_TEST(f.recipes[0].points[0].p_over_s > 0.05);
  SAYS(remarks_of(study(4)), "no recipe is told from S: that is not resolved with 5 seeds");
}

BOOST_AUTO_TEST_CASE(unequal_steps_are_named) {
  MadeUpStudy study = whole_study(3);
  change(study, [](Row& row) {
    if (row.experiment != "E5" || row.real_count != 100) return;
    row.steps = row.split == "scratch" ? 100 : row.split == "mixed" ? 125 : 60;
  });
  SAYS(remarks_of(study), "With 100 real images the recipes differ in steps, those of S first: “classifier only” 105 + 60, ");
  SAYS(remarks_of(study), "“from scratch, real only” 100 and “from scratch, mixed” 125.");
  SAYS(remarks_of(study), "With 500 real images every recipe has 210 steps in all");
}

// A cause was told for a difference that prints as 0.0.
BOOST_AUTO_TEST_CASE(no_cause_for_a_difference_of_nothing) {
  MadeUpStudy study = whole_study(3, 0);
  change(study, [](Row& row) {
    if (row.experiment == "E5") row.top1 = 0.759 + 0.0004;  // equal in each seed, so without any spread
    if (row.experiment == "E6") row.top1 = 0.76 + (row.split == "ImageNet" ? 0.0004 : 0);
  });
  const std::string text = remarks_of(study);
  SAYS(text, "no recipe is told from S");
  SAYS(text, "Which recipe is best is not resolved");
  SAYS(text, "Which normalisation is better is not resolved");
  SAYS_NOT(text, "0.0 points (0.0");
}

// ---- normalisation, settings ----------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(normalisations_are_told_apart_or_not) {
  SAYS(remarks_of(whole_study(5)), "Which normalisation is better is not resolved with 5 seeds (9 pairs, Holm's correction).");
  SAYS(remarks_of(whole_study(5)), "Under each normalisation a gap remains; the smallest is ");
  MadeUpStudy study = whole_study(5, 0.1);
  change(study, [](Row& row) {
    if (row.experiment == "E6" && row.direction == "S" && row.split == "ImageNet") row.top1 -= 0.05;
  });
  SAYS(remarks_of(study), "Normalisation: for S “each its own” is 5.");
  SAYS(remarks_of(study), "better than “ImageNet”");
  const Findings f = find_findings(study.rows);
  for (const NormalisationRow& row : f.normalisations) BOOST_TEST(row.gap.has_value(), row.name);  // "each its own" too
  change(study, [](Row& row) {
    if (row.experiment == "E6" && row.direction == "R" && row.split == "ImageNet") row.top1 -= 0.11;
  });
  SAYS_NOT(remarks_of(study), "Under each normalisation a gap remains");
}

BOOST_AUTO_TEST_CASE(settings_are_told_apart_or_not) {
  const MadeUpStudy study = whole_study(5, 0.2);
  const Findings f = find_findings(study.rows);
  BOOST_TEST(f.settings.size() == 12u);
  i64 used = 0;
  for (const SettingPoint& s : f.settings) used += s.used;
  BOOST_TEST(used == 1);
  BOOST_TEST(!f.best_setting);  // 10 and 20 steps do the same
  SAYS(remarks_of(study), "guidance 1.0, 1,300 images; whether it is the best setting is not resolved with 5 seeds.");
  SAYS(remarks_of(study), "Measured on 6,000 held-out training images");
  MadeUpStudy clear = study;
  change(clear, [](Row& row) {
    if (row.experiment == "E10" && row.guidance == 1.5 && row.sampling_steps == 20) row.top1 += 0.04;
  });
  BOOST_REQUIRE(find_findings(clear.rows).best_setting);
  SAYS(remarks_of(clear), "20 steps, guidance 1.5, 1,300 images; it is told from every other setting");
  std::erase_if(clear.rows,
                [](const Row& row) { return row.experiment == "E10" && (row.sampling_steps != 10 || row.guidance != 1); });
  SAYS(remarks_of(clear), "S is highest");  // R is gone, and with it the gap
  SAYS(remarks_of(clear), "the only setting that was tried");
}

BOOST_AUTO_TEST_CASE(settings_alone) {
  MadeUpStudy study = whole_study(5);
  std::erase_if(study.rows, [](const Row& row) { return row.experiment != "E10"; });
  SAYS(headline_of(study), "This study compares settings of the generator");
  SAYS(remarks_of(study), "The smallest gap, ");
  SAYS_NOT(remarks_of(study), "seeds as the sample");
}

// Of many studies with a small gap some resolve it, or where it sits, and some do not.
BOOST_AUTO_TEST_CASE(headlines_follow_the_claims) {
  i64 gaps = 0, places = 0;
  constexpr i64 studies = 500;
  for (i64 i = 0; i < studies; ++i) {
    MadeUpStudy study;
    study.noise = 0.6;
    study.seed = u64(1 + 5 * i);
    for (i64 seed = 0; seed < 5; ++seed) add_split(study, 81, 80.5, 79.5, 81);
    const Findings f = find_findings(study.rows, 10);
    const PlaceClaim place = place_claim(f);
    const bool gap_claimed = gap_claim(f) != GapClaim::none,
               place_claimed = place == PlaceClaim::last || place == PlaceClaim::earlier;
    const std::string text = headline(f);
    BOOST_TEST(text.starts_with("Whether generated images cost accuracy is not resolved") != gap_claimed, text);
    BOOST_TEST(has(text, "carry more of the gap") == place_claimed, text);
    gaps += gap_claimed, places += place_claimed;
  }
  BOOST_TEST((gaps > studies / 10 && gaps < studies * 99 / 100), gaps);
  BOOST_TEST((places > studies / 100 && places < studies / 2), places);
}

// ---- other forms ----------------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(results_as_text) {
  for (const i64 seeds : {1, 5}) {
    const std::string text = results_text(whole_study(seeds).rows, 10);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) BOOST_TEST(svg::length(line) <= 110, line);
    SAYS(text, "prefix cost");
    SAYS(text, seeds == 1 ? "not resolved with 1 seed" : "more of the gap than");
    SAYS(text, "dpmpp_2m, 20 steps, guidance 1.5");
    SAYS_NOT(text, "\u00a0");
  }
  SAYS(results_text({}), "not both been run");
}

BOOST_AUTO_TEST_CASE(numbers_in_words) {
  using namespace words;
  BOOST_TEST(parameters(12345) == "12,345 parameters");
  BOOST_TEST(parameters(999999) == "999,999 parameters");
  BOOST_TEST(parameters(1123456) == "1.1 million parameters");
  BOOST_TEST(parameters(1) == "1 parameter");
  BOOST_TEST(range(0.0002, -0.0131) == "0.02 to −1.3");
  BOOST_TEST(range(0, 0.1) == "0.0 to 10.0");
  BOOST_TEST(decimal(1) == "1.0");
  BOOST_TEST(decimal(1.25) == "1.25");
  BOOST_TEST(decimal(7.5) == "7.5");
  BOOST_TEST(listed({"a", "b", "c"}) == "a, b and c");
  BOOST_TEST(listed({"a"}) == "a");
  BOOST_TEST(count(1, "seed") == "1 seed");
  const Stats two = describe({0.75, 0.77}), one = describe({0.75});
  BOOST_TEST(plain(percent_with_interval(two)) == "76.0 ± 12.7 %");
  BOOST_TEST(plain(percent_with_interval(one)) == "75.0 %");
  BOOST_TEST(points_with_interval(describe({-0.01, -0.03})) == "−2.0 ± 12.7");
  BOOST_TEST(points_with_range(describe({-0.01, -0.03})) == "−2.0 points (−14.7 to 10.7)");
  BOOST_TEST(plain(interval(one)) == "1 seed, no interval");
}

BOOST_AUTO_TEST_SUITE_END()
