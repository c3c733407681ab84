// Bodies of image_folder.hpp.
#pragma once

#include <mindgap/data/image_folder.hpp>
#include <mindgap/data/jpeg.hpp>
#include <mindgap/data/parts.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/utf8.hpp>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <set>
#include <zlib.h>

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

inline std::string image_extension(const ImageFolderManifest& m) { return m.jpeg_quality ? ".jpg" : ".png"; }

// "000017.png"
inline std::string numbered(i64 number, int digits, const std::string& extension) {
  std::string name = std::to_string(number);
  if (name.size() < size_t(digits)) name.insert(0, size_t(digits) - name.size(), '0');
  return name + extension;
}
inline std::filesystem::path piece_path(const std::filesystem::path& folder, const ImageFolderClass& c, i64 piece) {
  return folder / "manifest" / c.folder / numbered(piece, 5, ".jsonl");
}

inline nlohmann::ordered_json json_of(Fields fields) { return JsonWriter::write(fields, {}); }
inline std::string value_text(const Fields::mapped_type& value) { return json_text(json_of({{"", value}}).at(""), -1); }

inline void check_fields(const Fields& fields) {
  constexpr std::string_view own[] = {"class", "name", "index", "file", "sha256", "crc32"};
  for (const auto& [key, value] : fields) {
    const auto fail = [&, &key = key](const std::string& what) {
      throw Error("image folder: the field " + shown(key) + " " + what, {{"remedy", "correct the settings or the file"}});
    };
    const auto good = [](unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
    if (key.empty() || key.size() > 79 || !std::ranges::all_of(key, good))
      fail("is not named by a to z, 0 to 9 and _, 79 at most");
    if (std::ranges::find(own, key) != std::end(own)) fail("is the line's own");
    if (const double* number = std::get_if<double>(&value); number && !std::isfinite(*number)) fail("is not a finite number");
    if (const std::string* said = std::get_if<std::string>(&value);
        said && (invalid_utf8(*said) != std::string_view::npos || said->find('\0') != said->npos))
      fail("is not UTF-8 without zero bytes");
  }
}

// A manifest of the program or of a file; the same rules for both.
inline void check_image_folder_manifest(const ImageFolderManifest& m, const std::filesystem::path& source) {
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
  if (i64(to_json(m).size()) > json_bytes) fail(text("classes and settings fill more than ", json_bytes, " bytes"));
}

// The lines of a set. All of a line but the image's own fields is known beforehand: so a line is checked without being parsed.
//
//   {"class":"n02123045","name":"tabby","index":17,"file":"images/n02123045/000017.png",FIELDS,SETTINGS,"sha256":"...","crc32":"..."}
class ImageLines {
 public:
  explicit ImageLines(const ImageFolderManifest& m) : m_(m), extension_(image_extension(m)) {
    for (const ImageFolderClass& c : m.classes) {
      const std::string start = json_text({{"class", c.id}, {"name", c.name}, {"index", 0}}, -1),
                        folder = json_text("images/" + c.folder + "/", -1);
      heads_.push_back({start.substr(0, start.size() - 2), ",\"file\":" + folder.substr(0, folder.size() - 1)});
    }
    const std::string settings = json_text(json_of(m.settings), -1);
    if (!m.settings.empty()) settings_ = "," + settings.substr(1, settings.size() - 2);
  }
  const ImageFolderManifest& manifest() const { return m_; }

  // Without its crc32, which a PNG file does not hold.
  nlohmann::ordered_json object(const FolderImage& image) const {
    const ImageFolderClass& c = m_.classes[size_t(image.number.label)];
    nlohmann::ordered_json out{{"class", c.id},
                               {"name", c.name},
                               {"index", image.number.index},
                               {"file", "images/" + c.folder + "/" + numbered(image.number.index, 6, extension_)}};
    out.update(json_of(image.fields));
    out.update(json_of(m_.settings));
    out["sha256"] = pixels_sha256(image.pixels);
    return out;
  }
  static std::string line(const nlohmann::ordered_json& object) {
    std::string out = json_text(object, -1);
    out.pop_back();
    return out + crc_of(out);
  }
  static std::string_view sha256(std::string_view line) { return line.substr(line.size() - crc_bytes - 65, 64); }

  // The index of the image of class `label` whose line this is; fail(what) where it is none.
  template <class Fail>
  i64 index(std::string_view line, i64 label, const Fail& fail) const {
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

 private:
  struct Head {
    std::string before_index, before_file;
  };
  static constexpr size_t crc_bytes = 20;

  // ,"crc32":"01234567"}
  static std::string crc_of(std::string_view bytes) {
    char out[crc_bytes + 1];
    std::snprintf(out, sizeof out, ",\"crc32\":\"%08x\"}",
                  unsigned(::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), uInt(bytes.size()))));
    return out;
  }

  ImageFolderManifest m_;
  std::string extension_, settings_;
  std::vector<Head> heads_;
};

