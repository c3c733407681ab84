// Freezing and starting afresh, by pattern of published names.
//
// freeze stops gradients, and what an optimizer does to the parameters, at any time; freeze_statistics stops batch norms' running
// averages and makes them normalise by these. The two are separate on purpose: stopping gradients alone leaves the averages
// moving, the classic mistake of transfer learning (pytorch#86590). A pattern that matches nothing throws and lists the names.
#pragma once

#include <mindgap/nn/module.hpp>

#include <functional>

namespace mindgap {
namespace detail {

// A name, and what is done to what has it.
using PatternItem = std::pair<std::string, std::function<void()>>;

// Does it to every item that a pattern matches. Returns how many. kind: what items are, for the error of a pattern without a
// match.
i64 apply_patterns(const std::vector<std::string>& patterns, const char* kind, const std::vector<PatternItem>& items);

template <Module M>
i64 set_requires_grad(M& net, const std::vector<std::string>& patterns, bool requires_grad) {
  std::vector<PatternItem> items;
  for_each_parameter(net, [&](const std::string& name, auto& parameter) {
    items.emplace_back(name, [&parameter, requires_grad] { parameter.set_requires_grad(requires_grad); });
  });
  return apply_patterns(patterns, "parameter", items);
}

template <Module M>
i64 set_frozen_statistics(M& net, const std::vector<std::string>& patterns, bool frozen) {
  std::vector<PatternItem> items;
  for_each_module(net, [&](const std::string& name, auto& module) {
    if constexpr (requires { module.frozen_statistics; })
      items.emplace_back(name, [&module, frozen] { module.frozen_statistics = frozen; });
  });
  return apply_patterns(patterns, "batch norm", items);
}

}  // namespace detail

// Each returns the number of parameters (batch norms) that the patterns matched, counted once a pattern.
template <Module M>
i64 freeze(M& net, const std::vector<std::string>& patterns, Location at = Location::current()) {
  const Caller caller(at);
  return detail::set_requires_grad(net, patterns, false);
}
template <Module M>
i64 unfreeze(M& net, const std::vector<std::string>& patterns, Location at = Location::current()) {
  const Caller caller(at);
  return detail::set_requires_grad(net, patterns, true);
}
template <Module M>
i64 freeze_statistics(M& net, const std::vector<std::string>& patterns, Location at = Location::current()) {
  const Caller caller(at);
  return detail::set_frozen_statistics(net, patterns, true);
}
template <Module M>
i64 unfreeze_statistics(M& net, const std::vector<std::string>& patterns, Location at = Location::current()) {
  const Caller caller(at);
  return detail::set_frozen_statistics(net, patterns, false);
}

// Gives every layer under the patterns fresh initial weights of `seed` (statistics included). Returns their names.
template <Module M>
std::vector<std::string> reinitialise(M& net, u64 seed, const std::vector<std::string>& patterns,
                                      Location at = Location::current()) {
  const Caller caller(at);
  std::vector<std::string> layers;
  std::vector<detail::PatternItem> items;
  for_each_module(net, [&](const std::string& name, auto& module) {
    if constexpr (requires { module.reset(seed, name); })
      items.emplace_back(name, [&module, &layers, seed, name] { module.reset(seed, name), layers.push_back(name); });
  });
  detail::apply_patterns(patterns, "layer", items);
  return layers;
}
template <Module M>
void initialise(M& net, u64 seed) {
  reinitialise(net, seed, {"*"});
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/nn/freeze.ipp>
#endif
