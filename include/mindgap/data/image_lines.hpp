// The lines of a set of images, and where they lie (image_folder.hpp, shards.hpp).
//
//   {"class":"n02123045","name":"tabby","index":17,"file":"images/n02123045/000017.png",FIELDS,SETTINGS,"sha256":"...","crc32":"..."}
//   {"class":"n02123045","name":"tabby","index":17,"file":"chunk-00013.safetensors","place":58,FIELDS,SETTINGS,...}
//
// All of a line but the image's own fields is known beforehand: so a line is checked without being parsed.
#pragma once

#include <mindgap/data/image_manifest.hpp>
#include <mindgap/data/parts.hpp>
#include <mindgap/data/png.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {
struct ShardManifest;
}

namespace mindgap::detail {

inline std::string image_extension(const ImageFolderManifest& m) { return m.jpeg_quality ? ".jpg" : ".png"; }
inline std::filesystem::path piece_path(const std::filesystem::path& folder, const ImageFolderClass& c, i64 piece) {
  return folder / "manifest" / c.folder / numbered(piece, 5, ".jsonl");
}

// What is written of an image besides its pixels.
struct ImageLine {
  std::string file;  // relative to the folder
  PngText text;      // what its PNG file holds: all of the line but crc32
  std::string line;  // without its end
};

class ImageLines {
 public:
  using Fail = std::function<void(const std::string& what)>;  // throws

  explicit ImageLines(const ImageFolderManifest& m);
  explicit ImageLines(const ShardManifest& m);  // of a set that has lines

  const std::string& what() const { return what_; }  // "image folder", for messages
  const std::vector<std::string>& ids() const { return ids_; }
  i64 images_per_class() const { return images_per_class_; }
  i64 images() const { return images_per_class_ * i64(ids_.size()); }

  // Throws for fields that no image of the set may have.
  void check_own(const Fields& fields) const;
  // hash: of the pixels.
  ImageLine line(const ImageNumber& number, const Fields& fields, const std::string& hash) const;

  // The index of the image of class `label` whose line this is; calls fail where it is none.
  i64 index(std::string_view line, i64 label, const Fail& fail) const;
  // Calls fail where this is not line n, from 0, of manifest.jsonl.
  void check(std::string_view line, i64 n, const Fail& fail) const;

  // Of a line that is one.
  static std::string_view sha256(std::string_view line) { return line.substr(line.size() - crc_bytes - 65, 64); }

 private:
  static constexpr size_t crc_bytes = 20;

  ImageLines(std::string what, i64 images_per_class, Fields settings);
  void add_class(const std::string& id, const std::string& name);
  // Of a line, up to the comma before the image's own fields.
  std::string start(const ImageNumber& number) const;
  static std::string crc_of(std::string_view bytes);

  std::string what_;
  i64 images_per_class_;
  Fields settings_;
  std::string settings_text_;                             // as a line has them
  std::vector<std::string> ids_, starts_;                 // a class: its id, and how its lines start, up to the index
  std::function<ImageNumber(i64)> number_;                // of the image of line n
  std::function<std::string(const ImageNumber&)> place_;  // "file":"images/n02123045/000017.png"
};

// The lines of all images, a piece after another. Nothing is written where the file is that already.
class LinesFile {
 public:
  explicit LinesFile(std::filesystem::path path) : path_(std::move(path)) {
    if (std::filesystem::is_regular_file(path_)) there_.open(path_, std::ios::binary);
  }
  void add(std::string_view lines) {
    if (!file_ && is_next(lines)) return;
    if (!file_) rewrite();
    file_->write(lines);
  }
  void commit() {
    const bool whole = !file_ && std::filesystem::is_regular_file(path_) && there_.peek() == std::ifstream::traits_type::eof();
    if (whole) return;
    if (!file_) rewrite();
    file_->commit();
  }

 private:
  bool is_next(std::string_view lines) {
    std::string next(lines.size(), ' ');
    if (!there_.is_open() || !there_.read(next.data(), std::streamsize(next.size())) || next != lines) return false;
    same_ += i64(lines.size());
    return true;
  }
  // Begins the new file with what is the same.
  void rewrite() {
    file_.emplace(path_);
    there_.clear();
    there_.seekg(0);
    std::string block;
    for (i64 left = same_; left > 0; left -= i64(block.size())) {
      block.resize(size_t(std::min<i64>(left, 1 << 20)));
      if (!there_.read(block.data(), std::streamsize(block.size()))) file_error("cannot read the file", path_, errno);
      file_->write(block);
    }
  }

  std::filesystem::path path_;
  std::ifstream there_;
  i64 same_ = 0;  // bytes, from the start
  std::optional<AtomicFile> file_;
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
    if (index / size != piece || index <= before || index >= lines.images_per_class())
      fail(text("image ", index, " does not belong here: the file has images ", piece * size, " to ",
                std::min((piece + 1) * size, lines.images_per_class()) - 1, ", in their order"));
    take(before = index, line);
  }
}

}  // namespace mindgap::detail

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_lines.ipp>
#endif
