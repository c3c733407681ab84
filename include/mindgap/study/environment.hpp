// What a study ran on, for study.json and its report.
#pragma once

#include <mindgap/study/results.hpp>

namespace mindgap {

// CPU, threads, device, precision, compiler, libraries, version.
Facts describe_environment(const std::string& device, const std::string& precision, int threads);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/environment.ipp>
#endif
