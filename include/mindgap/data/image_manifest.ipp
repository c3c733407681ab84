// Bodies of image_manifest.hpp.
#pragma once

#include <mindgap/data/image_manifest.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/utf8.hpp>

#include <cmath>
#include <set>

namespace mindgap {

template <class V>
void visit_fields(V& visit, ImageFolderClass& c) {
  visit.need("id", c.id);
  visit.need("name", c.name);
  visit.need("folder", c.folder);
  visit("shows", c.shows);
}

template <class V>
void visit_fields(V& visit, ImageFolderManifest& m) {
  std::string format = "mindgap image folder 1";
  visit.need("format", format, {.one_of = {"mindgap image folder 1"}});
  visit.constant("layout",
                 "image i of a class is images/<folder>/<i, six digits>.<png or jpg>; its line is in manifest/<folder>/<i / 20, "
                 "five digits>.jsonl");
  visit.need("images_per_class", m.images_per_class);
  visit("jpeg_quality", m.jpeg_quality);
  visit.need("settings", m.settings);
  visit.need("classes", m.classes);
}

namespace detail {

inline std::string value_text(Fields::mapped_type value) { return json_text(JsonWriter::write(value, {}), -1); }

MINDGAP_INLINE std::string image_manifest_json(const ImageFolderManifest& m) { return to_json(m); }

MINDGAP_INLINE void check_fields(const Fields& fields) {
  for (const auto& [key, value] : fields) {
    const auto fail = [&, &key = key](const std::string& what) {
      throw Error("set of images: the field " + shown(key) + " " + what, {{"remedy", "correct the settings or the file"}});
    };
    const auto good = [](unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
    if (key.empty() || key.size() > 79 || !std::ranges::all_of(key, good))
      fail("is not named by a to z, 0 to 9 and _, 79 at most");
    if (is_line_key(key)) fail("is the line's own");
    if (const double* number = std::get_if<double>(&value); number && !std::isfinite(*number)) fail("is not a finite number");
    if (const std::string* said = std::get_if<std::string>(&value))  // PNG files hold it
      if (const std::string wrong = wrong_png_text(*said); !wrong.empty()) fail(wrong);
  }
}

// A manifest of the program or of a file; the same rules for both.
MINDGAP_INLINE void check_image_folder_manifest(const ImageFolderManifest& m, const std::filesystem::path& source) {
  const auto fail = [&](const std::string& what) {
    throw Error("image folder: " + what, {{"file", source.string()}, {"remedy", "correct the settings or the file"}});
  };
  if (m.classes.empty()) fail("the class list is empty");
  std::set<std::string> ids, folders;
  for (const ImageFolderClass& c : m.classes) {
    for (const std::string* said : {&c.id, &c.name, &c.folder})
      if (invalid_utf8(*said) != std::string_view::npos) fail("class " + shown(c.id) + " is not valid UTF-8");
    if (c.id.empty() || !ids.insert(c.id).second)
      fail("the class id " + shown(c.id) + (c.id.empty() ? " is empty" : " is there twice"));
    if (c.folder.empty() || c.folder.front() == '.' || c.folder.size() > 255 ||
        c.folder.find_first_of(std::string_view("/\0", 2)) != c.folder.npos)
      fail("class " + shown(c.id) + " has " + shown(c.folder) + " as its folder, which is no file name, or a hidden one");
    if (!folders.insert(c.folder).second) fail("two classes have the folder " + shown(c.folder));
  }
  if (m.images_per_class < 1 || m.images_per_class > 1'000'000)
    fail(text("images_per_class is ", m.images_per_class, ", wanted 1 to 1000000"));
  if (m.images() > i64(1) << 28) fail(text("the number of images is ", m.images(), ", wanted at most ", i64(1) << 28));
  if (m.jpeg_quality && (*m.jpeg_quality < 1 || *m.jpeg_quality > 100))
    fail(text("jpeg_quality is ", *m.jpeg_quality, ", wanted 1 to 100"));
  naming_file(source.string(), [&] { check_fields(m.settings); });
  if (i64(image_manifest_json(m).size()) > json_bytes) fail(text("classes and settings fill more than ", json_bytes, " bytes"));
}

inline std::string there_and_now(const std::string& there, const std::string& now) {
  return "there " + escaped(there, 200) + ", now " + escaped(now, 200);
}

MINDGAP_INLINE std::vector<ErrorLine> different_settings(const Fields& there, const Fields& wanted) {
  const auto said = [](const Fields& fields, const std::string& key) {
    const auto at = fields.find(key);
    return at == fields.end() ? "absent" : value_text(at->second);
  };
  Fields keys = there;
  keys.insert(wanted.begin(), wanted.end());
  std::vector<ErrorLine> out;
  for (const auto& [key, value] : keys)
    if (said(there, key) != said(wanted, key)) out.push_back({key, there_and_now(said(there, key), said(wanted, key))});
  return out;
}

// Throws where the folder was begun otherwise; the list of classes and the number of images may only grow.
inline void check_same_image_folder(const ImageFolderManifest& there, const ImageFolderManifest& wanted,
                                    const std::filesystem::path& folder) {
  std::vector<ErrorLine> lines{{"folder", folder.string()}};
  const auto differ = [&](const std::string& what, const std::string& old, const std::string& now) {
    if (old != now && lines.size() < 12) lines.push_back({what, there_and_now(old, now)});
  };
  const auto quality = [](const ImageFolderManifest& m) { return m.jpeg_quality ? text(*m.jpeg_quality) : "none (PNG files)"; };
  differ("jpeg_quality", quality(there), quality(wanted));
  for (const ErrorLine& line : different_settings(there.settings, wanted.settings))
    if (lines.size() < 12) lines.push_back(line);
  std::map<std::string, const ImageFolderClass*> by_id;
  for (const ImageFolderClass& c : wanted.classes) by_id[c.id] = &c;
  std::string missing;
  i64 count = 0;
  for (const ImageFolderClass& c : there.classes) {
    const auto at = by_id.find(c.id);
    if (at == by_id.end()) {
      if (++count <= 8) missing += (count > 1 ? ", " : "") + shown(c.id);
    } else {
      differ("class " + shown(c.id), shown(c.name), shown(at->second->name));
      differ("class " + shown(c.id), "in the folder " + shown(c.folder), "in the folder " + shown(at->second->folder));
      differ("class " + shown(c.id), "with the prompts " + c.shows.value_or(""),
             "with the prompts " + at->second->shows.value_or(""));
    }
  }
  if (lines.size() > 1) {
    lines.push_back({"remedy", "use the old settings and names to continue this set, or another folder for a new one"});
    throw Error("image folder: it was begun with other settings", lines);
  }
  const char* remedy = "ask for as many or more, use another folder, or take a subset when training";
  if (count)
    throw Error(
        text("image folder: ", count, " of its ", there.classes.size(), " classes are not asked for; a set does not shrink"),
        {{"folder", folder.string()},
         {"classes", missing + (count > 8 ? text(" and ", count - 8, " more") : "")},
         {"remedy", remedy}});
  if (there.images_per_class > wanted.images_per_class)
    throw Error(text("image folder: it is a set of ", there.images_per_class, " images a class, ", wanted.images_per_class,
                     " were asked for; a set does not shrink"),
                {{"folder", folder.string()}, {"remedy", remedy}});
}

// What dataset.json says, for a set that goes on as `wanted`; nothing where it is not there. Another process may have let the set
// grow further.
MINDGAP_INLINE std::optional<ImageFolderManifest> begun_image_folder(const std::filesystem::path& folder,
                                                                     const ImageFolderManifest& wanted, bool may_be_larger) {
  if (!std::filesystem::exists(folder / "dataset.json")) return {};
  ImageFolderManifest there = read_image_folder_manifest(folder), same = there;
  if (may_be_larger) same.images_per_class = std::min(same.images_per_class, wanted.images_per_class);
  check_same_image_folder(same, wanted, folder);
  return there;
}

}  // namespace detail

MINDGAP_INLINE std::string field_text(const Fields::mapped_type& value) {
  const auto* said = std::get_if<std::string>(&value);
  return said ? *said : detail::value_text(value);
}

MINDGAP_INLINE ImageFolderManifest read_image_folder_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "dataset.json";
  const auto m =
      read_json<ImageFolderManifest>(path, "dataset.json", "restore it as the sample command wrote it, or use another folder");
  detail::check_image_folder_manifest(m, path);
  return m;
}

}  // namespace mindgap
