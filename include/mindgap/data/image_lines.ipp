// Bodies of image_lines.hpp.
#pragma once

#include <mindgap/data/image_lines.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>

#include <charconv>
#include <cstdio>

namespace mindgap::detail {

inline nlohmann::ordered_json json_of(Fields fields) { return JsonWriter::write(fields, {}); }

MINDGAP_INLINE ImageLines::ImageLines(const ImageFolderManifest& m) : m_(m), extension_(image_extension(m)) {
  for (const ImageFolderClass& c : m.classes) {
    const std::string start = json_text({{"class", c.id}, {"name", c.name}, {"index", 0}}, -1),
                      folder = json_text("images/" + c.folder + "/", -1);
    heads_.push_back({start.substr(0, start.size() - 2), ",\"file\":" + folder.substr(0, folder.size() - 1)});
  }
  const std::string settings = json_text(json_of(m.settings), -1);
  if (!m.settings.empty()) settings_ = "," + settings.substr(1, settings.size() - 2);
}

MINDGAP_INLINE ImageLine ImageLines::line(const ImageNumber& number, const Fields& fields, const std::string& hash) const {
  const ImageFolderClass& c = m_.classes[size_t(number.label)];
  ImageLine out{"images/" + c.folder + "/" + numbered(number.index, 6, extension_), {}, {}};
  nlohmann::ordered_json json{{"class", c.id}, {"name", c.name}, {"index", number.index}, {"file", out.file}};
  json.update(json_of(fields));
  json.update(json_of(m_.settings));
  json["sha256"] = hash;
  for (const auto& [key, value] : json.items())
    out.text.emplace_back(key, value.is_string() ? value.get<std::string>() : json_text(value, -1));
  out.line = json_text(json, -1);
  out.line.pop_back();
  out.line += crc_of(out.line);
  return out;
}

MINDGAP_INLINE i64 ImageLines::index(std::string_view line, i64 label,
                                     const std::function<void(const std::string&)>& fail) const {
  const Head& head = heads_[size_t(label)];
  const size_t end = line.size() - std::min(line.size(), crc_bytes);
  if (line.substr(end) != crc_of(line.substr(0, end))) fail("the line is damaged: it does not have its checksum");
  const size_t sha = end - std::min<size_t>(end, 76);
  if (!line.substr(0, sha).ends_with(settings_)) fail("the image was made with other settings than dataset.json says");
  i64 number = -1;
  if (line.starts_with(head.before_index))
    std::from_chars(line.data() + head.before_index.size(), line.data() + line.size(), number);
  if (number < 0 ||
      !line.starts_with(head.before_index + std::to_string(number) + head.before_file + numbered(number, 6, extension_) + "\""))
    fail("the line is not that of an image of class " + shown(m_.classes[size_t(label)].id) + " by dataset.json");
  return number;
}

// ,"crc32":"01234567"}
MINDGAP_INLINE std::string ImageLines::crc_of(std::string_view bytes) {
  char out[crc_bytes + 1];
  std::snprintf(out, sizeof out, ",\"crc32\":\"%08x\"}", crc32(bytes));
  return out;
}

}  // namespace mindgap::detail
