// What the lines of a set of images say of each (image_folder.hpp, shards.hpp).
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/data/image_manifest.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace mindgap {

// A line of the manifest.
struct ImageRecord {
  std::string class_id, name;
  i64 index = 0;
  std::string file;          // relative to the folder
  std::optional<i64> place;  // in a file of several images: which it is, from 0
  Fields fields;             // the image's own, and the settings
  std::string sha256;        // of the pixels
};

// Calls take for every image of a complete set, in the order of manifest.jsonl. Throws where manifest.jsonl is missing, damaged,
// or not of this set, naming the line.
void read_image_records(const std::filesystem::path& folder, const std::function<void(const ImageRecord&)>& take);

// The record of one image, of a set that need not be complete. Throws where the image is not there, and where a chunk or a PNG
// file has other pixels than its line says.
ImageRecord read_image_record(const std::filesystem::path& folder, const std::string& class_id, i64 index);

// What a record has as sha256.
std::string pixels_sha256(const Tensor<u8, 3, Cpu>& pixels);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_records.ipp>
#endif
