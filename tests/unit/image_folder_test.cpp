// data/image_folder.hpp: the same bytes however the set is divided, batched, interrupted or grown; a killed writer leaves nothing
// half-written; two writers of one part exclude each other; everything wrong with a folder is found, and said.
#include <mindgap/core/random.hpp>
#include <mindgap/data/dataset.hpp>
#include <mindgap/data/image_folder.hpp>

#include "tests/files.hpp"
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>
#include <png.h>
#include <set>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// Ids that have broken other tools; folders as a caller may encode them.
const std::vector<ImageFolderClass> classes = {{"n02123045", "tabby, \"cat\"", "n02123045"},
                                               {"a/b \\ c", "crane", "a%2Fb \\ c"},
                                               {"Gr\xc3\xbc\xc3\x9f"
                                                "e",
                                                "crane",
                                                "Gr\xc3\xbc\xc3\x9f"
                                                "e"},
                                               {"\xf0\x9f\x91\x9f, it's", "", "\xf0\x9f\x91\x9f, it's"},
                                               {" ", "line\nbreak", " "}};

ImageFolderManifest manifest(i64 images_per_class) {
  ImageFolderManifest m;
  m.classes = classes;
  m.images_per_class = images_per_class;
  m.settings = {{"seed", ~u64(0)}, {"sampler", "pndm"}, {"steps", 50}, {"guidance", 2.5}, {"zero_snr", false}};
  return m;
}

// Stands for the sampler: an image is a function of class id and index alone.
FolderImage make_image(const ImageFolderManifest& m, ImageNumber number) {
  const std::string& id = m.classes[size_t(number.label)].id;
  const Stream stream(7, id, u64(number.index));
  FolderImage out{number, Tensor<u8, 3>({4, 3, 3}), {}};
  for (i64 i = 0; i < out.pixels.size(); ++i) out.pixels.data()[i] = u8(stream.word(u64(i)));
  out.fields = {
      {"prompt", "a photo of \"" + id + "\",\n\xe2\x80\xa8 \\"}, {"tokens", i64(stream.below(99, 77))}, {"device", "cpu"}};
  return out;
}

// Writes at most so many images, and says whether the set is complete.
bool write_some(const fs::path& folder, const ImageFolderManifest& m, i64 part = 0, i64 parts = 1, size_t batch = 7,
                i64 at_most = 1 << 20) {
  ImageFolderWriter writer(folder, m, part, parts);
  std::vector<FolderImage> images;
  for (const ImageNumber number : writer.pending()) {
    if (at_most-- == 0) return writer.finish();
    images.push_back(make_image(m, number));
    if (images.size() < batch) continue;
    writer.write(images);
    images.clear();
  }
  if (!images.empty()) writer.write(images);
  return writer.finish();
}

// Every file below the folder by its path, so that leftovers count as differences.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& item : fs::recursive_directory_iterator(folder))
    if (!item.is_directory()) out[fs::relative(item.path(), folder).string()] = read_file(item.path());
  return out;
}

std::vector<u8> decoded_png(const std::string& bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  BOOST_REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  image.format = PNG_FORMAT_RGB;
  std::vector<u8> pixels(PNG_IMAGE_SIZE(image));
  BOOST_REQUIRE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr));
  return pixels;
}

std::vector<ImageRecord> records_of(const fs::path& folder) {
  std::vector<ImageRecord> out;
  read_image_records(folder, [&](const ImageRecord& r) { out.push_back(r); });
  return out;
}

