// What the findings say in plain sentences.
//
// A sentence is made only where its 95 % interval allows it, and otherwise says "not resolved with n seeds". A cause is told for
// no difference that is not resolved, nor for one that prints as 0.0 points; "best" is said only of what is told from every
// other. With a single seed nothing is resolved. Left out: everything about a cause that the study does not vary.
#pragma once

#include <mindgap/study/findings.hpp>

#include <string>
#include <vector>

namespace mindgap {

// Does training on generated images cost accuracy?
enum class GapClaim { none, costs, gains };  // none: not resolved, or the baselines are missing
GapClaim gap_claim(const Findings& findings);

// Does the last stage with the classifier carry more of the gap than all layers before it, or the reverse?
enum class PlaceClaim {
  not_asked,   // no gap is resolved, S merely guesses, or E1 or E3 is missing at the split before the last stage
  unresolved,  // their costs are not told apart, or the larger one is not told from 0
  last,
  earlier
};
PlaceClaim place_claim(const Findings& findings);

// Both in a few sentences.
std::string headline(const Findings& findings);

enum class Topic { gap, swap, real_images, normalisation, settings };
struct Remark {
  Topic topic;
  bool leading;  // belongs beside the headline
  std::string text;
};
// What else the numbers say, and where they are weak; a sentence or two each.
std::vector<Remark> remarks(const Findings& findings);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/sentences.ipp>
#endif
