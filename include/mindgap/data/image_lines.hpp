// The lines of a folder of images, and where they lie (image_folder.hpp).
//
//   {"class":"n02123045","name":"tabby","index":17,"file":"images/n02123045/000017.png",FIELDS,SETTINGS,"sha256":"...","crc32":"..."}
//
// All of a line but the image's own fields is known beforehand: so a line is checked without being parsed.
#pragma once

#include <mindgap/data/image_manifest.hpp>
#include <mindgap/data/parts.hpp>
#include <mindgap/data/png.hpp>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

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
  explicit ImageLines(const ImageFolderManifest& m);

  const ImageFolderManifest& manifest() const { return m_; }

  // hash: of the pixels.
  ImageLine line(const ImageNumber& number, const Fields& fields, const std::string& hash) const;

  // The index of the image of class `label` whose line this is; calls fail(what), which throws, where it is none.
  i64 index(std::string_view line, i64 label, const std::function<void(const std::string&)>& fail) const;

  // Of a line that is one.
  static std::string_view sha256(std::string_view line) { return line.substr(line.size() - crc_bytes - 65, 64); }

 private:
  struct Head {
    std::string before_index, before_file;
  };
  static constexpr size_t crc_bytes = 20;

  static std::string crc_of(std::string_view bytes);

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

}  // namespace mindgap::detail

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_lines.ipp>
#endif
