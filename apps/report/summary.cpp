#include "summary.hpp"

#include "sentences.hpp"
#include "words.hpp"
#include <sstream>
#include <utility>

namespace mindgap::report {

using namespace words;

Facts study_facts(const StudyConfig& c) {
  const auto recipe = [](const RecipeConfig& r) {
    return text(r.epochs, " epochs of batches of ", r.batch,
                r.minimum_steps ? text(", at least ", r.minimum_steps, " steps") : std::string(), ", peak learning rate ",
                r.learning_rate);
  };
  std::string seeds;
  for (u64 seed : c.seeds) seeds += text(seeds.empty() ? "" : ", ", seed);
  return {{"model", text(c.model, ", width ", c.width)},
          {"training images a class", std::to_string(c.per_class)},
          {"held out", c.held_out ? "a tenth of the real training images, for the choice of settings" : "nothing"},
          {"real test images", c.test_images ? std::to_string(c.test_images) : "all"},
          {"augmentation", text(c.flip ? "flips" : "no flips", ", shifts of up to ", c.shift, " pixels")},
          {"E0 to E3", recipe(c.student)},
          {"fine-tuning", recipe(c.finetune)},
          {"from scratch", c.scratch ? recipe(*c.scratch) : "as many steps as S and its fine-tuning together"},
          {"optimizer", text("SGD, Nesterov momentum 0.9, weight decay ", c.weight_decay, " on matrices, ", c.schedule,
                             " schedule, label smoothing ", c.label_smoothing)},
          {"suffix starts", c.suffix_start},
          {"statistics of frozen units", c.statistics},
          {"seeds", seeds}};
}

Facts generator_facts(const StudyConfig& c, const GeneratorOrigin& origin, const std::string& hash) {
  return {{"weights", hash.substr(0, 16)},
          {"labelled real images that it saw", origin.images ? std::to_string(origin.images) : "not recorded"},
          {"mirrored at random", !origin.flip   ? "not recorded"
                                 : *origin.flip ? "yes"
                                                : "no"},
          {"sampler", c.sampler},
          {"steps", std::to_string(c.sampling_steps)},
          {"guidance", text(c.guidance)},
          {"synthetic sets", std::to_string(c.synthetic_sets)},
          {"first seed of sampling", std::to_string(c.sampling_seed)}};
}

Facts ready_facts(const std::string& folder, const Dataset& images, const std::string& hash) {
  return {{"ready set", folder},
          {"what it says of itself", images.provenance},
          {"hash of its images", hash.substr(0, 16)},
          {"labelled real images that its generator saw", "not recorded"}};
}

std::vector<std::string> generator_caveats(const StudyConfig& c, const GeneratorOrigin& origin, i64 pool) {
  std::vector<std::string> out;
  if (origin.flip && *origin.flip != c.flip)
    out.push_back(*origin.flip ? "The generator was trained with mirrored images, the students without: the gap may hold a part "
                                 "that is this difference."
                               : "The students are trained with mirrored images, the generator was not.");
  if (origin.images > pool)
    out.push_back(text("The generator saw ", origin.images, " real images, more than the ", pool,
                       " that are not held out: what is held out is not new to it."));
  return out;
}

namespace {

// For a terminal: no-break spaces become plain ones.
std::string plain(std::string text) {
  const std::string no_break = "\u00a0";
  for (size_t at; (at = text.find(no_break)) != text.npos;) text.replace(at, no_break.size(), " ");
  return text;
}
// Filled up to so many characters, on the left or on the right; a longer one is cut.
std::string column(const std::string& text, i64 width, bool right = true) {
  const std::string cut = svg::shorten(plain(text), width), fill(size_t(width - svg::length(cut)), ' ');
  return right ? fill + cut : cut + fill;
}
// Lines of at most so many characters.
std::string wrapped(const std::string& text, i64 width) {
  std::istringstream words(plain(text));
  std::string out, line;
  for (std::string word; words >> word;) {
    if (!line.empty() && svg::length(line) + 1 + svg::length(word) > width) out += std::exchange(line, "") + "\n";
    line += (line.empty() ? "" : " ") + word;
  }
  return out + line + "\n";
}

std::string percent_column(double fraction, i64 width) { return column(svg::number(100 * fraction, 2), width); }
// Half the width of the interval.
std::string half_column(const Stats& stats, i64 width) {
  return column(bounded(stats.low, stats.high) ? svg::number(100 * stats.half_width(), 2) : "-", width);
}

std::string costs_text(const Findings& f) {
  std::string out;
  for (const CostCurve& curve : f.costs) {
    out += "\n" + column("costs of generated images, front up to", 48, false) + column("R->R", 9) + column("S->R", 9) +
           column("S->S", 9) + column("prefix cost", 16) + column("suffix cost", 16) + "\n";
    for (const SplitCost& cost : curve.points)
      out += column(cost.split + " (" + curve.policy + ", " + curve.suffix_start + ", " + count(cost.prefix.n, "seed") + ")", 48,
                    false) +
             percent_column(cost.real_real.mean, 9) + percent_column(cost.synthetic_real.mean, 9) +
             percent_column(cost.synthetic_synthetic.mean, 9) + column(points_with_interval(cost.prefix), 16) +
             column(points_with_interval(cost.suffix), 16) + "\n";
  }
  return out;
}

}  // namespace

std::string results_text(const std::vector<Row>& rows, i64 classes) {
  const auto line = [](const std::string& experiment, const std::string& direction, const std::string& what,
                       const std::string& real, const std::string& generated) {
    return column(experiment, 5, false) + column(direction, 6, false) + column(what, 34, false) + column(real, 8) +
           column(generated, 10);
  };
  std::string out = line("exp", "dir", "frozen up to, recipe or setting", "real", "generated") + column("accuracy", 10) +
                    column("± 95 %", 8) + column("n", 4) + "  recovered\n";
  for (const RowGroup& group : summarise(rows)) {
    const Row& r = group.run;
    const bool swap = r.experiment == "E1" || r.experiment == "E2";
    const std::string what = r.experiment != "E10" ? r.split
                             : r.sampler.empty()
                                 ? r.measured_on
                                 : r.sampler + ", " + count(r.sampling_steps, "step") + ", guidance " + decimal(r.guidance);
    out += line(r.experiment, r.direction, what, count(r.real_count), count(r.synthetic_count)) +
           percent_column(group.top1.mean, 10) + half_column(group.top1, 8) + column(std::to_string(group.top1.n), 4) + "  " +
           (swap && group.recovered ? plain(share_with_range(*group.recovered)) : "-") + "\n";
  }
  const Findings findings = find_findings(rows, classes);
  return out + costs_text(findings) + "\n" + wrapped(headline(findings), 110);
}

}  // namespace mindgap::report
