// Bodies of image_lines.hpp.
#pragma once

#include <mindgap/data/image_lines.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>

#include <charconv>
#include <cstdio>

namespace mindgap::detail {

inline nlohmann::ordered_json json_of(Fields fields) { return JsonWriter::write(fields, {}); }

inline Fields line_settings(const ShardManifest& m) {
  Fields out = settings_of_manifest(m);
  out.insert(m.lines->settings.begin(), m.lines->settings.end());
  return out;
}

MINDGAP_INLINE ImageLines::ImageLines(std::string what, i64 images_per_class, Fields settings)
    : what_(std::move(what)), images_per_class_(images_per_class), settings_(std::move(settings)) {
  const std::string json = json_text(json_of(settings_), -1);
  if (!settings_.empty()) settings_text_ = "," + json.substr(1, json.size() - 2);
}

MINDGAP_INLINE ImageLines::ImageLines(const ImageFolderManifest& m) : ImageLines("image folder", m.images_per_class, m.settings) {
  std::vector<std::string> folders;
  for (const ImageFolderClass& c : m.classes) {
    add_class(c.id, c.name);
    const std::string folder = json_text("images/" + c.folder + "/", -1);
    folders.push_back("\"file\":" + folder.substr(0, folder.size() - 1));
  }
  number_ = [per_class = m.images_per_class](i64 n) { return ImageNumber{i32(n / per_class), i32(n % per_class)}; };
  place_ = [folders, extension = image_extension(m)](const ImageNumber& number) {
    return folders[size_t(number.label)] + numbered(number.index, 6, extension) + "\"";
  };
}

MINDGAP_INLINE ImageLines::ImageLines(const ShardManifest& m) : ImageLines("shard folder", m.images_per_class, line_settings(m)) {
  for (size_t c = 0; c < m.class_names.size(); ++c) add_class(m.class_names[c], m.lines->names[c]);
  const i64 classes = m.classes(), chunk_size = m.chunk_size;
  number_ = [=](i64 n) { return ImageNumber{i32(n % classes), i32(n / classes)}; };
  place_ = [=](const ImageNumber& number) {
    const i64 position = number.index * classes + number.label;
    return "\"file\":\"" + chunk_path("", position / chunk_size).string() +
           "\",\"place\":" + std::to_string(position % chunk_size);
  };
}

MINDGAP_INLINE void ImageLines::add_class(const std::string& id, const std::string& name) {
  ids_.push_back(id);
  const std::string json = json_text({{"class", id}, {"name", name}, {"index", 0}}, -1);
  starts_.push_back(json.substr(0, json.size() - 2));
}

MINDGAP_INLINE std::string ImageLines::start(const ImageNumber& number) const {
  return starts_[size_t(number.label)] + std::to_string(number.index) + "," + place_(number);
}

MINDGAP_INLINE void ImageLines::check_own(const Fields& fields) const {
  check_fields(fields);
  for (const auto& [key, value] : fields)
    if (settings_.contains(key)) throw Error(what_ + ": the field " + shown(key) + " is one of the set's settings");
}

MINDGAP_INLINE ImageLine ImageLines::line(const ImageNumber& number, const Fields& fields, const std::string& hash) const {
  auto json = nlohmann::ordered_json::parse(start(number) + "}");
  json.update(json_of(fields));
  json.update(json_of(settings_));
  json["sha256"] = hash;
  ImageLine out{json["file"].get<std::string>(), {}, {}};
  for (const auto& [key, value] : json.items())
    out.text.emplace_back(key, value.is_string() ? value.get<std::string>() : json_text(value, -1));
  out.line = json_text(json, -1);
  out.line.pop_back();
  out.line += crc_of(out.line);
  return out;
}

MINDGAP_INLINE i64 ImageLines::index(std::string_view line, i64 label, const Fail& fail) const {
  const size_t end = line.size() - std::min(line.size(), crc_bytes);
  if (line.substr(end) != crc_of(line.substr(0, end))) fail("the line is damaged: it does not have its checksum");
  const size_t sha = end - std::min<size_t>(end, 76);
  if (!line.substr(0, sha).ends_with(settings_text_)) fail("the image was made with other settings than dataset.json says");
  i32 number = -1;
  if (const std::string& of_class = starts_[size_t(label)]; line.starts_with(of_class))
    std::from_chars(line.data() + of_class.size(), line.data() + line.size(), number);
  if (number < 0 || !line.starts_with(start({i32(label), number}) + ","))
    fail("the line is not that of an image of class " + shown(ids_[size_t(label)]) + " by dataset.json");
  return number;
}

MINDGAP_INLINE void ImageLines::check(std::string_view line, i64 n, const Fail& fail) const {
  const ImageNumber wanted = number_(n);
  if (const i64 there = index(line, wanted.label, fail); there != wanted.index)
    fail(text("the line is that of image ", there, ", wanted image ", wanted.index));
}

// ,"crc32":"01234567"}
MINDGAP_INLINE std::string ImageLines::crc_of(std::string_view bytes) {
  char out[crc_bytes + 1];
  std::snprintf(out, sizeof out, ",\"crc32\":\"%08x\"}", crc32(bytes));
  return out;
}

}  // namespace mindgap::detail
