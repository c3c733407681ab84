// data/idx.hpp and data/dataset.hpp: IDX files and folders, real and broken; class names; statistics and views through xtensor.
#include <mindgap/data/dataset.hpp>
#include <mindgap/data/idx.hpp>
#include <mindgap/data/statistics.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/interop/xtensor.hpp>
#include <mindgap/io/file.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <unistd.h>
#include <zlib.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::string big_endian(u32 value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += char(value >> shift);
  return out;
}
std::string images_file(u32 n, u32 h, u32 w) {
  std::string out = big_endian(0x803) + big_endian(n) + big_endian(h) + big_endian(w);
  for (u32 i = 0; i < n * h * w; ++i) out += char(i * 7);
  return out;
}
std::string labels_file(const std::string& labels) { return big_endian(0x801) + big_endian(u32(labels.size())) + labels; }

std::string gzipped(const std::string& bytes, const fs::path& folder) {
  const fs::path path = folder / "gzipped";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), unsigned(bytes.size()));
  gzclose(file);
  return read_file(path);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(idx_files)

BOOST_AUTO_TEST_CASE(plain_and_gzipped_files_are_equal) {
  Folder folder;
  const std::string images = images_file(3, 4, 5), labels = labels_file(std::string("\0\2\xff", 3));
  const auto plain = read_idx_images(folder.write("images", images));
  BOOST_TEST((plain.shape() == Shape(3, 4, 5, 1)));
  BOOST_TEST(int(plain.data()[59]) == (59 * 7) % 256);
  BOOST_TEST(same_bits(plain, read_idx_images(folder.write("images.gz", gzipped(images, folder.path)))));
  BOOST_TEST(read_idx_labels(folder.write("labels", labels)).to_vector()[2] == 255);
  BOOST_TEST(read_idx_labels(folder.write("labels.gz", gzipped(labels, folder.path))).to_vector()[1] == 2);
}

BOOST_AUTO_TEST_CASE(truncated_at_every_byte) {
  Folder folder;
  const std::string plain = images_file(2, 3, 3), packed = gzipped(plain, folder.path);
  for (const std::string& whole : {plain, packed})
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      const fs::path path = folder.write("images", whole.substr(0, bytes));
      const std::string said = error_of([&] { read_idx_images(path); });
      BOOST_TEST(said.find("truncated") != said.npos, bytes << " of " << whole.size() << ": " << said);
      BOOST_TEST(said.find(path.string()) != said.npos, said);
    }
}

BOOST_AUTO_TEST_CASE(wrong_files) {
  Folder folder;
  REFUSED(read_idx_images(folder.path / "none"), "No such file");
  REFUSED(read_idx_images(folder.write("a", labels_file("\1\2"))), "no file of images");
  REFUSED(read_idx_labels(folder.write("a", images_file(1, 2, 2))), "no file of labels");
  REFUSED(read_idx_images(folder.write("a", images_file(1, 2, 2) + "x")), "after its last element");
  REFUSED(read_idx_images(folder.write("a", gzipped(images_file(1, 2, 2) + "x", folder.path))), "after its last element");
  REFUSED(read_idx_images(folder.write("a", big_endian(0x803) + std::string(12, '\xff'))), "more than the file");
  REFUSED(read_idx_images(folder.write("a", big_endian(0x803) + big_endian(1) + big_endian(0) + big_endian(4))),
          "images of shape [1, 0, 4]");
  REFUSED(read_idx_images(folder.write("a", "<!DOCTYPE html><html>")), "no file of images");
  std::string damaged = gzipped(images_file(9, 28, 28), folder.path);
  damaged[damaged.size() / 2] = char(damaged[damaged.size() / 2] ^ 0x10);
  REFUSED(read_idx_images(folder.write("a", damaged)), "damaged");
  damaged = gzipped(images_file(9, 28, 28), folder.path);
  damaged[damaged.size() - 6] = char(damaged[damaged.size() - 6] ^ 0x10);  // the checksum
  REFUSED(read_idx_images(folder.write("a", damaged)), "damaged");
}

