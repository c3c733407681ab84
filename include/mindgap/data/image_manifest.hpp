// What a folder of images is made of (image_folder.hpp): its classes, how many images each has, and what decides what they show.
// The file dataset.json has it.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mindgap {

// Keys of a to z, 0 to 9 and _, other than the line's own; numbers are finite, text is UTF-8 without zero bytes, 1 MiB
// at most.
using Fields = std::map<std::string, std::variant<std::string, bool, i64, u64, double>>;

// Text as it is, everything else as JSON has it: numbers read back exactly.
std::string field_text(const Fields::mapped_type& value);

struct ImageFolderClass {
  std::string id;                         // its own in the set: "n02123045"
  std::string name;                       // for people; two classes may share it
  std::string folder;                     // a file name of its own
  std::optional<std::string> shows = {};  // a hash of what decides, besides the settings, what its images show: its prompts
};

struct ImageFolderManifest {
  std::vector<ImageFolderClass> classes;
  i64 images_per_class = 0;         // at most 10^6
  std::optional<int> jpeg_quality;  // JPEG files of this quality; PNG files where there is none
  Fields settings;                  // everything that decides, with class and index, what an image shows

  static constexpr i64 piece_images = 20;
  i64 images() const { return images_per_class * i64(classes.size()); }
  i64 pieces() const { return (images_per_class + piece_images - 1) / piece_images; }  // of a class
};

// Image `index` of class number `label` of the list.
struct ImageNumber {
  i32 label, index;
  bool operator==(const ImageNumber&) const = default;
};

// Reads and checks dataset.json.
ImageFolderManifest read_image_folder_manifest(const std::filesystem::path& folder);

namespace detail {

// The keys of a line that are not fields.
inline bool is_line_key(std::string_view key) {
  constexpr std::string_view keys[] = {"class", "name", "index", "file", "place", "sha256", "crc32"};
  return std::ranges::find(keys, key) != std::end(keys);
}

// Throw for what is wrong with fields, or with a manifest of the program or of the file `source`.
void check_fields(const Fields& fields);
void check_image_folder_manifest(const ImageFolderManifest& m, const std::filesystem::path& source);

// A line for each setting that differs.
std::vector<ErrorLine> different_settings(const Fields& there, const Fields& wanted);

// As dataset.json has it.
std::string image_manifest_json(const ImageFolderManifest& m);

// What dataset.json says, for a set that goes on as `wanted`; nothing where it is not there. Throws where the set was begun
// otherwise. may_be_larger: another process may have let it grow further.
std::optional<ImageFolderManifest> begun_image_folder(const std::filesystem::path& folder, const ImageFolderManifest& wanted,
                                                      bool may_be_larger);

}  // namespace detail

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_manifest.ipp>
#endif
