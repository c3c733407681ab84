// Bodies of image_folder.hpp.
#pragma once

#include <mindgap/data/image_folder.hpp>
#include <mindgap/data/image_lines.hpp>
#include <mindgap/data/jpeg.hpp>
#include <mindgap/data/parts.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/hash.hpp>

#include <charconv>
#include <fstream>
#include <map>

namespace mindgap {

namespace detail {

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
    std::error_code unknown;  // which it is: then it is no file either
    if (!half) there[size_t(number)] = std::filesystem::is_regular_file(at->path(), unknown);
    else if (mine(number)) ::unlink(at->path().c_str());
  }
  if (code && code != std::errc::no_such_file_or_directory) file_error("cannot read the folder", folder, code.value());
  return there;
}

// Whether an image file begins and ends as its format does; one that has lost its end is made again.
inline bool is_whole_image(const std::filesystem::path& path) {
  constexpr i64 longest = 8;
  std::string start(2, ' '), end(longest, ' ');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), 2).seekg(-longest, std::ios::end).read(end.data(), longest);
  if (path.extension() == ".png") return file && start == "\x89P" && end == "IEND\xae\x42\x60\x82";
  return file && start == "\xff\xd8" && end.ends_with("\xff\xd9");
}

}  // namespace detail

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
        for (i64 i = 0; i < per_class; ++i)
          if (images[size_t(i)] && mine(i / size))
            images[size_t(i)] =
                detail::is_whole_image(folder / "images" / c.folder / detail::numbered(i, 6, detail::image_extension(manifest)));
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
  lines_->check_own(image.fields);
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
    if (!there || detail::image_manifest_json(*there) != detail::image_manifest_json(grown))
      write_file_atomic(folder_ / "dataset.json", detail::image_manifest_json(grown));
    begun_ = true;
  };
  for (const FolderImage& image : images) check_mine(image);
  unlist();

  struct Piece {
    std::string before;
    std::map<i64, std::string> lines;
  };
  std::map<std::pair<i64, i64>, Piece> pieces;  // by class and number
  std::vector<detail::ImageLine> lines;
  for (const FolderImage& image : images) {
    const auto [label, index] = image.number;
    const i64 number = index / ImageFolderManifest::piece_images;
    const std::filesystem::path path = detail::piece_path(folder_, manifest_.classes[size_t(label)], number);
    const auto [at, fresh] = pieces.try_emplace({label, number});
    Piece& piece = at->second;
    if (fresh && std::filesystem::is_regular_file(path)) {
      piece.before = read_file(path);
      detail::for_each_line(path, piece.before, *lines_, label, number,
                            [&](i64 i, std::string_view line) { piece.lines.emplace(i, line); });
    }
    const std::string hash = pixels_sha256(image.pixels);
    std::string& there = piece.lines[index];
    if (!there.empty() && detail::ImageLines::sha256(there) != hash)
      throw Error(text("image folder: image ", index, " of class ", detail::shown(manifest_.classes[size_t(label)].id),
                       " was made again, and has other pixels than its line says"),
                  {{"line", path.string()},
                   {"there", std::string(detail::ImageLines::sha256(there))},
                   {"now", hash},
                   {"remedy", "make it on the same kind of device; or delete this file, and these images are made anew"}});
    lines.push_back(lines_->line(image.number, image.fields, hash));
    there = lines.back().line;
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const std::filesystem::path path = folder_ / lines[i].file;
    make_folder(path.parent_path());
    write_file_atomic(path, manifest_.jpeg_quality ? encode_jpeg(images[i].pixels, *manifest_.jpeg_quality)
                                                   : encode_png(images[i].pixels, lines[i].text));
  }
  for (const auto& [number, piece] : pieces) {
    const std::filesystem::path path = detail::piece_path(folder_, manifest_.classes[size_t(number.first)], number.second);
    std::string now;
    for (const auto& [index, line] : piece.lines) now += line + "\n";
    if (now == piece.before) continue;
    make_folder(path.parent_path());
    write_file_atomic(path, now);
  }
  unlist();
}

MINDGAP_INLINE bool ImageFolderWriter::finish() const {
  const detail::Turnstile turnstile(folder_);
  const auto there = detail::begun_image_folder(folder_, manifest_, true);
  if (!there || there->images_per_class > manifest_.images_per_class) return false;  // the set has grown: another part's business
  const bool same = detail::image_manifest_json(*there) == detail::image_manifest_json(manifest_);
  const auto none = [](i64) { return false; };
  for (const ImageFolderClass& c : manifest_.classes) {
    const auto whole = [](const std::vector<bool>& files) { return std::ranges::find(files, false) == files.end(); };
    if (!whole(detail::files_in(folder_ / "manifest" / c.folder, manifest_.pieces(), 5, ".jsonl", none)) ||
        !whole(detail::files_in(folder_ / "images" / c.folder, manifest_.images_per_class, 6, detail::image_extension(manifest_),
                                none)))
      return false;
  }
  detail::LinesFile all(folder_ / "manifest.jsonl");
  i64 images = 0;
  for (i64 label = 0; label < i64(manifest_.classes.size()); ++label)
    for (i64 piece = 0; piece < manifest_.pieces(); ++piece) {
      const std::filesystem::path path = detail::piece_path(folder_, manifest_.classes[size_t(label)], piece);
      const std::string lines = read_file(path);
      detail::for_each_line(path, lines, *lines_, label, piece, [&](i64, std::string_view) { ++images; });
      all.add(lines);
    }
  if (images < manifest_.images()) return false;
  if (!same) {  // the classes in another order
    ::unlink((folder_ / "manifest.jsonl").c_str());
    write_file_atomic(folder_ / "dataset.json", detail::image_manifest_json(manifest_));
  }
  all.commit();
  return true;
}

}  // namespace mindgap
