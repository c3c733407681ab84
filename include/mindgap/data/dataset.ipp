// Bodies of dataset.hpp: finding a data set by name or folder.
#pragma once

#include <mindgap/data/dataset.hpp>
#include <mindgap/data/idx.hpp>
#include <mindgap/data/parts.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/text_file.hpp>

#include <cctype>
#include <cstdlib>

namespace mindgap {

namespace detail {

inline constexpr const char* fashion_mnist_classes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                                        "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

// `stem` or `stem`.gz, whichever is there; empty when neither is.
inline std::filesystem::path idx_path(const std::filesystem::path& folder, const std::string& stem) {
  for (const char* suffix : {"", ".gz"})
    if (std::filesystem::exists(folder / (stem + suffix))) return folder / (stem + suffix);
  return {};
}

inline std::filesystem::path need_idx_path(const std::filesystem::path& folder, const std::string& stem) {
  std::filesystem::path path = idx_path(folder, stem);
  if (path.empty())
    throw Error("data set: the folder lacks " + stem + " and " + stem + ".gz",
                {{"folder", folder.string()}, {"remedy", "copy the missing file there, or give another folder or --split"}});
  return path;
}

inline bool has_idx(const std::filesystem::path& folder) {
  return !idx_path(folder, "train-images-idx3-ubyte").empty() || !idx_path(folder, "t10k-images-idx3-ubyte").empty();
}

// The numbers up to the greatest label of either split. One damaged byte must not make two hundred classes: each has images in
// each split.
inline std::vector<std::string> numbered_classes(const std::filesystem::path& folder) {
  std::map<std::filesystem::path, std::vector<i64>> labels_of;
  i64 most = 0;
  for (const char* split : {"train", "t10k"})
    if (const auto path = idx_path(folder, std::string(split) + "-labels-idx1-ubyte"); !path.empty())
      for (i64 label : labels_of[path] = read_idx_labels(path).to_vector()) most = std::max(most, label);
  std::vector<std::string> names;
  for (i64 i = 0; i <= most; ++i) names.push_back(std::to_string(i));
  std::vector<ErrorLine> lines;
  for (const auto& [path, labels] : labels_of) {
    std::string lacking;
    i64 missing = 0;
    for (i64 label = 0; label <= most && !labels.empty(); ++label)
      if (std::ranges::find(labels, label) == labels.end() && ++missing <= 12) lacking += (missing > 1 ? ", " : "") + text(label);
    if (missing > 12) lacking += text(" and ", missing - 12, " more");
    if (missing) lines.push_back({"file", text(path.string(), " has no images of ", lacking)});
  }
  if (lines.empty()) return names;
  for (const auto& [path, labels] : labels_of)
    if (const auto at = std::ranges::find(labels, most); at != labels.end())
      lines.push_back({"greatest", text("label ", most, " of image ", at - labels.begin(), " in ", path.string())});
  lines.push_back({"remedy",
                   "correct the labels, or put a classes.txt into the folder, a name a line in the order of the labels: "
                   "a class of the list may lack images"});
  throw Error(text("data set: without a class list the labels are 0 to ", most, ", but not every one of them has images"), lines);
}

inline std::vector<std::string> idx_class_names(const std::filesystem::path& folder) {
  const auto list = folder / "classes.txt";
  if (!std::filesystem::exists(list)) return numbered_classes(folder);
  const std::vector<std::string> names = read_lines(list, "class names");
  check_class_names(names, list);
  return names;
}

inline Dataset read_idx_split(const std::filesystem::path& folder, std::string_view split, std::vector<std::string> class_names) {
  const std::string prefix = split == "train" ? "train" : "t10k";
  const auto images = read_idx_images(need_idx_path(folder, prefix + "-images-idx3-ubyte"));
  const auto labels = read_idx_labels(need_idx_path(folder, prefix + "-labels-idx1-ubyte"));
  Dataset out = naming_file(folder.string(), [&] {
    return Dataset(images, labels, std::move(class_names),
                   std::filesystem::absolute(folder).lexically_normal().filename().string(),
                   text("real images, ", split == "train" ? "training" : "test", " split of ", folder.string()));
  });
  if (out.name.empty()) out.name = folder.string();
  check_dataset(out, need_idx_path(folder, prefix + "-labels-idx1-ubyte"));
  return out;
}

// One that sample wrote, or any other in which folders of images lie side by side, as torchvision's ImageFolder reads them.
inline bool is_image_folder(const std::filesystem::path& folder) {
  if (has_idx(folder) || std::filesystem::exists(chunk_path(folder, 0))) return false;
  std::error_code code;
  for (std::filesystem::recursive_directory_iterator at(folder, code), end; !code && at != end; at.increment(code)) {
    if (at.depth() == 2) at.disable_recursion_pending();
    std::string kind = at->path().extension().string();
    for (char& c : kind) c = char(std::tolower(static_cast<unsigned char>(c)));
    if (at.depth() > 0 && (kind == ".png" || kind == ".jpg" || kind == ".jpeg")) return true;
  }
  return false;
}

inline Dataset read_fashion_mnist(std::string_view split) {
  const char* given = std::getenv("MINDGAP_DATASETS");
  const std::filesystem::path folder = std::filesystem::path(given && *given ? given : "/usr/share/datasets") / "fashion-mnist";
  if (!has_idx(folder))
    throw Error(
        "data set: Fashion-MNIST is not installed",
        {{"folder", folder.string()},
         {"remedy", "apt-get install dataset-fashion-mnist, or set MINDGAP_DATASETS to the folder that has fashion-mnist/"}});
  Dataset out = read_idx_split(folder, split, {std::begin(fashion_mnist_classes), std::end(fashion_mnist_classes)});
  out.name = "fashion-mnist";
  out.provenance = text("real images, Fashion-MNIST (MIT licence), ", split == "train" ? "training" : "test", " split");
  return out;
}

}  // namespace detail

MINDGAP_INLINE std::string content_hash(const Dataset& dataset) {
  Sha256 hash;
  const auto add = [&](const auto* values, i64 count) {
    hash.update({reinterpret_cast<const char*>(values), size_t(count) * sizeof *values});
  };
  const Shape<3> shape = dataset.shape();
  if (std::ranges::all_of(dataset.sources_, [](const auto& source) { return source->files_hash().empty(); })) {
    hash.update(Shape(dataset.size(), shape[0], shape[1], shape[2]).str());
    for (i64 i = 0; i < dataset.size(); ++i) {
      const Image image = dataset.image(i);
      if (image.shape != shape) hash.update(image.shape.str());
      add(image.pixels, image.shape.size());
    }
  } else {
    for (const auto& source : dataset.sources_) {
      const std::string files = source->files_hash();
      hash.update(files.empty() ? content_hash(Dataset(source, {})) : files);
    }
    add(dataset.members_->data(), dataset.size());
  }
  const std::vector<i64> labels = all_labels(dataset);
  add(labels.data(), dataset.size());
  for (const std::string& name : dataset.class_names) hash.update(name).update(std::string_view("\0", 1));
  return hash.hex();
}

MINDGAP_INLINE Dataset read_idx_folder(const std::filesystem::path& folder, std::string_view split) {
  return detail::read_idx_split(folder, split, detail::idx_class_names(folder));
}

MINDGAP_INLINE void check_dataset_spec(const std::string& spec) {
  if (spec == "fashion-mnist") return;
  const std::filesystem::path folder = spec;
  if (!std::filesystem::is_directory(folder))
    throw Error(text("data set: '", spec, "' is neither a known name nor a folder"),
                {{"remedy", "fashion-mnist, a folder of IDX files or a shard folder with dataset.json"}});
  if (detail::is_image_folder(folder))
    throw Error(
        "data set: this is a folder of image files, a folder a class, which is not read for training",
        {{"folder", spec}, {"remedy", "make the set with sample --format shards; or write images and labels as IDX files"}});
  if (!std::filesystem::exists(folder / "dataset.json") && !detail::has_idx(folder))
    throw Error(
        "data set: the folder is neither a shard folder nor one of IDX files",
        {{"folder", spec}, {"remedy", "it should have dataset.json, or train-images-idx3-ubyte (or .gz) and its companions"}});
}

MINDGAP_INLINE Dataset load_dataset(const std::string& spec, std::string_view split) {
  if (split == "fit" || split == "held-out") {
    const Dataset train = load_dataset(spec, "train");
    const HeldOutSplit parts = held_out_split(train);
    const bool fit = split == "fit";
    if (parts.held_out.empty())
      throw Error("data set: no class has ten images, so a tenth of them is none",
                  {{"set", spec}, {"remedy", "ask for its split train"}});
    Dataset out = select(train, fit ? parts.fit : parts.held_out);
    out.provenance += fit ? " without its held-out tenth" : ", its held-out tenth";
    return out;
  }
  if (split != "train" && split != "test")
    throw Error(text("data set: there is no split '", split, "'"), {{"remedy", "train, fit, held-out or test"}});
  check_dataset_spec(spec);
  if (spec == "fashion-mnist") return detail::read_fashion_mnist(split);
  const std::filesystem::path folder = spec;
  if (!std::filesystem::exists(folder / "dataset.json")) return read_idx_folder(folder, split);
  if (split != "train")
    throw Error("data set: a shard folder has one split, train",
                {{"folder", spec}, {"remedy", "ask for its split train, or take test images from real data"}});
  return read_shard_folder(folder);
}

}  // namespace mindgap
