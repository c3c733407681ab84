// Folders of labelled images, an image a file and a folder a class, which several processes write together, which survive a kill
// at any moment, and whose bytes depend on neither the number of processes nor restarts nor batches.
//
//   images/<class>/000017.png          an image; torchvision's ImageFolder and timm read the folder images/
//   manifest/<class>/00000.jsonl       a piece: the lines of 20 images of the class, in the order of their numbers
//   manifest.jsonl                     all pieces, class after class; it is there when every image is
//   dataset.json                       what was made, and how: the fields of ImageFolderManifest; it comes, or grows, with the
//                                      first image that is written
//
// (To ImageFolder every folder is a class: so the pieces are not among the images.)
//
// A line is an object of JSON: class (its id), name, index, file, the image's own fields, the settings of the set, sha256 (of the
// pixels [h, w, c], as Python's hashlib.sha256(numpy.asarray(Image.open(file))) of a PNG file has it) and last crc32 (of the line
// before it). A PNG file holds the same, but for crc32, as text.
//
// An image counts when its file and its line are there. Files come before lines, and each of either whole or not at all: what a
// kill leaves without a line is made again, to the same bytes. So is a file that somebody has removed, which is noticed when the
// folder is opened; what is inside of the image files is not looked at.
//
// The rule of division: piece k of class c has the number k * classes + c; part i of n makes the pieces whose number has the
// remainder i. So parts differ by 20 images at most, whatever the images a class, and where n divides the number of classes, a
// class is one part's. A second process on the same part, or one with another n or other classes, is refused at once.
//
// Classes are known by their ids: a set may grow by images a class and by classes, and the classes may be put in another order.
// Left out: changing settings (an Error lists what differs), shrinking.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/io/file.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace mindgap {

namespace detail {
class ImageLines;
}

// Keys of a to z, 0 to 9 and _, other than the line's own; numbers are finite, text is UTF-8 without zero bytes.
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

struct FolderImage {
  ImageNumber number;
  Tensor<u8, 3, Cpu> pixels;  // [h, w, c], c = 1 (grey) or 3 (RGB)
  Fields fields;              // prompt, device, ...
};

class ImageFolderWriter {
 public:
  // Creates or continues the folder for part `part` of `parts` and finds out what is missing: it reads the part's pieces and the
  // names of its images. Throws when another process writes this part or divides otherwise, when the folder was begun with other
  // settings, more classes or more images, and for damaged pieces.
  ImageFolderWriter(const std::filesystem::path& folder, const ImageFolderManifest& manifest, i64 part = 0, i64 parts = 1);

  const ImageFolderManifest& manifest() const { return manifest_; }
  const std::vector<ImageNumber>& pending() const { return pending_; }  // of this part, class by class
  i64 part_images() const { return part_images_; }                      // of this part, written or not

  // Writes images of this part, in any order and number. An image whose line is there must have the pixels that the line says.
  void write(std::span<const FolderImage> images);

  // Whether the set is complete; if so, manifest.jsonl is there afterwards. To be asked when the part is done: whichever part
  // comes last writes it.
  bool finish() const;

 private:
  void check_mine(const FolderImage& image) const;

  std::filesystem::path folder_;
  std::vector<ResultFolder> made_;
  ImageFolderManifest manifest_;
  std::shared_ptr<const detail::ImageLines> lines_;
  std::vector<FileLock> lock_;
  std::vector<ImageNumber> pending_;
  i64 part_, parts_, part_images_ = 0;
  bool begun_ = false;
};

// A line of the manifest.
struct ImageRecord {
  std::string class_id, name;
  i64 index = 0;
  std::string file;    // relative to the folder
  Fields fields;       // the image's own, and the settings
  std::string sha256;  // of the pixels
};

// Reads and checks dataset.json.
ImageFolderManifest read_image_folder_manifest(const std::filesystem::path& folder);

// Calls take for every image of a complete set, class by class. Throws where manifest.jsonl is missing, damaged, or not of this
// set, naming the line.
void read_image_records(const std::filesystem::path& folder, const std::function<void(const ImageRecord&)>& take);

// The record of one image, of a set that need not be complete. Throws where the image is not there.
ImageRecord read_image_record(const std::filesystem::path& folder, const std::string& class_id, i64 index);

// What a record has as sha256.
std::string pixels_sha256(const Tensor<u8, 3, Cpu>& pixels);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_folder.ipp>
#endif
