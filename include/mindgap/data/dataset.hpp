// Dataset: labelled images in memory, and where they come from.
//
//   images u8 [N, H, W, C]    labels i64 [N], label k is class_names[k]
//
//   fashion-mnist   /usr/share/datasets/fashion-mnist (Debian's dataset-fashion-mnist), or $MINDGAP_DATASETS/fashion-mnist
//   IDX folder      train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k (the test split), plain or .gz;
//                   class names from classes.txt, one a line, or else the numbers
//   shard folder    dataset.json and chunks, as shards.hpp writes them; it is one split, "train"
//
// Splits: train, test, and the two parts of train: fit (nine tenths, to train on) and held-out (a fixed stratified tenth,
// for choices; subset.hpp).
//
// Every source is checked: equal counts, labels inside the class list, at least one image.
// Left out: sets that do not fit in memory.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

struct Dataset {
  Tensor<u8, 4, Cpu> images;
  Tensor<i64, 1, Cpu> labels;
  std::vector<std::string> class_names;
  std::string name;        // "fashion-mnist", or the folder's
  std::string provenance;  // one line for reports: "real images, training split of ..."

  i64 size() const { return images.defined() ? images.extent(0) : 0; }
  i64 classes() const { return i64(class_names.size()); }
};

// spec: "fashion-mnist", an IDX folder or a shard folder. split: "train", "fit", "held-out" or "test".
Dataset load_dataset(const std::string& spec, std::string_view split);

// The two parts of a training split: `fit` is trained on, `held_out` (a tenth of each class, rounded down, the same for
// everybody) serves choices alone, so that none is made on test images. Both in the order of the set.
struct HeldOutSplit {
  std::vector<i64> fit, held_out;  // members for select()
};
inline HeldOutSplit held_out_split(const Dataset& dataset);  // body in subset.hpp

Dataset read_idx_folder(const std::filesystem::path& folder, std::string_view split);
Dataset read_shard_folder(const std::filesystem::path& folder);  // body in shards.ipp

// SHA-256 over images, labels and class names: two sets with the same hash train the same student.
std::string content_hash(const Dataset& dataset);

namespace detail {

// Class names end in JSON, CSV and web pages, which want UTF-8.
inline bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return at < text.size() ? u32(static_cast<unsigned char>(text[at])) : 0u; };
    const u32 first = byte(i);
    const size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (length == 0) return false;
    u32 code = length == 1 ? first : first & (0x7fu >> length);
    for (size_t k = 1; k < length; ++k) {
      if (byte(i + k) >> 6 != 2) return false;
      code = code << 6 | (byte(i + k) & 0x3f);
    }
    constexpr u32 least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10ffff || code >> 11 == 27) return false;  // overlong, too large, a surrogate
    i += length;
  }
  return true;
}

}  // namespace detail

// Throws unless every image has a label inside the class list and class names are non-empty and distinct.
// source: the file or folder, for the message.
inline void check_dataset(const Dataset& dataset, const std::filesystem::path& source) {
  const auto fail = [&](const std::string& what) { throw Error("data set: " + what, {{"source", source.string()}}); };
  if (dataset.size() == 0) fail("there are no images");
  if (dataset.labels.size() != dataset.size())
    fail(text(dataset.size(), " images but ", dataset.labels.size(), " labels: the files do not belong together"));
  std::set<std::string> names;
  for (const std::string& name : dataset.class_names) {
    if (name.empty()) fail("a class name is empty");
    if (!detail::valid_utf8(name)) fail(text("the name of class ", names.size(), " is not valid UTF-8"));
    if (!names.insert(name).second) fail("the class name '" + name + "' is there twice");
  }
  for (i64 i = 0; i < dataset.size(); ++i)
    if (const i64 label = dataset.labels.data()[i]; label < 0 || label >= dataset.classes())
      fail(text("image ", i, " has label ", label, ", the class list has ", dataset.classes(), " names (labels from 0 to ",
                dataset.classes() - 1, ")"));
}

// Images a class.
inline std::vector<i64> class_counts(const Dataset& dataset) {
  std::vector<i64> counts(size_t(dataset.classes()), 0);
  for (i64 i = 0; i < dataset.size(); ++i) ++counts[size_t(dataset.labels.data()[i])];
  return counts;
}

// The images at `members`, in that order; a member may come more than once.
inline Dataset select(const Dataset& dataset, const std::vector<i64>& members) {
  Shape<4> shape = dataset.images.shape();
  shape[0] = i64(members.size());
  Dataset out{Tensor<u8, 4, Cpu>(shape), Tensor<i64, 1, Cpu>(Shape(shape[0])), dataset.class_names, dataset.name,
              dataset.provenance};
  const i64 bytes = shape[1] * shape[2] * shape[3];
  for (i64 i = 0; i < shape[0]; ++i) {
    const i64 member = members[size_t(i)];
    if (member < 0 || member >= dataset.size())
      throw Error(text("select: member ", member, " of a set of ", dataset.size(), " images"));
    Runtime<Cpu>::copy(out.images.data() + i * bytes, dataset.images.data() + member * bytes, bytes);
    out.labels.data()[i] = dataset.labels.data()[member];
  }
  return out;
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/dataset.ipp>
#endif
