// What a study says about itself: its configuration and its generator as facts for the report, and the table that closes it.
#pragma once

#include <mindgap/diffusion/generator.hpp>
#include <mindgap/study/config.hpp>
#include <mindgap/study/results.hpp>

namespace mindgap::report {

Facts study_facts(const StudyConfig& config);

// The generator and how it was sampled. hash: of its files.
Facts generator_facts(const StudyConfig& config, const GeneratorOrigin& origin, const std::string& hash);
// What a reader must know of the generator before the result: sentences. pool: real training images that are not held out.
std::vector<std::string> generator_caveats(const StudyConfig& config, const GeneratorOrigin& origin, i64 pool);

// The same of a ready set, of which nothing is known but what it says itself. hash: of its images.
Facts ready_facts(const std::string& folder, const Dataset& images, const std::string& hash);
inline constexpr const char* ready_caveat =
    "The generated images were given as a ready set: what their generator was trained on is not recorded, and the test images "
    "may be among it.";

// The results as plain text: a line a group of runs with mean, half the 95 % interval, number of seeds and what it recovers of
// the gap; what generated images cost at each split; the finding. classes: as find_findings.
std::string results_text(const std::vector<Row>& rows, i64 classes = 0);

}  // namespace mindgap::report
