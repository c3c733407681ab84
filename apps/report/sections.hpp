// The report's sections with numbers, each empty where its rows are missing.
#pragma once

#include <mindgap/study/findings.hpp>

#include <string>

namespace mindgap::report {

std::string swap_section(const Findings& findings);         // where the gap sits
std::string real_images_section(const Findings& findings);  // few real images
std::string normalisation_section(const Findings& findings);
std::string settings_section(const Findings& findings);  // of the generator

}  // namespace mindgap::report
