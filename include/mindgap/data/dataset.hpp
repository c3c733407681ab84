// Data sets: labelled images, wherever they lie.
//
//   Source    labels and images by number: memory (below), IDX files (read into memory), shards (mapped; shards.hpp), one's own
//   Dataset   a source, or a view of some, with class names: label k is class_names[k]
//
// A view (select() and subset.hpp) is a list of images and copies no pixel; a view of views is one list, too.
//
//   fashion-mnist   /usr/share/datasets/fashion-mnist (Debian's dataset-fashion-mnist), or $MINDGAP_DATASETS/fashion-mnist
//   IDX folder      train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k (the test split), plain or .gz;
//                   class names from classes.txt, one a line, or else the labels, which then are 0 to n - 1 with images of each
//   shard folder    dataset.json and chunks, as shards.hpp writes them; it is one split, "train"
//
// Splits: train, test, and the two parts of train: fit (nine tenths, to train on) and held-out (a fixed stratified tenth,
// for choices; subset.hpp).
//
// Every set that is loaded is checked: equal counts, labels inside the class list, at least one image.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/io/utf8.hpp>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mindgap {

// Its pixels live as long as it and the source that it comes from.
struct Image {
  const u8* pixels = nullptr;  // [h, w, c]
  Shape<3> shape;
  std::shared_ptr<const void> owner = nullptr;  // of pixels that were made for this image alone
};

// Images by number; several threads may ask at once.
class Source {
 public:
  virtual ~Source() = default;
  virtual i64 size() const = 0;
  virtual i64 label(i64 i) const = 0;
  // May throw: what is wrong with a file is found when it is read.
  virtual Image image(i64 i) const = 0;
  // [h, w, c] of every image; h and w are 0 where the images differ in size.
  virtual Shape<3> shape() const = 0;
  // Whether the pixels lie in memory or in mapped files.
  virtual bool resident() const { return false; }
  // The hash of the files that a large set lies in; empty: content_hash() reads its pixels.
  virtual std::string files_hash() const { return {}; }
};

namespace detail {

struct MemorySource final : Source {
  Tensor<u8, 4, Cpu> images;
  Tensor<i64, 1, Cpu> labels;

  MemorySource(Tensor<u8, 4, Cpu> images_, Tensor<i64, 1, Cpu> labels_) : images(std::move(images_)), labels(std::move(labels_)) {
    if (labels.size() != size())
      throw Error(text("data set: ", size(), " images but ", labels.size(), " labels: the files do not belong together"),
                  {{"remedy", "give images and labels of one set and split, in the same order"}});
  }
  i64 size() const override { return images.extent(0); }
  i64 label(i64 i) const override { return labels.data()[i]; }
  Image image(i64 i) const override { return {images.data() + i * shape().size(), shape()}; }
  Shape<3> shape() const override { return Shape(images.extent(1), images.extent(2), images.extent(3)); }
  bool resident() const override { return true; }
};

}  // namespace detail

// A handle, as a tensor is: copies share the images.
class Dataset {
 public:
  std::vector<std::string> class_names;
  std::string name;        // "fashion-mnist", or the folder's
  std::string provenance;  // one line for reports: "real images, training split of ..."

  Dataset() = default;
  // All images of the source, in order.
  Dataset(std::shared_ptr<const Source> source, std::vector<std::string> class_names_, std::string name_ = {},
          std::string provenance_ = {})
      : class_names(std::move(class_names_)), name(std::move(name_)), provenance(std::move(provenance_)) {
    if (!source) throw Error("data set: there is no source", {{"set", name}, {"remedy", "give one, or use Dataset()"}});
    if (const i64 size = source->size(); size < 0 || size > std::numeric_limits<i32>::max())
      throw Error(text("data set: a source of ", size, " images"),
                  {{"set", name}, {"remedy", text("at most ", std::numeric_limits<i32>::max(), ", in several sets if need be")}});
    std::vector<Member> all(size_t(source->size()));
    for (size_t i = 0; i < all.size(); ++i) all[i] = {0, i32(i)};
    view_of({std::move(source)}, std::move(all));
  }
  // In memory: images u8 [N, H, W, C], labels [N].
  Dataset(Tensor<u8, 4, Cpu> images, Tensor<i64, 1, Cpu> labels, std::vector<std::string> class_names_, std::string name_ = {},
          std::string provenance_ = {})
      : Dataset(std::make_shared<detail::MemorySource>(std::move(images), std::move(labels)), std::move(class_names_),
                std::move(name_), std::move(provenance_)) {}

