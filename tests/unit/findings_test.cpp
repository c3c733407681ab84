// Differences are formed by seed, and nothing is claimed that the intervals do not allow. Over many simulated studies the
// intervals cover what they should, and without an effect the claims are withheld.
#include <mindgap/study/comparisons.hpp>

#include "tests/made_up_study.hpp"
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

using namespace mindgap;
using namespace mindgap::test;

BOOST_AUTO_TEST_SUITE(findings)

// Differences are formed by seed: what all students of a seed have in common does not widen the interval.
BOOST_AUTO_TEST_CASE(pairs_are_of_one_seed) {
  MadeUpStudy study;
  for (const double common : {0.0, -9.0, 4.0}) {
    add_split(study, 82 + common, 81 + common, 76 + common, 82 + common);
  }
  const Findings f = find_findings(study.rows, 10);
  BOOST_TEST(f.gap->half_width() < 1e-9);
  BOOST_TEST(f.costs.at(0).points.at(0).prefix.half_width() < 1e-9);
  BOOST_TEST(f.real->half_width() > 0.1);
  BOOST_TEST((place_claim(f) == PlaceClaim::last));
}

BOOST_AUTO_TEST_CASE(a_seed_with_r_below_s_is_kept) {
  MadeUpStudy study;
  for (const auto& [r, s, sr] : {std::tuple{82.0, 80.0, 81.0}, {80.0, 81.0, 80.5}, {83.0, 80.0, 82.0}, {84.0, 80.0, 82.5}})
    add_split(study, r, sr, s, r);
  const Findings f = find_findings(study.rows);
  const Ratio recovered = *f.curve("E1")->points.at(0).recovered;
  BOOST_TEST(recovered.n == 4);
  BOOST_TEST(recovered.value == (1.0 - 0.5 + 2.0 + 2.5) / (2.0 - 1.0 + 3.0 + 4.0), boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(what_counts_as_guessing) {
  const auto guesses = [](double percent, i64 classes, i64 images) {
    MadeUpStudy study;
    study.add("E0", "S", "", 0, percent).measured_count = images;
    return find_findings(study.rows, classes).guesses();
  };
  BOOST_TEST(guesses(19.9, 10, 10000));
  BOOST_TEST(!guesses(20.1, 10, 10000));
  BOOST_TEST(guesses(30, 10, 10));  // 3 of 10 images
  BOOST_TEST(!guesses(76, 10, 2000));
  BOOST_TEST(!guesses(95, 2, 2000));
  BOOST_TEST(guesses(54, 2, 10000));
  BOOST_TEST(guesses(1.5, 100, 5000));
  BOOST_TEST(!guesses(60, 100, 5000));
  BOOST_TEST(!guesses(11, 0, 2000));  // the number of classes is not known
}

BOOST_AUTO_TEST_CASE(last_group_by_unit_and_by_group) {
  MadeUpStudy study = whole_study(2);
  const Findings by_groups = find_findings(study.rows);
  BOOST_TEST(last_group(*by_groups.curve("E1"))->split == "layer3");
  for (const auto& [split, frozen] :
       std::vector<std::pair<std::string, i64>>{{"layer3.0", 6}, {"layer3.1", 7}, {"layer4.0", 8}, {"layer4.1", 9}})
    study.add("E1", "S->R", split, frozen, 80);
  const Findings findings = find_findings(study.rows);
  const CurvePoint* by_unit = last_group(*findings.curve("E1"));
  BOOST_TEST(by_unit->frozen_units == 7);
  BOOST_TEST(by_unit->split == "layer3");  // the group's name, and its runs are not counted twice
  BOOST_TEST(by_unit->top1.n == 3);
  // Units alone; a study whose splits end before layer4; one that leaves out the split.
  std::erase_if(study.rows, [](const Row& row) { return !has(row.split, "."); });
  const Findings units = find_findings(study.rows);
  BOOST_TEST(last_group(*units.curve("E1"))->split == "layer3.1");
  MadeUpStudy few;
  few.add("E1", "S->R", "layer2", 5, 80);
  const Findings one = find_findings(few.rows);
  BOOST_TEST(!last_group(*one.curve("E1")));
  few.add("E1", "S->R", "layer3", 7, 80);
  const Findings two = find_findings(few.rows);
  BOOST_TEST(last_group(*two.curve("E1"))->split == "layer3");
}

BOOST_AUTO_TEST_CASE(costs_are_of_the_seeds_that_have_all_three_runs) {
  MadeUpStudy study = whole_study(5);
  std::erase_if(study.rows, [](const Row& row) { return row.direction == "R->R" && row.seed > 3; });
  const Findings f = find_findings(study.rows);
  BOOST_TEST(f.costs.size() == 1u);
  BOOST_TEST(f.costs[0].points.size() == 5u);
  BOOST_TEST(f.costs[0].points[0].suffix.n == 3);
  BOOST_TEST(f.costs[0].points[0].synthetic_real.n == 3);
  BOOST_TEST(f.curve("E1")->points[0].top1.n == 5);
}

BOOST_AUTO_TEST_CASE(comparisons_are_json) {
  const auto json = nlohmann::json::parse(comparisons_json(find_findings(whole_study(5).rows, 10), "In words."));
  BOOST_TEST((json.at("headline") == "In words."));
  BOOST_TEST((json.at("gap").at("n") == 5));
  BOOST_TEST((json.at("gap").at("resolved") == true));
  BOOST_TEST(json.at("gap").at("low").get<double>() < json.at("gap").at("mean").get<double>());
  BOOST_TEST((json.at("gap_claim") == "costs"));
  BOOST_TEST((json.at("place_claim") == "last layers"));
  BOOST_TEST(json.at("costs").size() == 5u);
  BOOST_TEST((json.at("costs")[3].at("split") == "layer3"));
  BOOST_TEST((json.at("costs")[3].at("difference").at("resolved") == true));
  BOOST_TEST(json.at("recipes").size() == 10u);
  BOOST_TEST(json.at("best_recipe").contains("500"));
  BOOST_TEST(json.at("settings").size() == 12u);
  BOOST_TEST(json.at("best_setting").is_null());
  const auto single = nlohmann::json::parse(comparisons_json(find_findings(whole_study(1).rows, 10), ""));
  BOOST_TEST(single.at("gap").at("low").is_null());
  BOOST_TEST((single.at("gap").at("resolved") == false));
  BOOST_TEST(nlohmann::json::parse(comparisons_json(Findings{}, "")).at("gap").is_null());
}

// ---- many studies that nobody ran -----------------------------------------------------------------------------------

namespace {

struct Truth {
  double r, s, rr, sr, ss;
};

struct Rates {
  double prefix, suffix, recovered;     // intervals that cover the truth, unbounded ones too
  double gap_withheld, place_withheld;  // claims
  double ratios_resolved;
};

// Students of a seed have 0.5 points in common, a run has 0.6 of its own.
Rates simulate(const Truth& truth, i64 seeds, i64 studies) {
  MadeUpStudy made_up;
  for (i64 i = 0; i < seeds; ++i) add_split(made_up, 0, 0, 0, 0);
  const double means[] = {truth.r, truth.s, truth.sr, truth.rr, truth.ss};  // in the order of add_split
  Rates rates{};
  for (i64 study = 0; study < studies; ++study) {
    const Stream stream(u64(seeds), "simulated study", u64(study));
    for (i64 i = 0; i < seeds; ++i) {
      float z[8];
      stream.normals(u64(2 * i), z), stream.normals(u64(2 * i + 1), z + 4);
      for (i64 run = 0; run < 5; ++run) made_up.rows[size_t(5 * i + run)].top1 = (means[run] + 0.5 * z[5] + 0.6 * z[run]) / 100;
    }
    const Findings f = find_findings(made_up.rows, 10);
    const auto covers = [](const auto& interval, double value) { return interval.low <= value && value <= interval.high; };
    const SplitCost& cost = f.costs.at(0).points.at(0);
    rates.prefix += covers(cost.prefix, (truth.rr - truth.sr) / 100);
    rates.suffix += covers(cost.suffix, (truth.sr - truth.ss) / 100);
    const Ratio& recovered = *f.curve("E1")->points.at(0).recovered;
    rates.ratios_resolved += recovered.resolved();
    rates.recovered += !recovered.resolved() || covers(recovered, (truth.sr - truth.s) / (truth.r - truth.s));
    const PlaceClaim place = place_claim(f);
    rates.gap_withheld += gap_claim(f) == GapClaim::none;
    rates.place_withheld += place != PlaceClaim::last && place != PlaceClaim::earlier;
  }
  for (double* rate :
       {&rates.prefix, &rates.suffix, &rates.recovered, &rates.gap_withheld, &rates.place_withheld, &rates.ratios_resolved})
    *rate /= double(studies);
  return rates;
}

}  // namespace

BOOST_AUTO_TEST_CASE(intervals_cover_what_they_should) {
  for (const i64 seeds : {3, 5, 8}) {
    // A gap of 6 points whose halves cost the same: no claim about the place is right.
    const Rates equal = simulate({82, 76, 82, 79, 76}, seeds, 10000);
    BOOST_TEST_MESSAGE(seeds << " seeds, equal costs: prefix " << equal.prefix << ", suffix " << equal.suffix << ", recovered "
                             << equal.recovered << " (resolved " << equal.ratios_resolved << "), place withheld "
                             << equal.place_withheld);
    for (const double rate : {equal.prefix, equal.suffix, equal.recovered}) BOOST_TEST((rate >= 0.93 && rate <= 0.97), rate);
    BOOST_TEST(equal.ratios_resolved > 0.99);  // so that covering is not for want of an interval
    BOOST_TEST(equal.place_withheld >= 0.94);
    BOOST_TEST(equal.gap_withheld < 0.01);
  }
}

BOOST_AUTO_TEST_CASE(without_a_gap_no_claim_is_made) {
  for (const i64 seeds : {3, 5, 8}) {
    const Rates none = simulate({80, 80, 80, 80, 80}, seeds, 10000);
    BOOST_TEST_MESSAGE(seeds << " seeds, no gap: gap withheld " << none.gap_withheld << ", place withheld "
                             << none.place_withheld);
    BOOST_TEST(none.gap_withheld >= 0.94);
    BOOST_TEST(none.place_withheld >= 0.94);
  }
}

// And with an effect it is told, so that silence is not the rule.
BOOST_AUTO_TEST_CASE(with_an_effect_it_is_claimed) {
  const Rates clear = simulate({82, 76, 82, 81.5, 76}, 5, 1000);
  BOOST_TEST(clear.gap_withheld < 0.05);
  BOOST_TEST(clear.place_withheld < 0.05);
}

BOOST_AUTO_TEST_SUITE_END()
