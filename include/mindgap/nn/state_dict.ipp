// Bodies of nn/state_dict.hpp.
#pragma once

#include <mindgap/nn/state_dict.hpp>

#include <set>
#include <sstream>

namespace mindgap {
namespace detail {

// Extents of one carry no information: a 1x1 convolution and a linear layer hold the same matrix.
inline std::vector<i64> without_ones(const std::vector<i64>& shape) {
  std::vector<i64> out;
  for (i64 extent : shape)
    if (extent != 1) out.push_back(extent);
  return out;
}

// At most a dozen names, and how many more.
inline std::string some_of(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < 12; ++i) (out += i ? ", " : "") += names[i];
  if (names.size() > 12) out += text(" and ", names.size() - 12, " more");
  return out;
}

}  // namespace detail

MINDGAP_INLINE void write_state(const std::filesystem::path& path, const std::vector<StateItem>& items,
                                const Metadata& metadata) {
  std::vector<std::vector<float>> values;
  std::vector<SafetensorsSource> sources;
  for (const StateItem& item : items) {
    if (item.counter) {
      sources.push_back({item.name, DType::i64, {}, std::as_bytes(std::span(item.counter, 1))});
    } else {
      values.push_back(item.get());
      sources.push_back({item.name, DType::f32, item.shape, std::as_bytes(std::span(values.back()))});
    }
  }
  write_safetensors(path, std::move(sources), metadata);
}

MINDGAP_INLINE void check_same_settings(const std::string& there, const std::string& now, const std::filesystem::path& file,
                                        const std::string& otherwise) {
  if (there == now) return;
  std::vector<ErrorLine> lines{{"file", file.string()}};
  std::istringstream a(there), b(now);
  for (std::string x, y; std::getline(a, x) && std::getline(b, y);)
    if (x != y) lines.push_back({"there", x}), lines.push_back({"now", y});
  lines.push_back({"remedy", "use the old settings to go on, or another --out for a new run"});
  throw Error(otherwise, lines);
}

MINDGAP_INLINE Metadata read_state(const std::filesystem::path& path, const std::vector<StateItem>& items) {
  const Safetensors file(path);
  const auto readable = [](const StateItem& item, const std::string& type) {
    return type == "F32" || type == "BF16" || type == "F16" || (item.counter && type == "I64");
  };
  std::vector<std::string> missing, unexpected, misshaped, mistyped;
  std::set<std::string> known;
  for (const StateItem& item : items) {
    known.insert(item.name);
    const SafetensorsEntry* entry = file.find(item.name);
    if (!entry) {
      if (!item.counter) missing.push_back(item.name);
    } else if (detail::without_ones(entry->shape) != detail::without_ones(item.shape)) {
      misshaped.push_back(item.name + " is " + entry->shape_str() + ", wanted " +
                          extents_text(item.shape.data(), item.shape.size()));
    } else if (!readable(item, entry->type)) {
      mistyped.push_back(item.name + " is " + entry->type + ", wanted " + (item.counter ? "I64" : "F32, BF16 or F16"));
    }
  }
  for (const SafetensorsEntry& entry : file.entries())
    if (!known.contains(entry.name)) unexpected.push_back(entry.name);
  if (!missing.empty() || !unexpected.empty() || !misshaped.empty() || !mistyped.empty()) {
    std::vector<ErrorLine> lines{{"file", path.string()}};
    if (!missing.empty()) lines.push_back({"missing", text(missing.size(), ": ", detail::some_of(missing))});
    if (!unexpected.empty()) lines.push_back({"unexpected", text(unexpected.size(), ": ", detail::some_of(unexpected))});
    if (!misshaped.empty()) lines.push_back({"shapes", text(misshaped.size(), ": ", detail::some_of(misshaped))});
    if (!mistyped.empty()) lines.push_back({"types", text(mistyped.size(), ": ", detail::some_of(mistyped))});
    lines.push_back({"remedy", "is this the file of another model, or of another width or number of classes?"});
    throw Error("the weights do not fit the model", lines);
  }
  check_finite(file);
  for (const StateItem& item : items) {
    const SafetensorsEntry* entry = file.find(item.name);
    if (!entry) continue;
    if (!item.counter) {
      item.read(entry->bytes.data(), entry->dtype());
    } else if (entry->type == "I64") {
      std::memcpy(item.counter, entry->bytes.data(), sizeof *item.counter);
    } else {
      float value = 0;
      read_f32(*entry, &value);
      *item.counter = i64(value);
    }
  }
  return file.metadata();
}

}  // namespace mindgap