  i64 size() const { return members_ ? i64(members_->size()) : 0; }
  i64 classes() const { return i64(class_names.size()); }
  i64 label(i64 i) const { return at(i, &Source::label); }
  // Throws where its source hands out an image without pixels, or of another shape than it says.
  Image image(i64 i) const {
    Image image = at(i, &Source::image);
    const Shape<3>& is = image.shape;
    const Shape<3> said = shape();
    if (said[0] > 0 || said[1] > 0 ? is != said : is[2] != said[2] || is[0] < 0 || is[1] < 0)
      throw Error(text("data set: image ", i, " is ", is.str(), ", wanted ", said.str()),
                  {{"set", name}, {"remedy", "correct its source: shape() says what image() hands out"}});
    if (!image.pixels && is.size() > 0)
      throw Error(text("data set: image ", i, ", ", is.str(), ", has no pixels"),
                  {{"set", name}, {"remedy", "correct its source"}});
    return image;
  }
  // [h, w, c] of every image; h and w are 0 where the images differ in size.
  Shape<3> shape() const { return sources_.empty() ? Shape<3>() : sources_[0]->shape(); }

  // Whether a loader may put all images on the device at once: they have one size, lie in memory or in mapped files, and are 4
  // GiB at most.
  bool resident() const {
    const i64 count = size(), bytes = shape().size();
    return count > 0 && bytes > 0 && bytes <= (i64(4) << 30) / count &&
           std::ranges::all_of(sources_, [](const auto& s) { return s->resident(); });
  }

  friend Dataset select(const Dataset& dataset, const std::vector<i64>& members);
  friend Dataset concat(const std::vector<Dataset>& sets);
  friend std::string content_hash(const Dataset& dataset);

 private:
  struct Member {
    i32 source, image;
  };

  void view_of(std::vector<std::shared_ptr<const Source>> sources, std::vector<Member> members) {
    sources_ = std::move(sources);
    members_ = std::make_shared<const std::vector<Member>>(std::move(members));
  }
  template <class T>
  T at(i64 i, T (Source::*get)(i64) const) const {
    if (i < 0 || i >= size()) throw Error(text("data set: image ", i, " of a set of ", size(), " images"), {{"set", name}});
    const Member member = (*members_)[size_t(i)];
    return (*sources_[size_t(member.source)].*get)(member.image);
  }

  std::vector<std::shared_ptr<const Source>> sources_;  // all of one shape
  std::shared_ptr<const std::vector<Member>> members_;
};

// Throws where spec, as below, names no set.
void check_dataset_spec(const std::string& spec);

// spec: "fashion-mnist", an IDX folder or a shard folder. split: "train", "fit", "held-out" or "test".
Dataset load_dataset(const std::string& spec, std::string_view split);

// The two parts of a training split: `fit` is trained on, `held_out` (a tenth of each class, rounded down, the same for
// everybody) serves choices alone, so that none is made on test images. Both in the order of the set.
struct HeldOutSplit {
  std::vector<i64> fit, held_out;  // members for select()
};
HeldOutSplit held_out_split(const Dataset& dataset);  // body in subset.ipp

Dataset read_idx_folder(const std::filesystem::path& folder, std::string_view split);
Dataset read_shard_folder(const std::filesystem::path& folder);  // body in shards.ipp

// SHA-256 over images, labels and class names in the order of the set: two sets with the same hash train the same student. Where
// a source has a hash of its files, that and the numbers of the images stand for the pixels.
std::string content_hash(const Dataset& dataset);

// Throws unless there are names, UTF-8 (they end in JSON, CSV and web pages), none empty and all distinct. source: the file or
// folder, for the message.
inline void check_class_names(const std::vector<std::string>& names, const std::filesystem::path& source) {
  const auto fail = [&](const std::string& what) {
    throw Error("class names: " + what,
                {{"source", source.string()}, {"remedy", "give each class a name of its own, in the order of the labels"}});
  };
  if (names.empty()) fail("the class list is empty");
  std::map<std::string, size_t> label_of;
  for (size_t label = 0; label < names.size(); ++label) {
    if (names[label].empty()) fail(text("a class name is empty, that of label ", label));
    if (invalid_utf8(names[label]) != std::string::npos) fail(text("the name of class ", label, " is not valid UTF-8"));
    const auto [there, fresh] = label_of.try_emplace(names[label], label);
    if (!fresh)
      fail(text("the class name ", detail::shown(names[label]), " is there twice, for the labels ", there->second, " and ",
                label));
  }
}

