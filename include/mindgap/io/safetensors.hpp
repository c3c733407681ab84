// Weight and data files in the safetensors format: named tensors behind a JSON header.
//
//   u64 n | n bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}} | data
//
// Reading maps the file and checks everything before an entry is handed out: the length of the header, duplicate names,
// shapes against ranges, overlaps, holes, truncation and trailing bytes. Each problem is an Error that names the file, the
// tensor, the value and a remedy. Web pages, git-lfs pointers and PyTorch archives saved under the wrong name are recognised.
// Types that nothing here computes in (F64, I16, BOOL, ...) are read and checked like others; asking for their elements
// throws.
//
// Writing is deterministic (equal tensors give equal files), aligned (header padded to 8 bytes, larger elements first)
// and atomic.
//
// Left out: elements smaller than a byte, writing several files with an index.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/core/tensor.hpp>

#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

using Metadata = std::map<std::string, std::string>;

// One tensor of an open file. `bytes` lives as long as the file's Safetensors object or a copy of it, and may be unaligned.
struct SafetensorsEntry {
  std::string name;
  std::string type;        // as the file spells it: "F32", "BF16", "F64"
  std::vector<i64> shape;  // empty for a scalar
  std::span<const std::byte> bytes;
  std::string file;  // for messages

  i64 size() const {
    i64 product = 1;
    for (i64 extent : shape) product *= extent;
    return product;
  }
  std::string shape_str() const;
  // Throws where the project has no such element type.
  DType dtype() const;
};

class Safetensors {
 public:
  // Maps and checks the file.
  explicit Safetensors(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // sorted by name
  const Metadata& metadata() const { return metadata_; }

  const SafetensorsEntry* find(std::string_view name) const;     // null when absent
  const SafetensorsEntry& at(std::string_view name) const;       // throws when absent, listing similar names
  const std::string& metadata_at(const std::string& key) const;  // throws when absent
  // The whole number that the metadata has there, from least to most; throws for anything else.
  i64 metadata_number(const std::string& key, i64 least, i64 most, const std::string& remedy) const;

  // A copy of the elements; type and rank must be the file's. Callers include cpu/runtime.hpp.
  template <Element T, int N>
  Tensor<T, N, Cpu> tensor(std::string_view name) const {
    const SafetensorsEntry& entry = at(name);
    if (entry.dtype() != dtype_of<T> || entry.shape.size() != size_t(N))
      throw Error(text("safetensors: tensor '", name, "' is ", entry.type, " ", entry.shape_str(), ", wanted ",
                       mindgap::name(dtype_of<T>), " of rank ", N),
                  {{"file", entry.file}});
    Shape<N> shape;
    for (int i = 0; i < N; ++i) shape[i] = entry.shape[size_t(i)];
    Tensor<T, N, Cpu> out(shape);
    if (out.bytes()) std::memcpy(out.data(), entry.bytes.data(), size_t(out.bytes()));
    return out;
  }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> mapping_;
  std::vector<SafetensorsEntry> entries_;
  Metadata metadata_;
};

// The files that hold the weights of `path`: itself, or, where it is an index (.json) of several as transformers and diffusers
// write one, those that it names. Throws where one of these is not beside it.
std::vector<std::filesystem::path> safetensors_files(const std::filesystem::path& path);

// The weights in a folder of diffusers or transformers, as these choose among the forms of save_pretrained: those without a
// variant, else the only variant; one file, or the index of several. Empty where there are none; throws where they are PyTorch's
// or cannot be told apart. stem: "diffusion_pytorch_model" or "model"; model_class: Python's, for the remedy.
std::filesystem::path stored_weights(const std::filesystem::path& folder, const std::string& stem,
                                     const std::string& model_class);

// Takes the pages of an entry that was read out of the process; whoever reads it again maps them again. Weights that were copied
// into a network would count twice otherwise.
void release_pages(const SafetensorsEntry& entry);

// Widens the elements of an F32, BF16 or F16 entry to f32; out has entry.size() elements. Throws for other types.
void read_f32(const SafetensorsEntry& entry, float* out);

// Throws one Error that lists the tensors with NaN or infinite elements, of those whose name is read.
void check_finite(
    std::span<const SafetensorsEntry> entries, const std::filesystem::path& file,
    const std::function<bool(std::string_view)>& is_read = [](std::string_view) { return true; });

// A tensor to write; `bytes` must stay alive until then.
struct SafetensorsSource {
  std::string name;
  DType dtype;
  std::vector<i64> shape;
  std::span<const std::byte> bytes;
};

template <Element T, int N>
SafetensorsSource safetensors_source(std::string name, const Tensor<T, N, Cpu>& tensor) {
  return {std::move(name),
          dtype_of<T>,
          {tensor.shape().extents.begin(), tensor.shape().extents.end()},
          {reinterpret_cast<const std::byte*>(tensor.data()), size_t(tensor.bytes())}};
}

// Replaces the file atomically. Throws for duplicate names, negative extents, a byte count that is not the shape's, and text that
// is not UTF-8.
void write_safetensors(const std::filesystem::path& path, std::vector<SafetensorsSource> tensors, const Metadata& metadata = {});

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/io/safetensors.ipp>
#endif