// take(index, line) for every image of the piece's text; its file is named where a line is wrong.
template <class Take>
void for_each_line(const std::filesystem::path& path, std::string_view text_of_piece, const ImageLines& lines, i64 label,
                   i64 piece, const Take& take) {
  constexpr i64 size = ImageFolderManifest::piece_images;
  i64 number = 0, before = -1;
  const auto fail = [&](const std::string& what) {
    throw Error("image folder: " + what,
                {{"file", text(path.string(), ":", number)},
                 {"remedy", "delete this file and run the same command again: it makes these images again"}});
  };
  while (!text_of_piece.empty()) {
    ++number;
    const size_t end = text_of_piece.find('\n');
    if (end == text_of_piece.npos) fail("the file is truncated");
    const std::string_view line = text_of_piece.substr(0, end);
    text_of_piece.remove_prefix(end + 1);
    const i64 index = lines.index(line, label, fail);
    if (index / size != piece || index <= before || index >= lines.manifest().images_per_class)
      fail(text("image ", index, " does not belong here: the file has images ", piece * size, " to ",
                std::min((piece + 1) * size, lines.manifest().images_per_class) - 1, ", in their order"));
    take(before = index, line);
  }
}

// Which of the files 0 to count - 1 are in the folder, which need not be there. Where mine(number) holds, files that a kill left
// half-written are removed.
template <class Mine>
std::vector<bool> files_in(const std::filesystem::path& folder, i64 count, int digits, const std::string& extension,
                           const Mine& mine) {
  std::vector<bool> there(size_t(count), false);
  std::error_code code;
  for (std::filesystem::directory_iterator at(folder, code), end; !code && at != end; at.increment(code)) {
    std::string name = at->path().filename().string();
    const bool half = name.ends_with(".tmp");
    if (half) name.resize(name.size() - 4);
    i64 number = -1;
    std::from_chars(name.data(), name.data() + name.size(), number);
    if (number < 0 || number >= count || name != numbered(number, digits, extension)) continue;
    if (!half) there[size_t(number)] = true;
    else if (mine(number)) ::unlink(at->path().c_str());
  }
  if (code && code != std::errc::no_such_file_or_directory) file_error("cannot read the folder", folder, code.value());
  return there;
}

// Throws where the folder was begun otherwise; the list of classes and the number of images may only grow.
inline void check_same_image_folder(const ImageFolderManifest& there, const ImageFolderManifest& wanted,
                                    const std::filesystem::path& folder) {
  std::vector<ErrorLine> lines{{"folder", folder.string()}};
  const auto differ = [&](const std::string& what, const std::string& old, const std::string& now) {
    if (old != now && lines.size() < 12) lines.push_back({what, "there " + escaped(old, 200) + ", now " + escaped(now, 200)});
  };
  const auto quality = [](const ImageFolderManifest& m) { return m.jpeg_quality ? text(*m.jpeg_quality) : "none (PNG files)"; };
  differ("jpeg_quality", quality(there), quality(wanted));
  const auto setting = [](const ImageFolderManifest& m, const std::string& key) {
    const auto at = m.settings.find(key);
    return at == m.settings.end() ? "absent" : value_text(at->second);
  };
  Fields keys = there.settings;
  keys.insert(wanted.settings.begin(), wanted.settings.end());
  for (const auto& [key, value] : keys) differ(key, setting(there, key), setting(wanted, key));
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
inline std::optional<ImageFolderManifest> begun_image_folder(const std::filesystem::path& folder,
                                                             const ImageFolderManifest& wanted, bool may_be_larger) {
  if (!std::filesystem::exists(folder / "dataset.json")) return {};
  ImageFolderManifest there = read_image_folder_manifest(folder), same = there;
  if (may_be_larger) same.images_per_class = std::min(same.images_per_class, wanted.images_per_class);
  check_same_image_folder(same, wanted, folder);
  return there;
}

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
    if (key != "class" && key != "name" && key != "index" && key != "file" && key != "sha256" && key != "crc32")
      JsonReader::read(value, key, r.fields[key], {}, problems);
  problems.throw_any();
  return r;
}

}  // namespace detail

