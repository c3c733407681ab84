// Freezing and starting afresh, by pattern of published names.
//
// freeze stops gradients, and what an optimizer does to the parameters, at any time; freeze_statistics stops batch norms' running
// averages and makes them normalise by these. The two are separate on purpose: stopping gradients alone leaves the averages
// moving, the classic mistake of transfer learning (pytorch#86590). A pattern that matches nothing throws and lists the names.
#pragma once

#include <mindgap/nn/module.hpp>

namespace mindgap {
namespace detail {

// Applies `set` to every item that visit_names hands out and that a pattern matches. Returns how many.
template <class Walk>
i64 apply_patterns(const std::vector<std::string>& patterns, const char* kind, Walk&& walk_items) {
  i64 count = 0;
  for (const std::string& pattern : patterns) {
    i64 matched = 0;
    std::string names;
    walk_items([&](const std::string& name, auto&& set) {
      (names += names.empty() ? "" : " ") += name;
      if (!matches(pattern, name)) return;
      set();
      ++matched;
    });
    if (!matched)
      throw Error("no " + std::string(kind) + " matches '" + pattern + "'",
                  {{"names", names}, {"remedy", "* stands for any characters; a module's name stands for all it contains"}});
    count += matched;
  }
  return count;
}

template <Module M>
i64 set_requires_grad(M& net, const std::vector<std::string>& patterns, bool requires_grad) {
  return apply_patterns(patterns, "parameter", [&](auto&& item) {
    for_each_parameter(
        net, [&](const std::string& name, auto& parameter) { item(name, [&] { parameter.set_requires_grad(requires_grad); }); });
  });
}

template <Module M>
i64 set_frozen_statistics(M& net, const std::vector<std::string>& patterns, bool frozen) {
  return apply_patterns(patterns, "batch norm", [&](auto&& item) {
    for_each_module(net, [&](const std::string& name, auto& module) {
      if constexpr (requires { module.frozen_statistics; }) item(name, [&] { module.frozen_statistics = frozen; });
    });
  });
}

}  // namespace detail

// Each returns the number of parameters (batch norms) that the patterns matched, counted once a pattern.
template <Module M>
i64 freeze(M& net, const std::vector<std::string>& patterns) {
  return detail::set_requires_grad(net, patterns, false);
}
template <Module M>
i64 unfreeze(M& net, const std::vector<std::string>& patterns) {
  return detail::set_requires_grad(net, patterns, true);
}
template <Module M>
i64 freeze_statistics(M& net, const std::vector<std::string>& patterns) {
  return detail::set_frozen_statistics(net, patterns, true);
}
template <Module M>
i64 unfreeze_statistics(M& net, const std::vector<std::string>& patterns) {
  return detail::set_frozen_statistics(net, patterns, false);
}

// Gives every layer under the patterns fresh initial weights of `seed` (statistics included). Returns their names.
template <Module M>
std::vector<std::string> reinitialise(M& net, u64 seed, const std::vector<std::string>& patterns) {
  std::vector<std::string> layers;
  detail::apply_patterns(patterns, "layer", [&](auto&& item) {
    for_each_module(net, [&](const std::string& name, auto& module) {
      if constexpr (requires { module.reset(seed, name); }) item(name, [&] { module.reset(seed, name), layers.push_back(name); });
    });
  });
  return layers;
}
template <Module M>
void initialise(M& net, u64 seed) {
  reinitialise(net, seed, {"*"});
}

}  // namespace mindgap
