// A network is a struct whose members are layers; MINDGAP_MODULE lists them once, under their published names.
//
//   struct Block {
//     Conv2d<D, P> conv1;
//     BatchNorm2d<D, P> bn1;
//     MINDGAP_MODULE(conv1, bn1)
//   };
//
// Members may be parameters, buffers, counters, modules, and std::vector or std::optional of modules (elements are
// named by their index). Where a published name is no C++ name ("downsample.0"), write visit by hand.
// Walks hand out dotted names: for_each_parameter(net, [](const std::string& name, auto& parameter) { ... }).
#pragma once

#include <mindgap/nn/parameter.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// f(name, member) for each member. The list is unrolled by the preprocessor, at most 24 names.
#define MINDGAP_MODULE(...)                                      \
  template <class F>                                             \
  void visit(F&& f) {                                            \
    ::mindgap::detail::visit_list(#__VA_ARGS__, f, __VA_ARGS__); \
  }

namespace mindgap {
namespace detail {

// Walks are compiled for each network and visitor, so what they all do stays out of them.

// Takes the first name off "a, b, c", as the preprocessor spells a list.
[[gnu::noinline]] inline std::string_view take_name(std::string_view& names) {
  const size_t comma = std::min(names.find(','), names.size());
  std::string_view name = names.substr(0, comma);
  names.remove_prefix(std::min(names.size(), comma + 1));
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  return name;
}
[[gnu::noinline]] inline std::string joined_name(const std::string& module, std::string_view member) {
  std::string name = module;
  if (!name.empty()) name += '.';
  return name += member;
}
[[gnu::noinline]] inline std::string joined_name(const std::string& module, size_t element) {
  return joined_name(module, std::to_string(element));
}

template <class F, class... Members>
void visit_list(std::string_view names, F& f, Members&... members) {
  (f(take_name(names), members), ...);
}

struct AnyVisitor {
  template <class M>
  void operator()(std::string_view, M&) const {}
};

}  // namespace detail

template <class M>
concept Module = requires(M& m, detail::AnyVisitor& f) {
  m.visit(f);
};

template <class M>
inline constexpr bool is_parameter = false;
template <int N, Device D, class P>
inline constexpr bool is_parameter<Parameter<N, D, P>> = true;
template <class M>
inline constexpr bool is_buffer = false;
template <int N, Device D>
inline constexpr bool is_buffer<Buffer<N, D>> = true;

// Calls f(dotted name, item) for the module itself (name = prefix), then for everything below it, in declaration order.
// Leaves are Parameter, Buffer and Counter; what is undefined or empty is skipped.
template <class M, class F>
void walk(M& item, const std::string& prefix, F&& f) {
  if constexpr (Module<M>) {
    f(prefix, item);
    item.visit([&](std::string_view name, auto& member) { walk(member, detail::joined_name(prefix, name), f); });
  } else if constexpr (requires {
                         item.has_value();
                         *item;
                       }) {
    if (item) walk(*item, prefix, f);
  } else if constexpr (requires {
                         item.begin();
                         item.size();
                       }) {
    for (size_t i = 0; i < item.size(); ++i) walk(item[i], detail::joined_name(prefix, i), f);
  } else if constexpr (is_parameter<M>) {
    if (item.defined()) f(prefix, item);
  } else if constexpr (is_buffer<M>) {
    if (item.value.defined()) f(prefix, item);
  } else {
    f(prefix, item);
  }
}

template <Module M, class F>
void for_each_parameter(M& net, F&& f) {
  walk(net, "", [&]<class X>(const std::string& name, X& item) {
    if constexpr (is_parameter<X>) f(name, item);
  });
}
template <Module M, class F>
void for_each_buffer(M& net, F&& f) {
  walk(net, "", [&]<class X>(const std::string& name, X& item) {
    if constexpr (is_buffer<X>) f(name, item);
  });
}
template <Module M, class F>
void for_each_module(M& net, F&& f) {
  walk(net, "", [&]<class X>(const std::string& name, X& item) {
    if constexpr (Module<X>) f(name, item);
  });
}

// Gives every parameter an f32 master: before weights are loaded that will be trained in a 16-bit type. load() then keeps what
// the file says in f32; without masters it rounds, and an optimizer starts from the rounded values.
template <Module M>
void make_masters(M& net) {
  for_each_parameter(net, [](const std::string&, auto& parameter) { parameter.make_master(); });
}

template <Module M>
i64 count_parameters(M& net) {
  i64 count = 0;
  for_each_parameter(net, [&](const std::string&, auto& p) { count += p.shape().size(); });
  return count;
}

// Does the pattern match the name or a module that contains it? `*` stands for any characters: "layer1", "layer1.*", "*.bias".
inline bool matches(std::string_view pattern, std::string_view name) {
  constexpr size_t none = std::string_view::npos;
  size_t p = 0, n = 0, star = none, taken = 0;  // the last star so far, and where what it stands for ends
  for (;;) {
    if (p == pattern.size() && (n == name.size() || name[n] == '.')) return true;
    if (p < pattern.size() && pattern[p] == '*') star = p++, taken = n;
    else if (p < pattern.size() && n < name.size() && pattern[p] == name[n]) ++p, ++n;
    else if (star == none || taken == name.size()) return false;
    else p = star + 1, n = ++taken;  // only the last star has to stand for more: those before it have the least they can
  }
}

inline bool matches_any(const std::vector<std::string>& patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) { return matches(pattern, name); });
}

// Writes the dotted name into every layer that has a `path` member, so that errors name the layer.
template <Module M>
void assign_paths(M& net) {
  for_each_module(net, [](const std::string& name, auto& module) {
    if constexpr (requires { module.path = name; }) module.path = name;
  });
}

// Training or evaluation, as torch's train() and eval(): what batch norms normalise by.
template <Module M>
void set_training(M& net, bool training) {
  for_each_module(net, [&](const std::string&, auto& module) {
    if constexpr (requires { module.training = training; }) module.training = training;
  });
}

}  // namespace mindgap
