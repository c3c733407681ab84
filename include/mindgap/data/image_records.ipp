// Bodies of image_records.hpp.
#pragma once

#include <mindgap/data/image_lines.hpp>
#include <mindgap/data/image_records.hpp>
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
  reader.need("sha256", r.sha256);
  for (const auto& [key, value] : json.items())
    if (!is_line_key(key)) JsonReader::read(value, key, r.fields[key], {}, problems);
  problems.throw_any();
  return r;
}

}  // namespace detail

MINDGAP_INLINE std::string pixels_sha256(const Tensor<u8, 3, Cpu>& pixels) {
  return sha256({reinterpret_cast<const char*>(pixels.data()), size_t(pixels.bytes())});
}

MINDGAP_INLINE void read_image_records(const std::filesystem::path& folder, const std::function<void(const ImageRecord&)>& take) {
  const detail::ImageLines lines(read_image_folder_manifest(folder));
  const ImageFolderManifest& m = lines.manifest();
  const std::filesystem::path path = folder / "manifest.jsonl";
  if (!std::filesystem::exists(path))
    throw Error("image folder: the set is not complete: it has no manifest.jsonl",
                {{"folder", folder.string()}, {"remedy", "run the same command again: it makes what is missing"}});
  i64 number = 0;
  const auto where = [&] { return text(path.string(), ":", number); };
  const auto fail = [&](const std::string& what) {
    throw Error("image folder: " + what,
                {{"file", where()}, {"remedy", "delete this file and run the same command again: it makes it from the pieces"}});
  };
  std::ifstream file(path, std::ios::binary);
  for (std::string line; std::getline(file, line);) {
    if (number++ == m.images()) fail(text("there are more lines than images, which are ", m.images()));
    if (file.eof()) fail("the file is truncated");
    const i64 label = (number - 1) / m.images_per_class, wanted = (number - 1) % m.images_per_class;
    if (const i64 index = lines.index(line, label, fail); index != wanted)
      fail(text("the line is that of image ", index, ", wanted image ", wanted));
    take(detail::parse_record(line, where()));
  }
  if (file.bad() || !file.eof()) detail::file_error("cannot read the file", path, errno);
  if (number != m.images()) fail(text("the file ends after ", number, " of ", m.images(), " images"));
}

MINDGAP_INLINE ImageRecord read_image_record(const std::filesystem::path& folder, const std::string& class_id, i64 index) {
  const detail::ImageLines lines(read_image_folder_manifest(folder));
  const ImageFolderManifest& m = lines.manifest();
  const auto at = std::ranges::find(m.classes, class_id, &ImageFolderClass::id);
  if (at == m.classes.end())
    throw Error("image folder: there is no class " + detail::shown(class_id),
                {{"folder", folder.string()}, {"remedy", "give the id of one of the classes that dataset.json lists"}});
  if (index < 0 || index >= m.images_per_class)
    throw Error(text("image folder: there is no image ", index, ": a class has images 0 to ", m.images_per_class - 1),
                {{"folder", folder.string()}, {"remedy", "give a smaller number, or let the set grow"}});
  const i64 piece = index / ImageFolderManifest::piece_images;
  const std::filesystem::path path = detail::piece_path(folder, *at, piece);
  std::optional<ImageRecord> found;
  if (std::filesystem::exists(path))
    detail::for_each_line(path, read_file(path), lines, at - m.classes.begin(), piece, [&](i64 i, std::string_view line) {
      if (i == index) found = detail::parse_record(line, path.string());
    });
  if (!found)
    throw Error(text("image folder: image ", index, " of class ", detail::shown(class_id), " is not made yet"),
                {{"file", path.string()}, {"remedy", "run the same command again: it makes what is missing"}});
  return *found;
}

}  // namespace mindgap
