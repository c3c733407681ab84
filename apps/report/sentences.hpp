// What the findings say in plain sentences.
//
// A sentence is made only where its 95 % interval allows it, and otherwise says "not resolved with n seeds". A cause is told for
// no difference that is not resolved, nor for one that prints as 0.0 points; "best" is said only of what is told from every
// other. With a single seed nothing is resolved. Left out: everything about a cause that the study does not vary.
#pragma once

#include <mindgap/study/findings.hpp>

#include <string>
#include <vector>

namespace mindgap::report {

// The gap and its place in a few sentences.
std::string headline(const Findings& findings);

enum class Topic { gap, swap, real_images, normalisation, settings };
struct Remark {
  Topic topic;
  bool leading;  // belongs beside the headline
  std::string text;
};
// What else the numbers say, and where they are weak; a sentence or two each.
std::vector<Remark> remarks(const Findings& findings);

}  // namespace mindgap::report
