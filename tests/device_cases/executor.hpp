// A kernel that tells which threads a reduction over groups of lanes combined, and in which order.
#pragma once

#include <mindgap/kernels/block.hpp>

namespace mindgap::test {

// Neighbouring threads, in order.
struct Span {
  float first, last, ordered;
};
struct Append {
  MG_HD Span operator()(Span a, Span b) const {
    return {a.first, b.last, a.ordered * b.ordered * (a.last + 1 == b.first ? 1.f : 0.f)};
  }
};

// first[t] and last[t] = the ranks of the group of thread t; negative where it was not combined in order.
struct Groups {
  float* first;
  float* last;
  int lanes;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float rank = float(block.rank());
    const Span group = block.reduce(Span{rank, rank, 1.f}, Append{}, lanes);
    first[block.rank()] = group.ordered > 0 ? group.first : -1.f;
    last[block.rank()] = group.ordered > 0 ? group.last : -1.f;
  }
};

}  // namespace mindgap::test
