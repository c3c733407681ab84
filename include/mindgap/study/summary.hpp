// What a study says about itself: its environment, its configuration as facts for the report, and the table that closes it.
#pragma once

#include <mindgap/study/config.hpp>
#include <mindgap/study/results.hpp>

namespace mindgap {

// CPU, threads, device, precision, compiler, libraries, version.
Facts describe_environment(const std::string& device, const std::string& precision, int threads);

Facts study_facts(const StudyConfig& config);

// The results as a table of plain text: a line a group of runs, with mean and spread over the seeds, in per cent.
std::string results_text(const std::vector<Row>& rows);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/summary.ipp>
#endif