// Throws with `what` where two class lists are not the same in the same order; says the first that differs.
inline void check_same_classes(const std::string& what, const std::string& one, const std::vector<std::string>& a,
                               const std::string& other, const std::vector<std::string>& b) {
  if (a == b) return;
  const size_t c = size_t(std::ranges::mismatch(a, b).in1 - a.begin());
  const auto described = [&](const std::vector<std::string>& names) {
    return text(names.size(), " classes; number ", c, " is ", c < names.size() ? detail::shown(names[c]) : "absent");
  };
  throw Error(what, {{one, described(a)},
                     {other, described(b)},
                     {"remedy", "labels count in the order of the class list: make the lists equal"}});
}

// The labels of all images. Throws where one lies outside the class list. source: the file or folder, for the message.
inline std::vector<i64> class_labels(const Dataset& dataset, const std::filesystem::path& source) {
  std::vector<i64> labels;
  for (i64 i = 0; i < dataset.size(); ++i) {
    labels.push_back(dataset.label(i));
    if (labels.back() < 0 || labels.back() >= dataset.classes())
      throw Error(text("data set: image ", i, " has label ", labels.back(), ", the class list has ", dataset.classes(), " names",
                       dataset.classes() ? text(" (labels from 0 to ", dataset.classes() - 1, ")") : ""),
                  {{"source", source.string()}, {"remedy", "correct the label, or give the class list a name for it"}});
  }
  return labels;
}
inline std::vector<i64> class_labels(const Dataset& dataset) { return class_labels(dataset, dataset.name); }

// Throws unless there are images and every one has a label inside the class list, which is one. source: the file or folder, for
// the message.
inline void check_dataset(const Dataset& dataset, const std::filesystem::path& source) {
  if (dataset.size() == 0)
    throw Error("data set: there are no images", {{"source", source.string()}, {"remedy", "use another set"}});
  check_class_names(dataset.class_names, source);
  class_labels(dataset, source);
}

// Images a class.
inline std::vector<i64> class_counts(const Dataset& dataset) {
  std::vector<i64> counts(size_t(dataset.classes()), 0);
  for (i64 label : class_labels(dataset)) ++counts[size_t(label)];
  return counts;
}

// The images at `members`, in that order; a member may come more than once.
inline Dataset select(const Dataset& dataset, const std::vector<i64>& members) {
  Dataset out = dataset;
  std::vector<Dataset::Member> chosen;
  for (i64 member : members) {
    if (member < 0 || member >= dataset.size())
      throw Error(text("select: member ", member, " of a set of ", dataset.size(), " images"));
    chosen.push_back((*dataset.members_)[size_t(member)]);
  }
  out.view_of(dataset.sources_, std::move(chosen));
  return out;
}

// Copies the pixels of one image, which must have the shape [h, w, c].
inline void copy_image(const Dataset& dataset, i64 i, const Shape<3>& shape, u8* out) {
  const Image image = dataset.image(i);
  if (image.shape != shape)
    throw Error(text("data set: image ", i, " is ", image.shape.str(), ", wanted ", shape.str()), {{"set", dataset.name}});
  std::copy_n(image.pixels, shape.size(), out);
}

// A copy of all pixels, [N, h, w, c], of images of one size.
inline Tensor<u8, 4, Cpu> all_images(const Dataset& dataset) {
  const Shape<3> shape = dataset.shape();
  Tensor<u8, 4, Cpu> out(Shape(dataset.size(), shape[0], shape[1], shape[2]));
  for (i64 i = 0; i < dataset.size(); ++i) copy_image(dataset, i, shape, out.data() + i * shape.size());
  return out;
}
inline std::vector<i64> all_labels(const Dataset& dataset) {
  std::vector<i64> out;
  for (i64 i = 0; i < dataset.size(); ++i) out.push_back(dataset.label(i));
  return out;
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/dataset.ipp>
#endif