MINDGAP_INLINE std::string field_text(const Fields::mapped_type& value) {
  const auto* said = std::get_if<std::string>(&value);
  return said ? *said : detail::value_text(value);
}

MINDGAP_INLINE std::string pixels_sha256(const Tensor<u8, 3, Cpu>& pixels) {
  return sha256({reinterpret_cast<const char*>(pixels.data()), size_t(pixels.bytes())});
}

MINDGAP_INLINE ImageFolderManifest read_image_folder_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "dataset.json";
  const auto m =
      read_json<ImageFolderManifest>(path, "dataset.json", "restore it as the sample command wrote it, or use another folder");
  detail::check_image_folder_manifest(m, path);
  return m;
}

MINDGAP_INLINE ImageFolderWriter::ImageFolderWriter(const std::filesystem::path& folder, const ImageFolderManifest& manifest,
                                                    i64 part, i64 parts)
    : folder_(folder), manifest_(manifest), part_(part), parts_(parts) {
  detail::check_part("image folder", part, parts);
  detail::check_image_folder_manifest(manifest, folder / "dataset.json");
  lines_ = std::make_shared<detail::ImageLines>(manifest);
  std::string ids;
  for (const ImageFolderClass& c : manifest.classes) ids += c.id + '\0';
  made_.emplace_back(folder);
  {
    const detail::Turnstile turnstile(folder);
    lock_.push_back(detail::lock_part("image folder", folder, part, parts, {"classes", sha256(ids).substr(0, 8)}));
    for (const char* half : {"dataset.json.tmp", "manifest.jsonl.tmp"}) ::unlink((folder / half).c_str());
    if (!detail::begun_image_folder(folder, manifest, false))
      for (const char* name : {"images", "manifest"})
        if (std::filesystem::exists(folder / name))
          throw Error(text("image folder: it has ", name, " but no dataset.json"),
                      {{"folder", folder.string()}, {"remedy", "restore dataset.json or use another folder"}});
  }
  constexpr i64 size = ImageFolderManifest::piece_images;
  const i64 classes = i64(manifest.classes.size()), per_class = manifest.images_per_class;
  std::vector<bool> lined(size, false);
  for (i64 label = 0; label < classes; ++label) {
    const auto mine = [&](i64 piece) { return (piece * classes + label) % parts == part; };
    const ImageFolderClass& c = manifest.classes[size_t(label)];
    std::vector<bool> images, pieces;
    for (i64 piece = 0; piece < manifest.pieces(); ++piece) {
      if (!mine(piece)) continue;
      if (images.empty()) {
        images = detail::files_in(folder / "images" / c.folder, per_class, 6, detail::image_extension(manifest),
                                  [&](i64 index) { return mine(index / size); });
        pieces = detail::files_in(folder / "manifest" / c.folder, manifest.pieces(), 5, ".jsonl", mine);
      }
      lined.assign(size, false);
      if (pieces[size_t(piece)]) {
        const std::filesystem::path path = detail::piece_path(folder, c, piece);
        detail::for_each_line(path, read_file(path), *lines_, label, piece,
                              [&](i64 index, std::string_view) { lined[size_t(index % size)] = true; });
      }
      for (i64 index = piece * size; index < std::min((piece + 1) * size, per_class); ++index, ++part_images_)
        if (!lined[size_t(index % size)] || !images[size_t(index)]) pending_.push_back({i32(label), i32(index)});
    }
  }
}

MINDGAP_INLINE void ImageFolderWriter::check_mine(const FolderImage& image) const {
  const auto [label, index] = image.number;
  const i64 classes = i64(manifest_.classes.size());
  if (label < 0 || label >= classes || index < 0 || index >= manifest_.images_per_class ||
      (index / ImageFolderManifest::piece_images * classes + label) % parts_ != part_)
    throw Error(text("image folder: image ", index, " of class number ", label, " is none of part ", part_, " of ", parts_));
  detail::check_fields(image.fields);
  for (const auto& [key, value] : image.fields)
    if (manifest_.settings.contains(key))
      throw Error("image folder: the field " + detail::shown(key) + " is one of the set's settings");
}