void change(const fs::path& file, const std::string& from, const std::string& to) {
  std::string bytes = read_file(file);
  const size_t at = bytes.find(from);
  BOOST_REQUIRE(at != bytes.npos);
  write_file_atomic(file, bytes.replace(at, from.size(), to));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(image_folders)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  Folder folder;
  const ImageFolderManifest m = manifest(23);
  BOOST_TEST(write_some(folder.path, m));
  BOOST_TEST(write_some(folder.path, m));  // and once more: nothing to do

  const ImageFolderManifest there = read_image_folder_manifest(folder.path);
  BOOST_TEST(there.images_per_class == 23);
  BOOST_TEST(!there.jpeg_quality.has_value());
  BOOST_TEST((there.settings == m.settings));
  const std::vector<ImageRecord> records = records_of(folder.path);
  BOOST_REQUIRE(records.size() == 5u * 23);
  for (size_t i = 0; i < records.size(); ++i) {
    const ImageFolderClass& c = classes[i / 23];
    const ImageRecord& r = records[i];
    FolderImage image = make_image(m, {i32(i / 23), i32(i % 23)});
    BOOST_TEST(there.classes[i / 23].id == c.id);
    BOOST_TEST(r.class_id == c.id);
    BOOST_TEST(r.name == c.name);
    BOOST_TEST(r.index == i64(i % 23));
    BOOST_TEST((fs::path(r.file).parent_path() == fs::path("images") / c.folder));
    BOOST_TEST(r.sha256 == pixels_sha256(image.pixels));
    image.fields.insert(m.settings.begin(), m.settings.end());
    BOOST_TEST((r.fields == image.fields));
    const std::string bytes = read_file(folder.path / r.file);
    BOOST_TEST(decoded_png(bytes) == image.pixels.to_vector(), boost::test_tools::per_element());
    for (const std::string& said :
         {c.id, std::get<std::string>(image.fields["prompt"]), r.sha256, std::string("18446744073709551615")})
      BOOST_TEST(bytes.find(said) != bytes.npos, said);
    const ImageRecord one = read_image_record(folder.path, c.id, r.index);
    BOOST_TEST((one.file == r.file && one.sha256 == r.sha256 && one.fields == r.fields));
  }
  REFUSED(load_dataset(folder.path.string(), "train"), "this is a folder of image files");
  REFUSED(read_image_record(folder.path, "crane", 0), "there is no class 'crane'");
  REFUSED(read_image_record(folder.path, " ", 23), "a class has images 0 to 22");
  REFUSED(read_image_record(folder.path, " ", -1), "there is no image -1");
}

BOOST_AUTO_TEST_CASE(jpeg_files) {
  Folder folder;
  ImageFolderManifest m = manifest(2);
  m.jpeg_quality = 90;
  BOOST_TEST(write_some(folder.path, m));
  BOOST_TEST(contents(folder.path)["images/n02123045/000001.jpg"].substr(6, 4) == "JFIF");
  BOOST_TEST(*read_image_folder_manifest(folder.path).jpeg_quality == 90);
  BOOST_TEST(records_of(folder.path)[1].sha256 == pixels_sha256(make_image(m, {0, 1}).pixels));
  REFUSED(ImageFolderWriter(folder.path, manifest(2)), "jpeg_quality there 90, now none (PNG files)");
}

BOOST_AUTO_TEST_CASE(division_and_batches_do_not_matter) {
  Folder folder;
  const ImageFolderManifest m = manifest(23);
  BOOST_TEST(write_some(folder.path / "one", m));
  for (const i64 part : {2, 0, 1}) BOOST_TEST(write_some(folder.path / "three", m, part, 3, 1) == (part == 1));
  for (i64 part = 10; part >= 0; --part) write_some(folder.path / "eleven", m, part, 11, 1000);  // more parts than pieces
  const auto one = contents(folder.path / "one");
  BOOST_TEST(one.size() == 5u * 23 + 5 * 2 + 2);
  BOOST_TEST((one == contents(folder.path / "three")));
  BOOST_TEST((one == contents(folder.path / "eleven")));
  {
    // In any order, in turns.
    ImageFolderWriter even(folder.path / "turns", m, 0, 2), odd(folder.path / "turns", m, 1, 2);
    for (i64 k = 0; k < 115; ++k)
      for (ImageFolderWriter* writer : {&even, &odd}) {
        const auto& pending = writer->pending();
        if (k < i64(pending.size()))
          writer->write(std::vector<FolderImage>{make_image(m, pending[size_t(k * 89) % pending.size()])});
      }
    BOOST_TEST(even.pending().size() != 89u);
    BOOST_TEST(odd.pending().size() != 89u);
    BOOST_TEST(even.finish());
    BOOST_TEST(odd.finish());
  }
  BOOST_TEST((one == contents(folder.path / "turns")));
  REFUSED(write_some(folder.path / "x", m, 3, 3), "no part 3 of 3");
  REFUSED(write_some(folder.path / "x", m, -1, 3), "no part -1 of 3");
  BOOST_TEST(!fs::exists(folder.path / "x"));
}

