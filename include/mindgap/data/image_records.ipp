// Bodies of image_records.hpp.
#pragma once

#include <mindgap/data/image_file.hpp>
#include <mindgap/data/image_lines.hpp>
#include <mindgap/data/image_records.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>

#include <fstream>

namespace mindgap {

namespace detail {

inline ImageRecord parse_record(std::string_view line, const std::string& where) {
  JsonProblems problems({"the line of an image", where, "delete this file and run the same command again: it makes it again"});
  const nlohmann::json json = parse_json(line, problems);
  if (!json.is_object()) problems.fail("it is no object");
  JsonReader reader(json, "", problems);
  ImageRecord r;
  reader.need("class", r.class_id);
  reader.need("name", r.name);
  reader.need("index", r.index);
  reader.need("file", r.file);
  reader("place", r.place);
  reader.need("sha256", r.sha256);
  for (const auto& [key, value] : json.items())
    if (!is_line_key(key)) JsonReader::read(value, key, r.fields[key], {}, problems);
  problems.throw_any();
  return r;
}

// use(manifest) with that of the set in the folder, of whichever format it is.
template <class Use>
auto with_manifest(const std::filesystem::path& folder, const Use& use) {
  const auto json = nlohmann::json::parse(read_file(folder / "dataset.json", json_bytes), nullptr, false);
  if (!json.is_object() || !json.contains("format") || json["format"] != "mindgap shards 1")
    return use(read_image_folder_manifest(folder));
  const ShardManifest m = read_shard_manifest(folder);
  if (!m.lines)
    throw Error("shard folder: its images have no lines",
                {{"folder", folder.string()},
                 {"remedy", "a set of prompts that is made anew has them; those of class-conditional generators have none"}});
  return use(m);
}

// Where the line of an image lies, and the line; empty where it is not made yet.
inline std::pair<std::filesystem::path, std::string> line_of(const std::filesystem::path& folder, const ImageFolderManifest& m,
                                                             const ImageLines& lines, const ImageNumber& number) {
  const i64 piece = number.index / ImageFolderManifest::piece_images;
  const std::filesystem::path path = piece_path(folder, m.classes[size_t(number.label)], piece);
  std::string found;
  if (std::filesystem::is_regular_file(path))
    for_each_line(path, read_file(path), lines, number.label, piece, [&](i64 i, std::string_view line) {
      if (i == number.index) found = line;
    });
  return {path, found};
}
inline std::pair<std::filesystem::path, std::string> line_of(const std::filesystem::path& folder, const ShardManifest& m,
                                                             const ImageLines& lines, const ImageNumber& number) {
  const i64 position = number.index * m.classes() + number.label;
  return {chunk_path(folder, position / m.chunk_size), shard_line(folder, m, lines, number)};
}

}  // namespace detail

MINDGAP_INLINE std::string pixels_sha256(const Tensor<u8, 3, Cpu>& pixels) {
  return sha256({reinterpret_cast<const char*>(pixels.data()), size_t(pixels.bytes())});
}

MINDGAP_INLINE void read_image_records(const std::filesystem::path& folder, const std::function<void(const ImageRecord&)>& take) {
  const auto lines = detail::with_manifest(folder, [](const auto& m) { return detail::ImageLines(m); });
  const std::filesystem::path path = folder / "manifest.jsonl";
  if (!std::filesystem::is_regular_file(path))
    throw Error(lines.what() + ": the set is not complete: it has no manifest.jsonl",
                {{"folder", folder.string()}, {"remedy", "run the same command again: it makes what is missing"}});
  i64 number = 0;
  const auto where = [&] { return text(path.string(), ":", number); };
  const auto fail = [&](const std::string& what) {
    throw Error(lines.what() + ": " + what,
                {{"file", where()}, {"remedy", "delete this file and run the same command again: it makes it from the pieces"}});
  };
  std::ifstream file(path, std::ios::binary);
  for (std::string line; std::getline(file, line);) {
    if (number++ == lines.images()) fail(text("there are more lines than images, which are ", lines.images()));
    if (file.eof()) fail("the file is truncated");
    lines.check(line, number - 1, fail);
    take(detail::parse_record(line, where()));
  }
  if (file.bad() || !file.eof()) detail::file_error("cannot read the file", path, errno);
  if (number != lines.images()) fail(text("the file ends after ", number, " of ", lines.images(), " images"));
}

MINDGAP_INLINE ImageRecord read_image_record(const std::filesystem::path& folder, const std::string& class_id, i64 index) {
  return detail::with_manifest(folder, [&](const auto& m) {
    const detail::ImageLines lines(m);
    const auto at = std::ranges::find(lines.ids(), class_id);
    if (at == lines.ids().end())
      throw Error(lines.what() + ": there is no class " + detail::shown(class_id),
                  {{"folder", folder.string()}, {"remedy", "give the id of one of the classes that dataset.json lists"}});
    if (index < 0 || index >= lines.images_per_class())
      throw Error(text(lines.what(), ": there is no image ", index, ": a class has images 0 to ", lines.images_per_class() - 1),
                  {{"folder", folder.string()}, {"remedy", "give a smaller number, or let the set grow"}});
    const auto [path, line] = detail::line_of(folder, m, lines, {i32(at - lines.ids().begin()), i32(index)});
    if (line.empty())
      throw Error(text(lines.what(), ": image ", index, " of class ", detail::shown(class_id), " is not made yet"),
                  {{"file", path.string()}, {"remedy", "run the same command again: it makes what is missing"}});
    const ImageRecord record = detail::parse_record(line, path.string());
    // What JPEG files hold is not what was made.
    if (const std::filesystem::path file = folder / record.file;
        !record.place && file.extension() == ".png" && pixels_sha256(read_image(file)) != record.sha256)
      throw Error(lines.what() + ": the file has other pixels than its line says",
                  {{"file", file.string()}, {"remedy", "delete it and run the same command again: it makes it again"}});
    return record;
  });
}

}  // namespace mindgap
