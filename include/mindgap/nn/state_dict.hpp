// State dicts: the parameters, buffers and counters of a network as a safetensors file under published names.
//
// Values are stored in f32 (counters in i64) in the published layout: [O, I, kh, kw] for convolutions. Loading is strict:
// missing, unexpected and wrong-shape entries are reported together, nothing is changed unless all fit, and NaN or
// infinite values are refused. Files of f32, bf16 and f16 are read straight into what a parameter has, its master or else its
// value, in one pass by all cores after that check. Published ranks may differ from ours by extents of one, and entries may have
// the names that older files gave them (a module's `older_names`). What published files hold beside weights (a module's
// `not_weights`) is not read. Weights in several files are read by their index.
// What is written has a hash of all its contents in its metadata ("mindgap_sha256"), which reading checks; files of others and of
// older versions have none.
// An optimizer saves its own state the same way, as more items in one file.
#pragma once

#include <mindgap/io/safetensors.hpp>
#include <mindgap/nn/init.hpp>
#include <mindgap/nn/module.hpp>

#include <filesystem>
#include <functional>

namespace mindgap {

// One entry of a state dict: how to read it from and write it to the network in the published layout; or a counter.
struct StateItem {
  std::string name;
  std::vector<i64> shape;  // published
  std::function<std::vector<float>()> get;
  std::function<void(const void* published, DType type)> read;  // f32, bf16 or f16
  i64* counter = nullptr;  // where given, the entry is this number, stored as i64, and get and read are empty; a file may lack it
  std::string older_name = {};  // which a file may have instead