BOOST_AUTO_TEST_CASE(parts_are_balanced) {
  for (const auto& [per_class, parts] : {std::pair<i64, i64>(50, 4), {1300, 8}, {1300, 13}, {100, 5}, {20, 5}, {21, 10}}) {
    std::vector<i64> images;
    i64 all = 0;
    for (i64 part = 0; part < parts; ++part) {
      Folder folder;
      const ImageFolderWriter writer(folder.path / "set", manifest(per_class), part, parts);
      images.push_back(writer.part_images());
      all += images.back();
      BOOST_TEST(writer.part_images() == i64(writer.pending().size()));
      BOOST_TEST(std::ranges::is_sorted(writer.pending(), {}, [](ImageNumber n) { return std::pair(n.label, n.index); }));
    }
    const auto [least, most] = std::ranges::minmax(images);
    BOOST_TEST(most - least <= 20, per_class << " images a class in " << parts << " parts: " << least << " to " << most);
    BOOST_TEST(all == 5 * per_class);
  }
}

BOOST_AUTO_TEST_CASE(an_interrupted_set_is_continued) {
  Folder folder;
  const ImageFolderManifest m = manifest(38);
  { const ImageFolderWriter idle(folder.path / "new" / "set", m); }
  BOOST_TEST(!fs::exists(folder.path / "new"));
  BOOST_TEST(!write_some(folder.path / "parts", m, 0, 1, 7, 35));
  REFUSED(records_of(folder.path / "parts"), "the set is not complete");
  REFUSED(read_image_record(folder.path / "parts", "n02123045", 35), "image 35 of class 'n02123045' is not made yet");
  BOOST_TEST(read_image_record(folder.path / "parts", "n02123045", 34).index == 34);
  {
    const ImageFolderWriter writer(folder.path / "parts", m);
    BOOST_TEST(writer.part_images() == 5 * 38);
    BOOST_TEST(writer.pending().size() == 5u * 38 - 35);
    BOOST_TEST((writer.pending()[0] == ImageNumber{0, 35}));
    BOOST_TEST(!writer.finish());
  }
  BOOST_TEST(write_some(folder.path / "parts", m));
  write_some(folder.path / "whole", m);
  BOOST_TEST((contents(folder.path / "parts") == contents(folder.path / "whole")));
}

BOOST_AUTO_TEST_CASE(a_set_grows_and_keeps_its_images) {
  Folder folder;
  const fs::path set = folder.path / "set";
  ImageFolderManifest small = manifest(7), large = manifest(22);
  small.classes = {classes[2], classes[0]};
  BOOST_TEST(write_some(set, small));
  const auto before = contents(set);
  {
    ImageFolderWriter writer(set, large);
    BOOST_TEST(writer.pending().size() == 5u * 22 - 2 * 7);
    BOOST_TEST(!writer.finish());
    BOOST_TEST((records_of(set).size() == 14u));  // as it was, until an image is written
    writer.write(std::vector<FolderImage>{make_image(large, {4, 21})});
    BOOST_TEST(!writer.finish());
    REFUSED(records_of(set), "the set is not complete");
  }
  REFUSED(ImageFolderWriter(set, small), "3 of its 5 classes are not asked for; a set does not shrink");
  REFUSED(ImageFolderWriter(set, manifest(21)), "it is a set of 22 images a class, 21 were asked for");
  BOOST_TEST(write_some(set, large));
  write_some(folder.path / "whole", large);
  const auto after = contents(set);
  BOOST_TEST((after == contents(folder.path / "whole")));
  for (const auto& [name, bytes] : before)
    if (name.starts_with("images/")) BOOST_TEST(after.at(name) == bytes);

  // The same classes in another order: no image is made, and the list follows.
  std::ranges::reverse(large.classes);
  BOOST_TEST(write_some(set, large, 0, 1, 7, 0));
  BOOST_TEST(records_of(set)[0].class_id == " ");
  const auto reversed = contents(set);
  BOOST_TEST(reversed.size() == after.size());
  for (const auto& [name, bytes] : after)
    if (name != "dataset.json" && name != "manifest.jsonl") BOOST_TEST((reversed.at(name) == bytes), name);
}

