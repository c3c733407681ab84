// Shard folders: a labelled synthetic data set as files that several processes can write, that survive a kill at any
// moment, and that Python reads with safetensors and json alone.
//
//   dataset.json               what was made, and how: the fields of ShardManifest; it comes, or grows, with the first chunk that
//                              is written, so that a run which makes none leaves the folder as it was
//   chunk-00000.safetensors    images u8 [n, H, W, C], labels i64 [n], indices i64 [n] (the image's number in its class);
//                              metadata: sha256 of images, labels and indices one after another (the bytes, little-endian),
//                              settings (the hash of the manifest without its counts); of a set whose images have lines also
//                              lines u8 [bytes]: a line of JSON an image, in the order of the images
//   manifest.jsonl             those lines, chunk after chunk; it is there when every image is
//
// The rule of division: position p is image p / classes of class p % classes; chunk k holds the positions
// [k chunk_size, (k + 1) chunk_size). It depends on neither the number of processes nor the images a class, so a set can grow:
// old positions keep their chunk, and only the last chunk may have to be lengthened.
//
// Part i of n writes the chunks k with k % n = i, and holds a lock for it; a second process on the same part, or one that
// divides by another n, is refused at once. A chunk appears whole or not at all, so whoever resumes writes what is missing.
//
// A line is that of a folder of images (image_folder.hpp), but that its image is at "place" in "file". It lies in the chunk, so
// that there is none without the other. Sets of a class-conditional generator have no lines, and older ones of prompts have none:
// they are read all the same, but lines cannot be had later. Reading a set looks at no line.
//
// Left out: changing the settings of a set (an Error lists what differs), shrinking it.
#pragma once

#include <mindgap/data/dataset.hpp>
#include <mindgap/data/image_manifest.hpp>
#include <mindgap/io/file.hpp>

#include <memory>
#include <optional>
#include <span>

namespace mindgap {

namespace detail {
class ImageLines;
}

// What lines have besides the fields of the manifest and the image's own.
struct ShardLines {
  std::vector<std::string> names;  // of the classes, for people: class_names are their ids
  std::vector<std::string> shows;  // a class: a hash of what decides, besides the settings, what its images show: its prompts
  Fields settings;                 // what else decides what an image shows

  bool operator==(const ShardLines&) const = default;
};

struct ShardManifest {
  static constexpr i64 most_images = i64(1) << 28;  // of a set

  std::vector<std::string> class_names;
  i64 images_per_class = 0;
  i64 height = 0, width = 0, channels = 0;
  std::string generator;  // content hash of the generator's files
  std::string sampler;    // with all its settings: "ddim eta=0"
  i64 steps = 0;
  double guidance = 1;
  u64 seed = 0;
  std::string precision;                  // "f32", "bf16"
  std::string program_version = version;  // of this project
  i64 chunk_size = 128;                   // images
  std::optional<ShardLines> lines;        // where images have them

  i64 classes() const { return i64(class_names.size()); }
  i64 images() const { return images_per_class * classes(); }
  i64 chunks() const { return (images() + chunk_size - 1) / chunk_size; }
  i64 label(i64 position) const { return position % classes(); }
  i64 index(i64 position) const { return position / classes(); }

  bool operator==(const ShardManifest&) const = default;
};

// The positions [begin, end) that a chunk lacks; begin is inside the chunk where an earlier, smaller set left some.
struct PendingChunk {
  i64 chunk, begin, end;
};

class ShardWriter {
 public:
  // Creates or continues the folder for part `part` of `parts` and finds out what is missing. Throws when another
  // process writes this part, when the folder was begun with other settings or more images, and for damaged chunks.
  ShardWriter(const std::filesystem::path& folder, const ShardManifest& manifest, i64 part = 0, i64 parts = 1);

  const ShardManifest& manifest() const { return manifest_; }
  const std::vector<PendingChunk>& pending() const { return pending_; }  // of this part, in order
  i64 part_images() const { return part_images_; }                       // of this part, written or not
  i64 pending_images() const;

  // Writes the chunk atomically; images [end - begin, H, W, C] are those of the positions begin, ..., end - 1. plans: the hash of
  // the plans that they were made with on a GPU, kept in the file. fields: each image's own, where images have lines.
  void write(const PendingChunk& chunk, const Tensor<u8, 4, Cpu>& images, const std::string& plans = "",
             std::span<const Fields> fields = {}) const;

  // Where the set is complete and its images have lines, manifest.jsonl is there afterwards. To be called when the part is done:
  // whichever part comes last writes it.
  void finish() const;

 private:
  std::filesystem::path folder_;
  std::vector<ResultFolder> made_;
  ShardManifest manifest_;
  std::string settings_;                             // hash of the manifest without its counts
  std::shared_ptr<const detail::ImageLines> lines_;  // null where images have none
  std::vector<FileLock> lock_;
  std::vector<PendingChunk> pending_;
  i64 part_images_ = 0;
};

// Reads and checks dataset.json.
ShardManifest read_shard_manifest(const std::filesystem::path& folder);

namespace detail {

// What lines say of the fields of the manifest.
inline Fields settings_of_manifest(const ShardManifest& m) {
  return {{"guidance", m.guidance}, {"precision", m.precision}, {"sampler", m.sampler},        {"seed", m.seed},
          {"steps", m.steps},       {"weights", m.generator},   {"version", m.program_version}};
}

// The line of an image of a set that has lines; empty where it is not made yet. Throws where the image has other pixels than its
// line says.
std::string shard_line(const std::filesystem::path& folder, const ShardManifest& m, const ImageLines& lines,
                       const ImageNumber& number);

}  // namespace detail

// read_shard_folder (dataset.hpp) maps the whole set, in the order of positions, and checks every label and count; an incomplete
// set is an Error that says which chunks are missing and how to go on, and so is one with more images than dataset.json says. The
// hash of a chunk is verified when the first of its images is read: whoever asks for a pixel of a damaged one gets an Error that
// names its file.
// The system maps some 65,000 files a process (vm.max_map_count): larger sets want larger chunks.

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/shards.ipp>
#endif