MINDGAP_INLINE void ImageFolderWriter::write(std::span<const FolderImage> images) {
  // manifest.jsonl is gone while lines change, and after they have: another part may have made it in the meantime.
  const auto unlist = [&] {
    const detail::Turnstile turnstile(folder_);
    ::unlink((folder_ / "manifest.jsonl").c_str());
    if (begun_) return;
    ImageFolderManifest grown = manifest_;
    const auto there = detail::begun_image_folder(folder_, manifest_, true);
    if (there) grown.images_per_class = std::max(grown.images_per_class, there->images_per_class);
    if (!there || to_json(*there) != to_json(grown)) write_file_atomic(folder_ / "dataset.json", to_json(grown));
    begun_ = true;
  };
  for (const FolderImage& image : images) check_mine(image);
  unlist();

  struct Piece {
    std::string before;
    std::map<i64, std::string> lines;
  };
  std::map<std::pair<i64, i64>, Piece> pieces;  // by class and number
  std::vector<nlohmann::ordered_json> objects;
  for (const FolderImage& image : images) {
    const auto [label, index] = image.number;
    const i64 number = index / ImageFolderManifest::piece_images;
    const std::filesystem::path path = detail::piece_path(folder_, manifest_.classes[size_t(label)], number);
    const auto [at, fresh] = pieces.try_emplace({label, number});
    Piece& piece = at->second;
    if (fresh && std::filesystem::exists(path)) {
      piece.before = read_file(path);
      detail::for_each_line(path, piece.before, *lines_, label, number,
                            [&](i64 i, std::string_view line) { piece.lines.emplace(i, line); });
    }
    objects.push_back(lines_->object(image));
    std::string line = detail::ImageLines::line(objects.back());
    std::string& there = piece.lines[index];
    if (!there.empty() && detail::ImageLines::sha256(there) != detail::ImageLines::sha256(line))
      throw Error(text("image folder: image ", index, " of class ", detail::shown(manifest_.classes[size_t(label)].id),
                       " was made again, and has other pixels than its line says"),
                  {{"line", path.string()},
                   {"there", std::string(detail::ImageLines::sha256(there))},
                   {"now", std::string(detail::ImageLines::sha256(line))},
                   {"remedy", "make it on the same kind of device; or delete this file, and these images are made anew"}});
    there = std::move(line);
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const std::filesystem::path path = folder_ / objects[i]["file"].get<std::string>();
    PngText said;
    if (!manifest_.jpeg_quality)
      for (const auto& [key, value] : objects[i].items())
        said.emplace_back(key, value.is_string() ? value.get<std::string>() : json_text(value, -1));
    make_folder(path.parent_path());
    write_file_atomic(path, manifest_.jpeg_quality ? encode_jpeg(images[i].pixels, *manifest_.jpeg_quality)
                                                   : encode_png(images[i].pixels, said));
  }
  for (const auto& [number, piece] : pieces) {
    const std::filesystem::path path = detail::piece_path(folder_, manifest_.classes[size_t(number.first)], number.second);
    std::string lines;
    for (const auto& [index, line] : piece.lines) lines += line + "\n";
    if (lines == piece.before) continue;
    make_folder(path.parent_path());
    write_file_atomic(path, lines);
  }
  unlist();
}

MINDGAP_INLINE bool ImageFolderWriter::finish() const {
  const detail::Turnstile turnstile(folder_);
  const auto there = detail::begun_image_folder(folder_, manifest_, true);
  if (!there || there->images_per_class > manifest_.images_per_class) return false;  // the set has grown: another part's business
  const bool same = to_json(*there) == to_json(manifest_);
  if (same && std::filesystem::exists(folder_ / "manifest.jsonl")) return true;
  const auto none = [](i64) { return false; };
  for (const ImageFolderClass& c : manifest_.classes) {
    const auto whole = [](const std::vector<bool>& files) { return std::ranges::find(files, false) == files.end(); };
    if (!whole(detail::files_in(folder_ / "manifest" / c.folder, manifest_.pieces(), 5, ".jsonl", none)) ||
        !whole(detail::files_in(folder_ / "images" / c.folder, manifest_.images_per_class, 6, detail::image_extension(manifest_),
                                none)))
      return false;
  }
  AtomicFile all(folder_ / "manifest.jsonl");
  i64 images = 0;
  for (i64 label = 0; label < i64(manifest_.classes.size()); ++label)
    for (i64 piece = 0; piece < manifest_.pieces(); ++piece) {
      const std::filesystem::path path = detail::piece_path(folder_, manifest_.classes[size_t(label)], piece);
      const std::string lines = read_file(path);
      detail::for_each_line(path, lines, *lines_, label, piece, [&](i64, std::string_view) { ++images; });
      all.write(lines);
    }
  if (images < manifest_.images()) return false;
  if (!same) {  // the classes in another order
    ::unlink((folder_ / "manifest.jsonl").c_str());
    write_file_atomic(folder_ / "dataset.json", to_json(manifest_));
  }
  all.commit();
  return true;
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