  void set(const std::vector<float>& published) const { read(published.data(), DType::f32); }
};

inline StateItem state_item(std::string name, Counter& counter) { return {std::move(name), {}, {}, {}, &counter.value}; }

// An item over a tensor. changed: called after it was read.
template <Real T, int N, Device D>
StateItem state_item(std::string name, Tensor<T, N, D> tensor, std::function<void()> changed = {}) {
  const Shape<N>& s = tensor.shape();
  std::vector<i64> shape(s.extents.begin(), s.extents.end());
  if constexpr (N == 4) shape = {s[0], s[3], s[1], s[2]};
  return {std::move(name), shape, [=] { return to_published(tensor); },
          [=](const void* published, DType type) {
            from_published(tensor, published, type);
            if (changed) changed();
          },
          nullptr};
}

namespace detail {

// How the names in a module and in it begin, now and in older files.
template <class X>
void add_older_names(std::vector<std::pair<std::string, std::string>>& renamed, const std::string& module) {
  if constexpr (requires { X::older_names; })
    for (const auto& [now, older] : X::older_names) renamed.emplace_back(module + now + ".", module + older + ".");
}
inline std::string older_name(const std::vector<std::pair<std::string, std::string>>& renamed, const std::string& name) {
  std::string out;
  for (const auto& [now, older] : renamed)
    if (name.starts_with(now)) out = older + name.substr(now.size());
  return out;
}

}  // namespace detail

// The items of a network, names prefixed by `prefix` (ending in a dot, or empty): the master of a parameter that has one.
template <Module M>
std::vector<StateItem> state_items(M& net, const std::string& prefix = "") {
  std::vector<StateItem> items;
  std::vector<std::pair<std::string, std::string>> renamed;
  walk(net, "", [&]<class X>(const std::string& name, X& item) {
    detail::add_older_names<X>(renamed, prefix + name + (name.empty() ? "" : "."));
    if constexpr (is_parameter<X>)
      items.push_back(item.master.defined() ? state_item(prefix + name, item.master, [&item] { item.refresh(); })
                                            : state_item(prefix + name, item.value));
    else if constexpr (is_buffer<X>) items.push_back(state_item(prefix + name, item.value));
    else if constexpr (std::is_same_v<X, Counter>) items.push_back(state_item(prefix + name, item));
  });
  for (StateItem& item : items) item.older_name = detail::older_name(renamed, item.name);
  return items;
}

// The entries of published files that are no weights of this network, under all of their names.
template <Module M>
std::vector<std::string> not_weights(M& net) {
  std::vector<std::string> names;
  std::vector<std::pair<std::string, std::string>> renamed;
  walk(net, "", [&]<class X>(const std::string& name, X&) {
    const std::string module = name + (name.empty() ? "" : ".");
    detail::add_older_names<X>(renamed, module);
    if constexpr (requires { X::not_weights; })
      for (const char* entry : X::not_weights) names.push_back(module + entry);
  });
  for (size_t i = names.size(); i-- > 0;)
    if (const std::string older = detail::older_name(renamed, names[i]); !older.empty()) names.push_back(older);
  return names;
}

// Writes the items atomically.
void write_state(const std::filesystem::path& path, const std::vector<StateItem>& items, const Metadata& metadata = {});

// Throws where the file has a hash, and it is not that of its contents: tensors and metadata.
void verify_contents(const Safetensors& file);

// What a file, or those of an index, hold. Entries may be renamed or left out before a network reads them.
struct Weights {
  std::filesystem::path path;      // for messages
  std::vector<Safetensors> files;  // of the bytes
  std::vector<SafetensorsEntry> entries;
  Metadata metadata;
};
Weights read_weights(const std::filesystem::path& path);

// Reads the items; strict, see above. Returns the metadata. except: patterns of layers whose items stay as they are; what the
// file has under their names need not fit, nor be there; throws for one that matches neither an item nor an entry. not_weights:
// entries that are not looked at.
Metadata read_state(const Weights& weights, const std::vector<StateItem>& items, const std::vector<std::string>& except = {},
                    const std::vector<std::string>& not_weights = {});
inline Metadata read_state(const std::filesystem::path& path, const std::vector<StateItem>& items,
                           const std::vector<std::string>& except = {}, const std::vector<std::string>& not_weights = {}) {
  return read_state(read_weights(path), items, except, not_weights);
}

template <Module M>
void save(M& net, const std::filesystem::path& path, const Metadata& metadata = {}, Location at = Location::current()) {
  const Caller caller(at);
  write_state(path, state_items(net), metadata);
}
// source: a path, or Weights.
template <Module M, class Source>
Metadata load(M& net, const Source& source, const std::vector<std::string>& except = {}, Location at = Location::current()) {
  const Caller caller(at);
  return read_state(source, state_items(net), except, not_weights(net));
}

// Throws where a parameter or a statistic is NaN or infinite, naming it.
template <Module M>
void check_finite(M& net, const std::string& remedy) {
  for (const StateItem& item : state_items(net)) {
    if (item.counter) continue;
    for (float v : item.get())
      if (!std::isfinite(v)) throw Error(text("training diverged: ", item.name, " is not finite"), {{"remedy", remedy}});
  }
}

// Throws unless a run that goes on from `file` has the settings that the file was written with, one a line, whose first word is
// its key; `otherwise` is what it says, beside those that differ or are only there or only now.
void check_same_settings(const std::string& there, const std::string& now, const std::filesystem::path& file,
                         const std::string& otherwise = "the checkpoint is of a run with other settings");
// The same for the checkpoint of a trainer. One without a hash is of an older version, whose settings had six digits a number,
// the path of a file before its hash, and the names of the data.
void check_same_settings(const Safetensors& checkpoint, const std::string& now);

// Copies parameters, buffers and counters from one network to another of the same shape.
template <Module M>
void copy_state(M& from, M& to) {
  const std::vector<StateItem> source = state_items(from), target = state_items(to);
  if (source.size() != target.size()) throw Error(text("copy_state: ", source.size(), " entries do not fit ", target.size()));
  for (size_t i = 0; i < source.size(); ++i)
    if (source[i].counter) *target[i].counter = *source[i].counter;
    else target[i].set(source[i].get());
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/nn/state_dict.ipp>
#endif