// A gzipped file may be several, one after the other; what is none does not belong to it. Of more than one buffer.
BOOST_AUTO_TEST_CASE(behind_a_gzipped_file) {
  Folder folder;
  const std::string plain = images_file(300, 28, 28), packed = gzipped(plain, folder.path);
  const auto wanted = read_idx_images(folder.write("a", plain));
  for (size_t cut : {size_t(1), size_t(16), plain.size() / 2}) {
    const std::string two = gzipped(plain.substr(0, cut), folder.path) + gzipped(plain.substr(cut), folder.path);
    BOOST_TEST(same_bits(read_idx_images(folder.write("a", two)), wanted));
  }
  BOOST_TEST(same_bits(read_idx_images(folder.write("a", packed + gzipped("", folder.path))), wanted));
  for (const std::string junk : {"x", "\x1f", "junk behind the file", "\x1f\x8b", "\x1f\x8bjunk"}) {
    const std::string said = error_of([&] { read_idx_images(folder.write("a", packed + junk)); });
    BOOST_TEST((said.find("bytes after its gzipped contents") != said.npos || said.find("damaged") != said.npos), said);
  }
  REFUSED(read_idx_images(folder.write("a", packed + gzipped("x", folder.path))), "after its last element");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(datasets)

BOOST_AUTO_TEST_CASE(fashion_mnist) {
  const Dataset train = load_dataset("fashion-mnist", "train"), test = load_dataset("fashion-mnist", "test");
  BOOST_TEST((train.size() == 60000 && train.shape() == Shape(28, 28, 1)));
  BOOST_TEST((test.size() == 10000 && test.shape() == Shape(28, 28, 1)));
  BOOST_TEST(train.classes() == 10);
  BOOST_TEST(train.class_names[9] == "Ankle boot");
  BOOST_TEST(train.label(0) == 9);
  for (i64 count : class_counts(train)) BOOST_TEST(count == 6000);
  const Normalisation statistics = channel_statistics(train);
  BOOST_TEST(std::abs(statistics.mean[0] - 0.28604f) < 1e-5f);  // the published values
  BOOST_TEST(std::abs(statistics.std[0] - 0.35302f) < 1e-5f);
}

// What is held out is fixed: a generator that ships was trained on the rest.
BOOST_AUTO_TEST_CASE(the_held_out_tenth) {
  const Dataset train = load_dataset("fashion-mnist", "train");
  const HeldOutSplit parts = held_out_split(train);
  BOOST_TEST(parts.fit.size() == 54000u);
  BOOST_TEST(parts.held_out.size() == 6000u);
  std::vector<i64> all = parts.fit;
  all.insert(all.end(), parts.held_out.begin(), parts.held_out.end());
  std::sort(all.begin(), all.end());
  for (i64 i = 0; i < 60000; ++i) BOOST_REQUIRE(all[size_t(i)] == i);
  const std::vector<i64> first(parts.held_out.begin(), parts.held_out.begin() + 5);
  BOOST_TEST((first == std::vector<i64>{3, 7, 22, 26, 30}));
  const Dataset held_out = load_dataset("fashion-mnist", "held-out"), fit = load_dataset("fashion-mnist", "fit");
  for (i64 count : class_counts(held_out)) BOOST_TEST(count == 600);
  for (i64 count : class_counts(fit)) BOOST_TEST(count == 5400);
  BOOST_TEST(content_hash(held_out) == content_hash(select(train, parts.held_out)));
  BOOST_TEST(held_out.provenance.find("its held-out tenth") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_missing_package_is_named) {
  Folder folder;
  ::setenv("MINDGAP_DATASETS", folder.path.c_str(), 1);
  const std::string said = error_of([] { load_dataset("fashion-mnist", "train"); });
  ::unsetenv("MINDGAP_DATASETS");
  BOOST_TEST(said.find("apt-get install dataset-fashion-mnist") != said.npos, said);
}

BOOST_AUTO_TEST_CASE(folders) {
  Folder folder;
  REFUSED(load_dataset(folder.path.string(), "train"), "neither a shard folder nor one of IDX files");
  REFUSED(load_dataset("imagenet", "train"), "neither a known name nor a folder");
  REFUSED(load_dataset("fashion-mnist", "validation"), "no split 'validation'");
  folder.write("train-images-idx3-ubyte", images_file(3, 4, 4));
  REFUSED(load_dataset(folder.path.string(), "train"), "lacks train-labels-idx1-ubyte");
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\1", 3)));
  REFUSED(load_dataset(folder.path.string(), "test"), "lacks t10k-images-idx3-ubyte");
  const Dataset set = load_dataset(folder.path.string() + "/", "train");
  BOOST_TEST(set.size() == 3);
  BOOST_TEST((set.class_names == std::vector<std::string>{"0", "1", "2"}));

  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\1", 2)));
  REFUSED(load_dataset(folder.path.string(), "train"), "3 images but 2 labels");
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\1", 3)));
  folder.write("classes.txt", "T-shirt, \"top\"\r\nGr\xc3\xbc\xc3\x9f/e \xf0\x9f\x91\x9f\n");
  REFUSED(load_dataset(folder.path.string(), "train"), "image 1 has label 2, the class list has 2 names");
  folder.write("classes.txt", "T-shirt, \"top\"\r\nGr\xc3\xbc\xc3\x9f/e \xf0\x9f\x91\x9f\nc\n");
  const Dataset named = load_dataset(folder.path.string(), "train");
  BOOST_TEST(named.class_names[0] == "T-shirt, \"top\"");
  BOOST_TEST(named.class_names[1] == "Gr\xc3\xbc\xc3\x9f/e \xf0\x9f\x91\x9f");
  folder.write("classes.txt", "a\nb\na\n");
  REFUSED(load_dataset(folder.path.string(), "train"), "'a' is there twice");
  folder.write("classes.txt", "a\n\nb\n");
  REFUSED(load_dataset(folder.path.string(), "train"), "a class name is empty");
  fs::remove(folder.path / "classes.txt");
  folder.write("train-images-idx3-ubyte", images_file(0, 4, 4));
  folder.write("train-labels-idx1-ubyte", labels_file(""));
  REFUSED(load_dataset(folder.path.string(), "train"), "no images");
}

// Without a class list the labels say which classes there are: all up to the greatest, in each split.
BOOST_AUTO_TEST_CASE(labels_without_a_class_list) {
  Folder folder;
  folder.write("train-images-idx3-ubyte", images_file(4, 4, 4));
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\1\1", 4)));
  const fs::path train = folder.path / "train-labels-idx1-ubyte", test = folder.path / "t10k-labels-idx1-ubyte";
  BOOST_TEST(load_dataset(folder.path.string(), "train").classes() == 3);
  const auto refused = [&](const std::vector<std::string>& parts) {
    const std::string said = error_of([&] { load_dataset(folder.path.string(), "train"); });
    for (const std::string& part : parts) BOOST_TEST(said.find(part) != said.npos, said);
    BOOST_TEST(said.find("classes.txt") != said.npos, said);
  };
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\xc8\1", 4)));
  refused({"the labels are 0 to 200", train.string() + " has no images of 3, 4,", "and 185 more",
           "label 200 of image 2 in " + train.string()});
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\2\0", 4)));
  refused({train.string() + " has no images of 1"});
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\1\1", 4)));
  folder.write("t10k-labels-idx1-ubyte", labels_file(std::string("\0\3\1\2", 4)));
  refused({train.string() + " has no images of 3", "label 3 of image 1 in " + test.string()});
  // A list says so.
  folder.write("classes.txt", "a\nb\nc\nd\nnobody\n");
  BOOST_TEST(load_dataset(folder.path.string(), "train").classes() == 5);
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\xc8\1", 4)));
  REFUSED(load_dataset(folder.path.string(), "train"), "image 2 has label 200, the class list has 5 names");
  REFUSED(load_dataset(folder.path.string(), "train"), train.string());
}

BOOST_AUTO_TEST_CASE(class_lists) {
  Folder folder;
  folder.write("train-images-idx3-ubyte", images_file(3, 4, 4));
  folder.write("train-labels-idx1-ubyte", labels_file(std::string("\0\2\1", 3)));
  const auto names = [&](const std::string& list) {
    folder.write("classes.txt", list);
    return load_dataset(folder.path.string(), "train").class_names;
  };
  const std::vector<std::string> abc{"a", "b", "c"};
  BOOST_TEST((names("\xef\xbb\xbf"
                    "a\r\nb\r\nc") == abc));  // a byte order mark is no part of a name
  for (const auto& [list, words] : {std::pair("a\nb\nb\n", "'b' is there twice, for the labels 1 and 2"),
                                    {"a\nb\n\n", "empty, that of label 2"},
                                    {"", "the class list is empty"},
                                    {"a\nb\n", "image 1 has label 2, the class list has 2 names"},
                                    {"\xff\xfe"
                                     "a\n",
                                     "line 1 is not valid UTF-8"}}) {
    REFUSED(names(list), words);
    REFUSED(names(list), "remedy");
  }
  REFUSED(names("a\n\na\n"), (folder.path / "classes.txt").string());
  fs::remove(folder.path / "classes.txt");
  fs::create_directory(folder.path / "classes.txt");
  REFUSED(load_dataset(folder.path.string(), "train"), "classes.txt");
}

// Images of people are files: what to do about them is said once, wherever the files lie.
BOOST_AUTO_TEST_CASE(folders_of_image_files) {
  for (const char* file : {"cat/x.png", "train/cat/x.JPEG", "images/cat/000000.jpg"}) {
    Folder folder;
    const std::string spec = folder.path.string();
    fs::create_directories((folder.path / file).parent_path());
    REFUSED(load_dataset(spec, "train"), "neither a shard folder nor one of IDX files");
    folder.write(file, "");
    for (const char* manifest : {"", "{}"}) {
      if (*manifest) folder.write("dataset.json", manifest);
      REFUSED(load_dataset(spec, "train"), "data set: this is a folder of image files");
      REFUSED(load_dataset(spec, "train"), "remedy  make the set with sample --format shards");
    }
    folder.write("train-images-idx3-ubyte", "");
    REFUSED(load_dataset(spec, "test"), "a shard folder has one split");  // those beside other sets are no matter
  }
}

// Two lists that should be one: the first class that differs is named.
BOOST_AUTO_TEST_CASE(other_classes) {
  check_same_classes("other classes", "one", {"a", "b"}, "other", {"a", "b"});
  REFUSED(check_same_classes("other classes", "one", {"a", "b", "c"}, "other", {"a", "c", "b"}), "number 1 is 'b'");
  REFUSED(check_same_classes("other classes", "one", {"a", "b", "c"}, "other", {"a", "c", "b"}), "number 1 is 'c'");
  REFUSED(check_same_classes("other classes", "one", {"a"}, "other", {"a", "b"}), "1 classes; number 1 is absent");
}

BOOST_AUTO_TEST_CASE(statistics_of_channels) {
  Dataset set{Tensor<u8, 4, Cpu>::from({0, 255, 255, 255, 0, 0, 255, 0}, {1, 2, 2, 2}),
              Tensor<i64, 1, Cpu>::from({0}, {1}),
              {"a"},
              "x",
              ""};
  const Normalisation statistics = channel_statistics(set);
  BOOST_TEST(statistics.mean[0] == 0.5f);
  BOOST_TEST(statistics.mean[1] == 0.5f);
  BOOST_TEST(statistics.std[1] == 0.5f);
}

BOOST_AUTO_TEST_CASE(xtensor_views) {
  const auto tensor = Tensor<float, 2, Cpu>::from({1, 2, 3, 4, 5, 6}, {2, 3});
  const auto view = as_xtensor(tensor);
  BOOST_TEST(view(1, 0) == 4.f);
  BOOST_TEST(same_bits(from_xtensor<2>(view * 2.f), Tensor<float, 2, Cpu>::from({2, 4, 6, 8, 10, 12}, {2, 3})));
  BOOST_TEST(from_xtensor<0>(xt::sum(view)).item() == 21.f);
  REFUSED(from_xtensor<2>(xt::sum(view)), "an expression of rank 0, wanted 2");
  REFUSED(from_xtensor<3>(view), "an expression of rank 2, wanted 3");
  REFUSED(from_xtensor<1>(view * 2.f), "an expression of rank 2, wanted 1");
}

BOOST_AUTO_TEST_SUITE_END()