BOOST_AUTO_TEST_CASE(two_begin_a_set) {
  Folder folder;
  const fs::path set = folder.path / "set";
  ImageFolderManifest other = manifest(9), large = manifest(21);
  other.settings["seed"] = 1;
  {
    ImageFolderWriter first(set, manifest(9), 0, 2), second(set, other, 1, 2);
    first.write(std::vector{make_image(manifest(9), first.pending()[0])});
    for (int attempt = 0; attempt < 2; ++attempt)
      REFUSED(second.write(std::vector{make_image(other, second.pending()[0])}), "seed    there 18446744073709551615, now 1");
  }
  {
    ImageFolderWriter small(set, manifest(9), 0, 2), grown(set, large, 1, 2);
    grown.write(std::vector{make_image(large, grown.pending()[0])});
    small.write(std::vector{make_image(large, small.pending()[0])});
    BOOST_TEST(read_image_folder_manifest(set).images_per_class == 21);
    BOOST_TEST(!small.finish());
  }
  write_some(set, large);
  write_some(folder.path / "whole", large);
  BOOST_TEST((contents(set) == contents(folder.path / "whole")));
}

BOOST_AUTO_TEST_CASE(other_settings_are_refused_and_listed) {
  Folder folder;
  write_some(folder.path, manifest(2));
  ImageFolderManifest other = manifest(2);
  other.settings["steps"] = 25;
  other.settings["guidance"] = "2.5";
  other.settings.erase("zero_snr");
  other.settings["eta"] = 0.5;
  other.classes[1].name = "heron";
  other.classes[4].folder = "space";
  const std::string said = error_of([&] { ImageFolderWriter(folder.path, other); });
  for (const char* line : {"steps   there 50, now 25", "guidance there 2.5, now \"2.5\"", "zero_snr there false, now absent",
                           "eta     there absent, now 0.5", "class 'a/b \\ c' there 'crane', now 'heron'",
                           "class ' ' there in the folder ' ', now in the folder 'space'", "remedy"})
    BOOST_TEST(said.find(line) != said.npos, said << " lacks " << line);
  BOOST_TEST(said.find("sampler") == said.npos, said);
  other = manifest(2);
  other.settings["seed"] = std::string("18446744073709551615");
  REFUSED(ImageFolderWriter(folder.path, other), "seed    there 18446744073709551615, now \"18446744073709551615\"");
}

