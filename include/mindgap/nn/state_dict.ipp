// Bodies of nn/state_dict.hpp.
#pragma once

#include <mindgap/io/hash.hpp>
#include <mindgap/io/numbers.hpp>
#include <mindgap/nn/state_dict.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
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

inline constexpr const char* contents_hash_key = "mindgap_sha256";

// One tensor of a file, or one that will be.
struct HashedTensor {
  std::string name, type;
  std::vector<i64> shape;
  std::span<const std::byte> bytes;
};
// Of the names, types, shapes and elements of the tensors, and of the metadata but for the hash itself.
inline std::string contents_hash(std::vector<HashedTensor> tensors, const Metadata& metadata) {
  std::ranges::sort(tensors, {}, &HashedTensor::name);
  Sha256 hash;
  for (const HashedTensor& tensor : tensors) {
    hash.update(text(tensor.name, '\0', tensor.type, extents_text(tensor.shape.data(), tensor.shape.size()), '\0'));
    hash.update({reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
  }
  for (const auto& [key, value] : metadata)
    if (key != contents_hash_key) hash.update(text(key, '\0', value, '\0'));
  return hash.hex();
}

inline std::vector<std::string> split(const std::string& whole, char separator) {
  std::vector<std::string> out;
  std::istringstream parts(whole);
  for (std::string part; std::getline(parts, part, separator);) out.push_back(part);
  return out;
}

// What a line of settings is of: its first word.
inline std::string_view setting_key(const std::string& line) { return std::string_view(line).substr(0, line.find(' ')); }

// The line of settings of an older version that says what the line `now` says.
inline bool same_older_line(const std::string& there, const std::string& now) {
  const auto old_words = split(there, ' '), words = split(now, ' ');
  if (words.size() == 2 && words[1].size() == 64 && old_words.size() > 2)  // a hash, once with a path before it
    return old_words[0] == words[0] && old_words.back() == words[1];
  const auto same = [](const std::string& old_word, const std::string& word) {
    const auto number = number_in<double>(word);
    return old_word == word || (number && old_word == text(*number));
  };
  return std::ranges::equal(old_words, words, same);
}

}  // namespace detail

MINDGAP_INLINE void write_state(const std::filesystem::path& path, const std::vector<StateItem>& items,
                                const Metadata& metadata) {
  std::vector<std::vector<float>> values;
  std::vector<SafetensorsSource> sources;
  std::vector<detail::HashedTensor> hashed;
  for (const StateItem& item : items) {
    if (item.counter) {
      sources.push_back({item.name, DType::i64, {}, std::as_bytes(std::span(item.counter, 1))});
    } else {
      values.push_back(item.get());
      sources.push_back({item.name, DType::f32, item.shape, std::as_bytes(std::span(values.back()))});
    }
    hashed.push_back({item.name, item.counter ? "I64" : "F32", sources.back().shape, sources.back().bytes});
  }
  Metadata with_hash = metadata;
  with_hash[detail::contents_hash_key] = detail::contents_hash(std::move(hashed), metadata);
  write_safetensors(path, std::move(sources), with_hash);
}

MINDGAP_INLINE void verify_contents(const Safetensors& file) {
  const auto hash = file.metadata().find(detail::contents_hash_key);
  if (hash == file.metadata().end()) return;
  std::vector<detail::HashedTensor> tensors;
  for (const SafetensorsEntry& entry : file.entries()) tensors.push_back({entry.name, entry.type, entry.shape, entry.bytes});
  if (const std::string now = detail::contents_hash(std::move(tensors), file.metadata()); now != hash->second)
    throw Error("the file is damaged: its contents do not have its hash",
                {{"file", file.path().string()},
                 {"hash", hash->second.substr(0, 16) + "... in its metadata, its contents have " + now.substr(0, 16) + "..."},
                 {"remedy", "copy it again from where it was made, or remove it and make it again"}});
}

MINDGAP_INLINE void check_same_settings(const std::string& there, const std::string& now, const std::filesystem::path& file,
                                        const std::string& otherwise) {
  std::vector<ErrorLine> lines{{"file", file.string()}};
  std::vector<std::string> fresh = detail::split(now, '\n');  // those that no line of the file has met
  const auto list = [&](const char* label, const std::string& line) { lines.push_back({label, detail::escaped(line, 300)}); };
  for (const std::string& line : detail::split(there, '\n')) {
    const auto today = std::ranges::find(fresh, detail::setting_key(line), detail::setting_key);
    if (today == fresh.end()) {
      list("only there", line);
      continue;
    }
    if (*today != line) list("there", line), list("now", *today);
    fresh.erase(today);
  }
  for (const std::string& line : fresh) list("only now", line);
  if (lines.size() == 1) return;
  lines.push_back({"remedy", "use the old settings to go on, or another --out for a new run"});
  throw Error(otherwise, lines);
}

MINDGAP_INLINE void check_same_settings(const Safetensors& checkpoint, const std::string& now) {
  const std::string& there = checkpoint.metadata_at("settings");
  if (checkpoint.metadata().contains(detail::contents_hash_key)) return check_same_settings(there, now, checkpoint.path());
  const std::vector<std::string> lines = detail::split(now, '\n');
  std::string older;  // its lines, each in today's words where it says the same
  for (const std::string& line : detail::split(there, '\n')) {
    const auto today = std::ranges::find(lines, detail::setting_key(line), detail::setting_key);
    if (detail::setting_key(line) == "data" && today == lines.end()) continue;
    const bool same = today != lines.end() && detail::same_older_line(line, *today);
    older += (older.empty() ? "" : "\n") + (same ? *today : line);
  }
  check_same_settings(older, now, checkpoint.path());
}

MINDGAP_INLINE Weights read_weights(const std::filesystem::path& path) {
  Weights out{path, {}, {}, {}};
  for (const auto& file : safetensors_files(path)) {
    verify_contents(out.files.emplace_back(file));
    out.entries.insert(out.entries.end(), out.files.back().entries().begin(), out.files.back().entries().end());
    out.metadata.insert(out.files.back().metadata().begin(), out.files.back().metadata().end());
  }
  return out;
}

MINDGAP_INLINE Metadata read_state(const Weights& weights, const std::vector<StateItem>& items,
                                   const std::vector<std::string>& except, const std::vector<std::string>& not_weights) {
  const std::filesystem::path& path = weights.path;
  const auto is_read = [&](std::string_view name) {
    return !matches_any(except, name) && std::ranges::find(not_weights, name) == not_weights.end();
  };
  for (const std::string& pattern : except) {
    const auto is_of = [&](const auto& one) { return matches(pattern, one.name); };
    if (std::ranges::any_of(items, is_of) || std::ranges::any_of(weights.entries, is_of)) continue;
    std::vector<std::string> names;
    for (const StateItem& item : items) names.push_back(item.name);
    throw Error("what is not to be read is neither in the network nor in the file: " + detail::shown(pattern),
                {{"file", path.string()},
                 {"names", detail::some_of(names)},
                 {"remedy", "* stands for any characters; a module's name stands for all it contains"}});
  }
  std::map<std::string_view, const SafetensorsEntry*> entries;
  for (const SafetensorsEntry& entry : weights.entries)
    if (const auto [at, first] = entries.emplace(entry.name, &entry); !first)
      throw Error(text("safetensors: tensor ", detail::shown(entry.name),
                       at->second->file == entry.file ? " is there under two names" : " is in two files of the index"),
                  {{"file", at->second->file}, {"file", entry.file}, {"remedy", "download or copy all of them again"}});
  const auto find = [&](const std::string& name) {
    const auto at = entries.find(name);
    return at == entries.end() ? nullptr : at->second;
  };
  const auto readable = [](const StateItem& item, const std::string& type) {
    return type == "F32" || type == "BF16" || type == "F16" || (item.counter && type == "I64");
  };
  // Nothing where the entry has no count: less than 0, or what is no whole number in an f32.
  const auto count_in = [](const SafetensorsEntry& entry) -> std::optional<i64> {
    i64 count = 0;
    if (entry.type == "I64") {
      std::memcpy(&count, entry.bytes.data(), sizeof count);
    } else {
      float value = 0;
      read_f32(entry, &value);
      if (!(std::abs(value) < 0x1p63f)) return {};
      count = i64(value);
      if (float(count) != value) return {};
    }
    return count < 0 ? std::nullopt : std::optional(count);
  };
  std::vector<std::string> missing, unexpected, misshaped, mistyped, miscounted;
  std::set<std::string_view> known;
  std::vector<std::pair<const StateItem*, const SafetensorsEntry*>> found;
  for (const StateItem& item : items) {
    if (matches_any(except, item.name)) continue;
    const SafetensorsEntry* entry = find(item.name);
    if (!entry && !item.older_name.empty()) entry = find(item.older_name);
    if (!entry) {
      if (!item.counter) missing.push_back(item.name);
      continue;
    }
    known.insert(entry->name);
    found.emplace_back(&item, entry);
    if (detail::without_ones(entry->shape) != detail::without_ones(item.shape)) {
      misshaped.push_back(item.name + " is " + entry->shape_str() + ", wanted " +
                          extents_text(item.shape.data(), item.shape.size()));
    } else if (!readable(item, entry->type)) {
      mistyped.push_back(item.name + " is " + entry->type + ", wanted " + (item.counter ? "I64" : "F32, BF16 or F16"));
    } else if (item.counter && !count_in(*entry)) {
      miscounted.push_back(item.name);
    }
  }
  for (const auto& [name, entry] : entries)
    if (!known.contains(name) && is_read(name)) unexpected.emplace_back(name);
  if (!missing.empty() || !unexpected.empty() || !misshaped.empty() || !mistyped.empty()) {
    std::vector<ErrorLine> lines{{"file", path.string()}};
    if (!missing.empty()) lines.push_back({"missing", text(missing.size(), ": ", detail::some_of(missing))});
    if (!unexpected.empty()) lines.push_back({"unexpected", text(unexpected.size(), ": ", detail::some_of(unexpected))});
    if (!misshaped.empty()) lines.push_back({"shapes", text(misshaped.size(), ": ", detail::some_of(misshaped))});
    if (!mistyped.empty()) lines.push_back({"types", text(mistyped.size(), ": ", detail::some_of(mistyped))});
    lines.push_back({"remedy", "is this the file of another model, or of another width or number of classes?"});
    throw Error("the weights do not fit the model", lines);
  }
  check_finite(weights.entries, path, is_read);
  std::vector<std::string> negative;
  for (const auto& [item, entry] : found) {
    if (!item->name.ends_with("running_var")) continue;
    std::vector<float> values(size_t(entry->size()));
    read_f32(*entry, values.data());
    if (std::ranges::any_of(values, [](float v) { return v < 0; })) negative.push_back(item->name);
  }
  if (!negative.empty())
    throw Error("variances are below 0: " + detail::some_of(negative),
                {{"file", path.string()}, {"remedy", "copy it again from where it was made, or use another file"}});
  if (!miscounted.empty())
    throw Error(text(miscounted.size() == 1 ? "a counter is" : "counters are",
                     " no whole number from 0 up: ", detail::some_of(miscounted)),
                {{"file", path.string()}, {"remedy", "copy it again from where it was made, or use another file"}});
  for (const auto& [item, entry] : found) {
    if (item->counter) *item->counter = *count_in(*entry);
    else item->read(entry->bytes.data(), entry->dtype()), release_pages(*entry);
  }
  return weights.metadata;
}

}  // namespace mindgap
