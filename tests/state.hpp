// The state dict of a network as plain numbers, for comparisons.
#pragma once

#include <mindgap/nn/state_dict.hpp>

#include <map>
#include <string>
#include <vector>

namespace mindgap::test {

using State = std::map<std::string, std::vector<float>>;

template <Module M>
State state_of(M& net) {
  State out;
  for (const StateItem& item : state_items(net))
    out[item.name] = item.counter ? std::vector<float>{float(*item.counter)} : item.get();
  return out;
}

}  // namespace mindgap::test
