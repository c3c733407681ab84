// Folders of labelled images, an image a file and a folder a class, which several processes write together, which survive a kill
// at any moment, and whose bytes depend on neither the number of processes nor restarts nor batches.
//
//   images/<class>/000017.png          an image; torchvision's ImageFolder and timm read the folder images/
//   manifest/<class>/00000.jsonl       a piece: the lines of 20 images of the class, in the order of their numbers
//   manifest.jsonl                     all pieces, class after class; it is there when every image is
//   dataset.json                       what was made, and how: the fields of ImageFolderManifest; it comes, or grows, with the
//                                      first image that is written
//
// (To ImageFolder every folder is a class: so the pieces are not among the images. It counts labels in the order of the folders'
// names as text, "10" before "2"; in our lists classes have the order of dataset.json. Whoever compares labels goes by the id.)
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
#include <mindgap/data/image_manifest.hpp>
#include <mindgap/data/image_records.hpp>
#include <mindgap/io/file.hpp>

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace mindgap {

namespace detail {
class ImageLines;
}

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

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_folder.ipp>
#endif