BOOST_AUTO_TEST_CASE(manifests_and_fields_of_the_program_are_checked) {
  Folder folder;
  const auto refused = [&](auto change, const char* words) {
    ImageFolderManifest m = manifest(2);
    change(m);
    REFUSED(ImageFolderWriter(folder.path / "x", m), words);
    BOOST_TEST(!fs::exists(folder.path / "x"));
  };
  refused([](auto& m) { m.classes.clear(); }, "class list is empty");
  refused([](auto& m) { m.classes[3].id = m.classes[1].id; }, "the class id 'a/b \\ c' is there twice");
  refused([](auto& m) { m.classes[3].folder = m.classes[0].folder; }, "two classes have the folder 'n02123045'");
  refused([](auto& m) { m.classes[3].id = ""; }, "the class id '' is empty");
  refused([](auto& m) { m.classes[3].name = "\xff"; }, "UTF-8");
  for (const char* name : {"", ".", "..", ".hidden", "a/b"})
    refused([&](auto& m) { m.classes[0].folder = name; }, "which is no file name, or a hidden one");
  refused([](auto& m) { m.classes[0].folder = std::string(256, 'x'); }, "no file name");
  refused([](auto& m) { m.images_per_class = 0; }, "images_per_class is 0");
  refused([](auto& m) { m.images_per_class = 1'000'001; }, "wanted 1 to 1000000");
  refused([](auto& m) { m.jpeg_quality = 101; }, "jpeg_quality is 101");
  refused([](auto& m) { m.settings["guidance"] = HUGE_VAL; }, "'guidance' is not a finite number");
  refused([](auto& m) { m.settings["sampler"] = std::string("\xc3"); }, "'sampler' is not UTF-8");
  refused([](auto& m) { m.settings["sampler"] = std::string((1 << 20) + 1, 'x'); }, "'sampler' has 1048577 bytes");
  refused([](auto& m) { m.settings["Seed"] = 1; }, "'Seed' is not named by a to z");
  refused([](auto& m) { m.settings["index"] = 1; }, "'index' is the line's own");
  refused(
      [](auto& m) {
        for (int i = 0; i < 100; ++i) m.classes.push_back({text(i), std::string(200'000, 'x'), text(i)});
      },
      "more than 16777216 bytes");

  ImageFolderWriter writer(folder.path / "set", manifest(25), 1, 2);
  const auto write = [&](ImageNumber number, auto change) {
    FolderImage image = make_image(manifest(25), {0, 20});
    image.number = number;
    change(image);
    writer.write(std::vector{image});
  };
  const auto nothing = [](auto&) {};
  REFUSED(write({0, 25}, nothing), "image 25 of class number 0 is none of part 1 of 2");
  REFUSED(write({0, 0}, nothing), "image 0 of class number 0 is none of part 1 of 2");
  REFUSED(write({5, 20}, nothing), "none of part");
  REFUSED(write({-1, 0}, nothing), "none of part");
  REFUSED(write({0, -1}, nothing), "none of part");
  REFUSED(write({0, 20}, [](auto& image) { image.fields["seed"] = 1; }), "'seed' is one of the set's settings");
  REFUSED(write({0, 20}, [](auto& image) { image.fields["prompt"] = std::string("a\0b", 3); }),
          "'prompt' is not UTF-8 without zero");
  BOOST_TEST(!fs::exists(folder.path / "set" / "dataset.json"));
  REFUSED(write({0, 20}, [](auto& image) { image.pixels = Tensor<u8, 3>({4, 4, 2}); }), "1 or 3 channels");
  write({0, 20}, nothing);
  BOOST_TEST(read_image_record(folder.path / "set", "n02123045", 20).index == 20);
}

BOOST_AUTO_TEST_CASE(two_writers_of_one_part) {
  Folder folder;
  const ImageFolderManifest m = manifest(25);
  ImageFolderManifest reversed = m;
  std::ranges::reverse(reversed.classes);
  {
    const ImageFolderWriter first(folder.path, m, 1, 2);
    REFUSED(ImageFolderWriter(folder.path, m, 1, 2), "another process writes part 1 of 2");
    REFUSED(ImageFolderWriter(folder.path, m, 0, 3), "in another number of parts than 3, or with other classes");
    REFUSED(ImageFolderWriter(folder.path, reversed, 0, 2), "in another number of parts than 2, or with other classes");
    write_some(folder.path, m, 0, 2);  // the other part is free
  }
  BOOST_TEST(write_some(folder.path, m, 1, 2));
  BOOST_TEST(contents(folder.path).size() == 5u * 25 + 5 * 2 + 2);  // no lock stays
}

// Whole or absent, each file that is to stay; and no line without its image.
void check_what_is_there(const fs::path& set, const std::map<std::string, std::string>& whole) {
  const auto there = contents(set);
  for (const auto& [name, bytes] : there) {
    if (name.starts_with("images/") && name.ends_with(".png")) BOOST_TEST((whole.at(name) == bytes), name);
    if (!name.starts_with("manifest/") || !name.ends_with(".jsonl")) continue;
    const std::string key = "\"index\":", folder = fs::path(name).parent_path().filename().string();
    for (size_t at = bytes.find(key); at != bytes.npos; at = bytes.find(key, at + 1)) {
      const std::string number = std::to_string(std::stoll(bytes.substr(at + key.size(), 7)));
      const std::string image = "images/" + folder + "/" + std::string(6 - number.size(), '0') + number + ".png";
      BOOST_TEST(there.contains(image), name << " has a line of " << image);
    }
  }
}

BOOST_AUTO_TEST_CASE(killed_at_any_moment) {
  Folder folder;
  const ImageFolderManifest m = manifest(60);
  constexpr int parts = 8;
  write_some(folder.path / "whole", m);
  const auto whole = contents(folder.path / "whole");
  // A quick machine completes a set in fewer than 40 kills, and begins another.
  int killed = 0;
  for (u64 set = 0; killed < 40; ++set) {
    const fs::path path = folder.path / std::to_string(set);
    for (u64 attempt = 0; attempt < 10 && killed < 40; ++attempt) {
      const Stream moments(7, "kill", set, attempt);
      std::vector<std::pair<u32, pid_t>> plan;
      for (int part = 0; part < parts; ++part) {
        const pid_t child = ::fork();
        if (child == 0) {
          try {
            write_some(path, m, part, parts, 3);
          } catch (...) {
            ::_exit(1);
          }
          ::_exit(0);
        }
        plan.emplace_back(moments.below(u64(part), 20'000), child);
      }
      std::ranges::sort(plan);
      u32 now = 0;
      for (const auto& [moment, child] : plan) {
        ::usleep(moment - std::exchange(now, moment));
        ::kill(child, SIGKILL);
        int status;
        ::waitpid(child, &status, 0);
        BOOST_TEST(!(WIFEXITED(status) && WEXITSTATUS(status) != 0));  // a resumed writer never complains
        killed += WIFSIGNALED(status);
      }
      if (fs::exists(path)) check_what_is_there(path, whole);
    }
    bool complete = false;
    for (int part = 0; part < parts; ++part) complete = write_some(path, m, part, parts);
    BOOST_TEST(complete);
    BOOST_TEST((contents(path) == whole));
  }
}

BOOST_AUTO_TEST_CASE(what_a_kill_leaves_is_removed) {
  Folder folder;
  const ImageFolderManifest m = manifest(25);
  write_some(folder.path, m);
  const auto whole = contents(folder.path);
  const std::vector<std::string> mine = {"dataset.json.tmp",
                                         "manifest.jsonl.tmp",
                                         "images/n02123045/000007.png.tmp",
                                         "manifest/n02123045/00000.jsonl.tmp",
                                         ".part-1-of-3.lock",
                                         ".lock"};
  const std::vector<std::string> others = {"images/n02123045/000020.png.tmp", "images/n02123045/7.png.tmp"};
  for (const auto& names : {mine, others})
    for (const std::string& name : names) folder.write(name, "half");
  { const ImageFolderWriter writer(folder.path, m, 0, 2); }
  for (const std::string& name : mine) BOOST_TEST(!fs::exists(folder.path / name), name);
  for (const std::string& name : others) {
    BOOST_TEST(fs::exists(folder.path / name), name);
    fs::remove(folder.path / name);
  }
  BOOST_TEST((contents(folder.path) == whole));
}

BOOST_AUTO_TEST_CASE(a_removed_image_is_made_again) {
  Folder folder;
  const ImageFolderManifest m = manifest(25);
  write_some(folder.path, m);
  const auto whole = contents(folder.path);
  fs::remove(folder.path / "images" / "n02123045" / "000021.png");
  {
    ImageFolderWriter writer(folder.path, m);
    BOOST_TEST((writer.pending() == std::vector<ImageNumber>{{0, 21}}));
    FolderImage image = make_image(m, {0, 21});
    image.pixels.data()[0] ^= 1;
    REFUSED(writer.write(std::vector{image}), "image 21 of class 'n02123045' was made again, and has other pixels");
    BOOST_TEST(!fs::exists(folder.path / "images" / "n02123045" / "000021.png"));
    BOOST_TEST(!writer.finish());
    image.pixels.data()[0] ^= 1;
    image.fields["device"] = "cuda";
    writer.write(std::vector{image});
    BOOST_TEST(writer.finish());
    BOOST_TEST(std::get<std::string>(records_of(folder.path)[21].fields["device"]) == "cuda");
    writer.write(std::vector{make_image(m, {0, 21})});
    BOOST_TEST(writer.finish());
  }
  BOOST_TEST((contents(folder.path) == whole));
}

BOOST_AUTO_TEST_CASE(an_image_that_lost_its_end_is_made_again) {
  Folder folder;
  const ImageFolderManifest m = manifest(25);
  write_some(folder.path, m);
  const auto whole = contents(folder.path);
  const fs::path file = folder.path / "images" / "n02123045" / "000021.png";
  for (const std::uintmax_t size : {fs::file_size(file) - 1, std::uintmax_t(20), std::uintmax_t(1), std::uintmax_t(0)}) {
    fs::resize_file(file, size);
    BOOST_TEST((ImageFolderWriter(folder.path, m).pending() == std::vector<ImageNumber>{{0, 21}}), size);
    BOOST_TEST(write_some(folder.path, m));
    BOOST_TEST((contents(folder.path) == whole), size);
  }
}

BOOST_AUTO_TEST_CASE(damaged_pieces) {
  Folder folder;
  const ImageFolderManifest m = manifest(25);
  write_some(folder.path, m);
  const auto whole = contents(folder.path);
  const fs::path piece = folder.path / "manifest" / "n02123045" / "00001.jsonl";
  const std::string good = read_file(piece);
  const auto refused = [&](const std::string& bytes, const char* words) {
    write_file_atomic(piece, bytes);
    fs::remove(folder.path / "manifest.jsonl");
    REFUSED(ImageFolderWriter(folder.path, m), words);
    REFUSED(ImageFolderWriter(folder.path, m), piece.string());
    REFUSED(read_image_record(folder.path, "n02123045", 24), words);
    const ImageFolderWriter other(folder.path, m, 1, 25);  // looks at another piece, but must not list this one
    REFUSED(other.finish(), words);
  };
  // Every bit of the second line.
  const size_t begin = good.find('\n') + 1, end = good.find('\n', begin);
  for (size_t at = begin; at <= end; ++at) {
    std::string bad = good;
    bad[at] = char(bad[at] ^ (1 << at % 8));
    write_file_atomic(piece, bad);
    REFUSED(read_image_record(folder.path, "n02123045", 24), "image folder: ");
  }
  refused(good.substr(0, begin + 40), "the file is truncated");
  refused(good.substr(0, begin) + "\n" + good.substr(begin), "the line is damaged");
  refused(good + good, "does not belong here: the file has images 20 to 24");
  refused(read_file(folder.path / "manifest" / "n02123045" / "00000.jsonl"), "image 0 does not belong here");
  refused(read_file(folder.path / "manifest" / " " / "00001.jsonl"), "not that of an image of class 'n02123045'");
  refused(std::string(3, '\0'), "the file is truncated");
  ImageFolderManifest other = m;
  other.settings["steps"] = 25;
  write_some(folder.path / "other", other);
  refused(read_file(folder.path / "other" / "manifest" / "n02123045" / "00001.jsonl"),
          "with other settings than dataset.json says");
  fs::remove_all(folder.path / "other");

  // Lines that are whole but fewer, or none: those images are made again.
  for (const std::string& bytes : {good.substr(0, begin), good.substr(begin), std::string()}) {
    write_file_atomic(piece, bytes);
    BOOST_TEST(write_some(folder.path, m));
    BOOST_TEST((contents(folder.path) == whole));
  }
  fs::remove(piece);
  BOOST_TEST(write_some(folder.path, m));
  BOOST_TEST((contents(folder.path) == whole));
}

BOOST_AUTO_TEST_CASE(damaged_lists_and_folders) {
  Folder folder;
  const fs::path set = folder.path / "set";
  const ImageFolderManifest m = manifest(3);
  write_some(set, m);
  const fs::path list = set / "manifest.jsonl";
  const std::string good = read_file(list);
  const auto refused = [&](const std::string& bytes, const std::string& words) {
    write_file_atomic(list, bytes);
    REFUSED(records_of(set), words);
    REFUSED(records_of(set), list.string());
  };
  const size_t second = good.find('\n') + 1, third = good.find('\n', second) + 1;
  std::string bad = good;
  bad[second + 30] ^= 1;
  refused(bad, "manifest.jsonl:2");
  refused(bad, "the line is damaged");
  refused(good.substr(0, third), "the file ends after 2 of 15 images");
  refused(good.substr(0, third - 1), "the file is truncated");
  refused(good + good.substr(0, second), "there are more lines than images, which are 15");
  refused(good.substr(0, second) + good.substr(third), "the line is that of image 2, wanted image 1");
  refused("", "the file ends after 0 of 15 images");
  fs::remove(list);
  fs::create_directory(list);
  REFUSED(records_of(set), "manifest.jsonl");
  fs::remove(list);
  BOOST_TEST(write_some(set, m));
  BOOST_TEST(read_file(list) == good);

  const fs::path json = set / "dataset.json";
  const std::string said = read_file(json);
  const auto with_json = [&](const std::string& from, const std::string& to) {
    change(json, from, to);
    const std::string error = error_of([&] { ImageFolderWriter(set, m); });
    if (to != "shards 1")  // records are read of shards, too
      BOOST_TEST(error_of([&] { records_of(set); }) == error_of([&] { read_image_folder_manifest(set); }));
    write_file_atomic(json, said);
    return error;
  };
  const auto has = [](const std::string& error, const std::string& words) {
    BOOST_TEST(error.find(words) != error.npos, error << " lacks " << words);
  };
  has(with_json("image folder 1", "shards 1"), "format is \"mindgap shards 1\", wanted one of mindgap image folder 1");
  has(with_json("\"images_per_class\": 3", "\"images_per_class\": 3.0"), "images_per_class is 3.0");
  has(with_json("\"images_per_class\": 3", "\"images_per_class\": 0"), "images_per_class is 0, wanted 1 to 1000000");
  has(with_json("\"steps\": 50", "\"steps\": [50]"), "settings.steps is [50], wanted a string or true or false or a number");
  has(with_json("\"steps\": 50", "\"steps\": null"), "settings.steps is null");
  has(with_json("\"steps\": 50", "\"Steps\": 50"), "'Steps' is not named by a to z");
  has(with_json("\"folder\": \"n02123045\"", "\"folder\": \"../x\""), "'../x' as its folder");
  has(with_json("}", ""), "truncated");
  fs::remove(json);
  REFUSED(ImageFolderWriter(set, m), "it has images but no dataset.json");
  fs::create_directory(json);
  REFUSED(ImageFolderWriter(set, m), "cannot read the file: Is a directory");
  fs::remove(json);
  write_file_atomic(json, said);

  // A file where a folder should be.
  const fs::path images = set / "images" / "n02123045";
  fs::rename(images, set / "images" / "aside");
  write_file_atomic(images, "x");
  REFUSED(ImageFolderWriter(set, m), "cannot read the folder: Not a directory");
  REFUSED(ImageFolderWriter(set, m), images.string());
  fs::remove(images);
  {
    ImageFolderWriter writer(set, m);
    write_file_atomic(images, "x");
    REFUSED(writer.write(std::vector{make_image(m, {0, 0})}), "cannot create the folder");
    fs::remove(images);
  }
  BOOST_TEST(write_some(set, m));
  fs::remove_all(set / "images" / "aside");
  folder.write("file", "x");
  REFUSED(ImageFolderWriter(folder.path / "file", m), "cannot create the folder");
  REFUSED(ImageFolderWriter("/proc/set", m), "cannot create the folder");
  BOOST_TEST(read_file(list) == good);
}

BOOST_AUTO_TEST_CASE(a_full_disk) {
  Folder folder;
  const ImageFolderManifest m = manifest(25);
  write_some(folder.path / "whole", m);
  // The kernel refuses bytes beyond a limit as it does on a full disk.
  const auto before = ::signal(SIGXFSZ, SIG_IGN);
  rlimit old;
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto refused = [&](rlim_t bytes, const std::string& file, auto write) {
    rlimit limited = old;
    limited.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limited);
    const std::string said = error_of(write);
    ::setrlimit(RLIMIT_FSIZE, &old);
    BOOST_TEST(said.find("cannot write the file: File too large") != said.npos, said);
    BOOST_TEST(said.find(file + "\n") != said.npos, said << " lacks " << file);
  };
  const fs::path set = folder.path / "set";
  refused(300, "dataset.json", [&] { write_some(set, m); });
  refused(6'000, "00000.jsonl", [&] { write_some(set, m); });
  refused(6'000, "000000.png", [&] {
    FolderImage image = make_image(m, {1, 0});
    image.pixels = Tensor<u8, 3>({64, 64, 3});
    for (i64 i = 0; i < image.pixels.size(); ++i) image.pixels.data()[i] = u8(Stream(1, "noise").word(u64(i)));
    ImageFolderWriter(set, m).write(std::vector{image});
  });
  ::signal(SIGXFSZ, before);
  BOOST_TEST(write_some(folder.path / "set", m));
  BOOST_TEST((contents(folder.path / "set") == contents(folder.path / "whole")));
}

BOOST_AUTO_TEST_SUITE_END()
