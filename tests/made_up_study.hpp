// Rows of studies that nobody ran, for tests of what is said about them.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/study/results.hpp>

#include <functional>
#include <string>
#include <vector>

namespace mindgap::test {

// Accuracies are given in per cent; rows are of the current seed.
struct MadeUpStudy {
  std::vector<Row> rows;
  u64 seed = 1;
  double noise = 0;  // standard deviation of a run, in points

  Row& add(const std::string& experiment, const std::string& direction, const std::string& split, i64 frozen, double percent,
           i64 real = 1300) {
    Row row;
    row.experiment = experiment;
    row.direction = direction;
    row.split = split;
    row.frozen_units = frozen;
    row.policy = frozen ? "frozen" : "";
    const bool two_trainings = direction.size() > 1;
    if (two_trainings) row.suffix_start = experiment == "E5" ? "continue" : "reinitialise";
    row.real_count = direction.find('R') == direction.npos ? 0 : real;
    if (direction.find('S') != direction.npos) {
      row.synthetic_count = 1300;
      row.sampler = "dpmpp_2m", row.sampling_steps = 10, row.guidance = 1, row.sampling_seed = 7;
      row.generator_images = 54000;
    }
    row.measured_count = 2000;
    row.seed = seed;
    row.steps = 105, row.steps_before = two_trainings ? 105 : 0;
    row.top1 = (percent + noise * Stream(seed, "made-up study", rows.size()).normal(0)) / 100;
    row.top5 = 0.99, row.loss = 0.5, row.seconds = 30;
    rows.push_back(row);
    return rows.back();
  }
  // At stem, layer1, ..., as many as there are.
  void curve(const std::string& experiment, const std::string& direction, const std::vector<double>& percent) {
    const std::string splits[] = {"stem", "layer1", "layer2", "layer3", "layer4"};
    for (size_t i = 0; i < percent.size(); ++i) add(experiment, direction, splits[i], i64(1 + 2 * i), percent[i]);
  }
  Row& setting(double guidance, i64 steps, double percent) {
    Row& row = add("E10", "S", "", 0, percent);
    row.guidance = guidance, row.sampling_steps = steps;
    row.measured_on = "held-out", row.measured_count = 6000;
    return row;
  }
};

// Every experiment. The gap of 6 points sits in the last stage and the classifier, half each.
inline MadeUpStudy whole_study(i64 seeds, double noise = 0.3) {
  MadeUpStudy s;
  s.noise = noise;
  for (; i64(s.seed) <= seeds; ++s.seed) {
    s.add("E0", "R", "", 0, 81.9);
    s.add("E0", "S", "", 0, 75.9);
    s.curve("E1", "S->R", {82.2, 82.0, 81.9, 81.7, 78.7});
    s.curve("E2", "R->S", {76.2, 76.0, 76.4, 76.8, 79.0});
    s.curve("E3", "R->R", {81.9, 81.9, 82.2, 82.2, 82.2});
    s.curve("E3", "S->S", {76.4, 75.2, 75.1, 75.4, 75.7});
    s.add("E3", "R", "twice the steps", 0, 83.5).steps = 210;
    for (const i64 images : {100, 500}) {
      const double more = images == 100 ? 0 : 1.5;
      s.add("E5", "S->R", "fc", 9, 76.0 + more, images);
      s.add("E5", "S->R", "last group", 7, 74.9 + more, images);
      s.add("E5", "S->R", "all", 0, 74.0 + more, images);
      s.add("E5", "R", "scratch", 0, 60.5 + 5 * more, images).steps = 210;
      Row& mixed = s.add("E5", "S->R", "mixed", 0, 77.6 + more, images);
      mixed.suffix_start = "reinitialise", mixed.steps = 210, mixed.steps_before = 0;
    }
    for (const char* direction : {"R", "S"}) {
      const double base = *direction == 'R' ? 82 : 76;
      s.add("E6", direction, "ImageNet", 0, base);
      s.add("E6", direction, "real set", 0, base + 0.1);
      s.add("E6", direction, "synthetic set", 0, base - 0.1);
    }
    s.add("E6", "S", "each its own", 0, 76.2);
    Row& real = s.add("E10", "R", "", 0, 82.5);
    real.measured_on = "held-out", real.measured_count = 6000;
    for (const double guidance : {1.0, 1.5, 2.0, 3.0})
      for (const i64 steps : {5, 10, 20}) s.setting(guidance, steps, 79.8 - 2 * guidance - (steps == 5 ? 1.5 : 0));
  }
  return s;
}

// The gap, and the three networks that are split before the last stage.
inline void add_split(MadeUpStudy& s, double r, double sr, double ss, double rr) {
  s.add("E0", "R", "", 0, r);
  s.add("E0", "S", "", 0, ss);
  s.add("E1", "S->R", "layer3", 7, sr);
  s.add("E3", "R->R", "layer3", 7, rr);
  s.add("E3", "S->S", "layer3", 7, ss);
  ++s.seed;
}
inline MadeUpStudy split_study(double prefix, double suffix, i64 seeds = 5) {
  MadeUpStudy s;
  s.noise = 0.2;
  for (i64 i = 0; i < seeds; ++i) add_split(s, 82, 82 - prefix, 82 - prefix - suffix, 82);
  return s;
}
inline void change(MadeUpStudy& study, const std::function<void(Row&)>& each) {
  for (Row& row : study.rows) each(row);
}

// No-break spaces as plain ones, so that tests can be typed.
inline std::string plain(std::string text) {
  for (size_t at; (at = text.find("\u00a0")) != text.npos;) text.replace(at, std::string("\u00a0").size(), " ");
  return text;
}
inline bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace mindgap::test
