// data/shards.hpp: the same bytes however the set is divided, interrupted or grown, lines of images included; a killed writer
// leaves nothing half-written; two writers of one part exclude each other; everything wrong with a folder is found when it is
// read. io/hash.hpp: the published test vectors.
#include <mindgap/core/random.hpp>
#include <mindgap/data/image_records.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/safetensors.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// Names that have broken other tools.
const std::vector<std::string> names = {"T-shirt, \"top\"",
                                        "a/b \\ c",
                                        "Gr\xc3\xbc\xc3\x9f"
                                        "e",
                                        "\xf0\x9f\x91\x9f",
                                        " ",
                                        "10",
                                        "2"};

ShardManifest manifest(i64 images_per_class) {
  ShardManifest m;
  m.class_names = names;
  m.images_per_class = images_per_class;
  m.height = 4, m.width = 3, m.channels = 1;
  m.generator = sha256("generator");
  m.sampler = "ddim eta=0";
  m.steps = 15;
  m.guidance = 1.5;
  m.seed = ~u64(0);
  m.precision = "f32";
  m.chunk_size = 10;
  return m;
}

// Of a set whose images have lines.
ShardManifest lined(i64 images_per_class) {
  ShardManifest m = manifest(images_per_class);
  m.lines = ShardLines{names, std::vector<std::string>(names.size(), "prompts"), {{"height", i64(4)}, {"prompts", "clip"}}};
  return m;
}

std::vector<Fields> fields_of(const ShardManifest& m, i64 begin, i64 end) {
  std::vector<Fields> out;
  for (i64 p = begin; p < end && m.lines; ++p)
    out.push_back(
        {{"prompt", text("a \"photo\" of ", m.lines->names[size_t(m.label(p))], ", ", m.index(p))}, {"tokens", i64(5)}});
  return out;
}

// Stands for the sampler: an image is a function of (seed, class, index) alone.
Tensor<u8, 4, Cpu> make_images(const ShardManifest& m, i64 begin, i64 end) {
  Tensor<u8, 4, Cpu> out(Shape(end - begin, m.height, m.width, m.channels));
  for (i64 p = begin; p < end; ++p) {
    const Stream stream(m.seed, "image", u64(m.label(p)), u64(m.index(p)));
    for (i64 i = 0; i < 12; ++i) out.data()[(p - begin) * 12 + i] = u8(stream.word(u64(i)));
  }
  return out;
}

void write_all(const fs::path& folder, const ShardManifest& m, i64 part = 0, i64 parts = 1, i64 at_most = 1 << 20) {
  const ShardWriter writer(folder, m, part, parts);
  for (const PendingChunk& chunk : writer.pending()) {
    if (at_most-- == 0) return;
    writer.write(chunk, make_images(m, chunk.begin, chunk.end), "", fields_of(m, chunk.begin, chunk.end));
  }
  writer.finish();
}

std::vector<ImageRecord> records_of(const fs::path& folder) {
  std::vector<ImageRecord> out;
  read_image_records(folder, [&](const ImageRecord& r) { out.push_back(r); });
  return out;
}

// Every file of the folder by name, so that leftovers count as differences.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& item : fs::directory_iterator(folder)) out[item.path().filename().string()] = read_file(item.path());
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sha256_digits)

BOOST_AUTO_TEST_CASE(published_vectors) {
  BOOST_TEST(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  BOOST_TEST(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 million;
  for (int i = 0; i < 1000; ++i) million.update(std::string(1000, 'a'));
  BOOST_TEST(million.hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(shard_folders)

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
  Folder folder;
  const ShardManifest m = manifest(5);
  write_all(folder.path / "a", m);
  const Dataset set = load_dataset((folder.path / "a").string(), "train");
  BOOST_TEST(set.size() == 35);
  BOOST_TEST((set.class_names == names));
  BOOST_TEST(set.name == "a");
  BOOST_TEST(same_bits(all_images(set), make_images(m, 0, 35)));
  for (i64 count : class_counts(set)) BOOST_TEST(count == 5);
  BOOST_TEST(set.provenance.find("ddim eta=0, 15 steps, guidance 1.5, seed 18446744073709551615, f32") != std::string::npos,
             set.provenance);
  REFUSED(load_dataset((folder.path / "a").string(), "test"), "one split, train");
  const ShardManifest there = read_shard_manifest(folder.path / "a");
  BOOST_TEST(there.seed == ~u64(0));
  BOOST_TEST(there.guidance == 1.5);
  const Safetensors chunk(folder.path / "a" / "chunk-00003.safetensors");
  BOOST_TEST((chunk.tensor<i64, 1>("labels").to_vector() == std::vector<i64>{2, 3, 4, 5, 6}));
  BOOST_TEST((chunk.tensor<i64, 1>("indices").to_vector() == std::vector<i64>{4, 4, 4, 4, 4}));
}

BOOST_AUTO_TEST_CASE(division_and_order_do_not_matter) {
  Folder folder;
  const ShardManifest m = manifest(9);
  write_all(folder.path / "one", m);
  for (i64 part : {2, 0, 1}) write_all(folder.path / "three", m, part, 3);
  for (i64 part = 99; part >= 0; --part) write_all(folder.path / "hundred", m, part, 100);  // more parts than chunks
  BOOST_TEST((contents(folder.path / "one") == contents(folder.path / "three")));
  BOOST_TEST((contents(folder.path / "one") == contents(folder.path / "hundred")));
  REFUSED(write_all(folder.path / "x", m, 3, 3), "no part 3 of 3");
  REFUSED(write_all(folder.path / "x", m, 0, 0), "no part 0 of 0");
  REFUSED(write_all(folder.path / "x", m, -1, 3), "no part -1 of 3");
}

BOOST_AUTO_TEST_CASE(an_interrupted_set_is_continued) {
  Folder folder;
  const ShardManifest m = manifest(9);
  write_all(folder.path / "whole", m);
  write_all(folder.path / "parts", m, 0, 1, 3);
  REFUSED(read_shard_folder(folder.path / "parts"), "4 of 7 chunks are missing");
  const ShardWriter writer(folder.path / "parts", m);
  BOOST_TEST(writer.pending().size() == 4u);
  BOOST_TEST(writer.part_images() == 63);
  BOOST_TEST(writer.pending_images() == 33);
  for (const PendingChunk& chunk : writer.pending()) writer.write(chunk, make_images(m, chunk.begin, chunk.end));
  BOOST_TEST(
      same_bits(all_images(read_shard_folder(folder.path / "parts")), all_images(read_shard_folder(folder.path / "whole"))));
}

BOOST_AUTO_TEST_CASE(a_set_grows_and_keeps_its_images) {
  Folder folder;
  write_all(folder.path / "large", manifest(11));
  write_all(folder.path / "small", manifest(4));
  {
    const ShardWriter writer(folder.path / "small", manifest(11));
    BOOST_TEST(writer.pending_images() == 7 * (11 - 4));
    BOOST_TEST(writer.pending()[0].begin == 28);                        // in the middle of chunk 2
    BOOST_TEST(read_shard_folder(folder.path / "small").size() == 28);  // as it was, until a chunk is written
    writer.write(writer.pending()[0], make_images(manifest(11), 28, 30));
  }
  REFUSED(read_shard_folder(folder.path / "small"), "5 of 8 chunks are missing or short");
  write_all(folder.path / "small", manifest(11));
  BOOST_TEST((contents(folder.path / "large") == contents(folder.path / "small")));
  REFUSED(ShardWriter(folder.path / "small", manifest(10)), "a set does not shrink");
}

// Of two that begin a set at once, with different settings or numbers of images, the first chunk decides.
BOOST_AUTO_TEST_CASE(two_begin_a_set) {
  Folder folder;
  const fs::path set = folder.path / "new" / "set";
  ShardManifest other = manifest(4), larger = manifest(9);
  other.seed = 1;
  {
    const ShardWriter first(set, manifest(4), 0, 2), second(set, other, 1, 2);
    first.write(first.pending()[0], make_images(manifest(4), 0, 10));
    const PendingChunk chunk = second.pending()[0];
    REFUSED(second.write(chunk, make_images(other, chunk.begin, chunk.end)), "seed");
  }
  {
    const ShardWriter small(set, manifest(4), 0, 2), large(set, larger, 1, 2);
    large.write(large.pending()[0], make_images(larger, 10, 20));
    small.write(small.pending()[0], make_images(manifest(4), 20, 28));
    BOOST_TEST(read_shard_manifest(set).images_per_class == 9);
  }
  fs::remove_all(folder.path / "new");
  { const ShardWriter idle(set, manifest(4)); }
  BOOST_TEST(!fs::exists(folder.path / "new"));
}

BOOST_AUTO_TEST_CASE(other_settings_are_refused_and_listed) {
  Folder folder;
  write_all(folder.path, manifest(2));
  ShardManifest other = manifest(2);
  other.seed = 1;
  other.sampler = "euler";
  const std::string said = error_of([&] { ShardWriter(folder.path, other); });
  BOOST_TEST(said.find("seed    there 18446744073709551615, now 1") != said.npos, said);
  BOOST_TEST(said.find("sampler there \"ddim eta=0\", now \"euler\"") != said.npos, said);
  BOOST_TEST(said.find("steps") == said.npos, said);
  other = manifest(2);
  std::swap(other.class_names[0], other.class_names[1]);
  REFUSED(ShardWriter(folder.path, other), "number 0 is 'T-shirt, \"top\"'");
  REFUSED(ShardWriter(folder.path, other), "number 0 is 'a/b \\ c'");
}

BOOST_AUTO_TEST_CASE(manifests_of_the_program_are_checked) {
  Folder folder;
  const auto refused = [&](auto change, const char* words) {
    ShardManifest m = manifest(2);
    change(m);
    REFUSED(ShardWriter(folder.path / "x", m), words);
  };
  refused([](auto& m) { m.class_names.clear(); }, "class list is empty");
  refused([](auto& m) { m.class_names[3] = m.class_names[1]; }, "there twice");
  refused([](auto& m) { m.class_names[3] = ""; }, "class name is empty");
  refused([](auto& m) { m.class_names[3] = "\xff"; }, "UTF-8");
  refused([](auto& m) { m.images_per_class = 0; }, "images_per_class is 0");
  refused([](auto& m) { m.guidance = HUGE_VAL; }, "guidance is not finite");
}

BOOST_AUTO_TEST_CASE(two_writers_of_one_part) {
  Folder folder;
  const ShardManifest m = manifest(5);
  {
    const ShardWriter first(folder.path, m, 1, 2);
    REFUSED(ShardWriter(folder.path, m, 1, 2), "another process writes part 1 of 2");
    REFUSED(ShardWriter(folder.path, m, 0, 3), "in another number of parts");
    REFUSED(ShardWriter(folder.path, m), "in another number of parts");
    write_all(folder.path, m, 0, 2);  // the other part is free
  }
  write_all(folder.path, m, 1, 2);
  BOOST_TEST(read_shard_folder(folder.path).size() == 35);
  BOOST_TEST(contents(folder.path).size() == 5u);  // dataset.json and 4 chunks: no lock stays
}

BOOST_AUTO_TEST_CASE(killed_at_any_moment) {
  Folder folder;
  const ShardManifest m = lined(40);
  write_all(folder.path / "whole", m);
  BOOST_TEST(records_of(folder.path / "whole").size() == 280u);
  for (int parts : {1, 2}) {
    const fs::path path = folder.path / std::to_string(parts);
    for (u64 attempt = 0; attempt < 40; ++attempt) {
      std::vector<pid_t> children;
      for (int part = 0; part < parts; ++part) {
        const pid_t child = ::fork();
        if (child == 0) {
          try {
            write_all(path, m, part, parts);
          } catch (...) {
            ::_exit(1);
          }
          ::_exit(0);
        }
        children.push_back(child);
      }
      ::usleep(useconds_t(Stream(7, "kill", attempt).below(0, 4000)));
      for (pid_t child : children) {
        ::kill(child, SIGKILL);
        int status;
        ::waitpid(child, &status, 0);
        BOOST_TEST(!(WIFEXITED(status) && WEXITSTATUS(status) != 0));  // a resumed writer never complains
      }
      if (fs::exists(path))
        for (const auto& [name, bytes] : contents(path))
          if (name.ends_with(".safetensors")) Safetensors{path / name};  // whole or absent
    }
    for (int part = 0; part < parts; ++part) write_all(path, m, part, parts);
    for (int part = 0; part < parts; ++part) write_all(path, m, part, parts);
    BOOST_TEST((contents(path) == contents(folder.path / "whole")));
  }
}

// What the lines say, in the order of the chunks; and the same lines however the set was divided or grown.
BOOST_AUTO_TEST_CASE(lines) {
  Folder folder;
  const ShardManifest m = lined(9);
  write_all(folder.path / "whole", m);
  const auto whole = contents(folder.path / "whole");
  BOOST_TEST(whole.size() == 1u + 7 + 1);  // dataset.json, chunks, manifest.jsonl
  std::string list;
  for (i64 k = 0; k < 7; ++k)
    for (u8 c : Safetensors(folder.path / "whole" / text("chunk-0000", k, ".safetensors")).tensor<u8, 1>("lines").to_vector())
      list += char(c);
  BOOST_TEST(whole.at("manifest.jsonl") == list);

  const std::vector<ImageRecord> records = records_of(folder.path / "whole");
  BOOST_REQUIRE(records.size() == 63u);
  for (i64 p = 0; p < 63; ++p) {
    const ImageRecord& r = records[size_t(p)];
    BOOST_TEST((r.class_id == names[size_t(p % 7)] && r.name == r.class_id && r.index == p / 7));
    BOOST_TEST((r.file == text("chunk-0000", p / 10, ".safetensors") && r.place == p % 10));
    const Tensor<u8, 4, Cpu> image = make_images(m, p, p + 1);
    BOOST_TEST(r.sha256 == pixels_sha256(reshape(image, Shape<3>(4, 3, 1))));
    const Fields wanted{{"prompt", text("a \"photo\" of ", r.name, ", ", r.index)},
                        {"tokens", u64(5)},
                        {"height", u64(4)},
                        {"prompts", "clip"},
                        {"weights", m.generator},
                        {"sampler", m.sampler},
                        {"steps", u64(15)},
                        {"guidance", 1.5},
                        {"seed", ~u64(0)},
                        {"precision", "f32"},
                        {"version", std::string(version)}};
    BOOST_TEST(r.fields.size() == wanted.size());
    for (const auto& [key, value] : wanted) BOOST_TEST(field_text(r.fields.at(key)) == field_text(value), key);
    const ImageRecord one = read_image_record(folder.path / "whole", r.class_id, r.index);
    BOOST_TEST((one.place == r.place && one.sha256 == r.sha256));
  }
  REFUSED(read_image_record(folder.path / "whole", "crane", 0), "shard folder: there is no class 'crane'");
  REFUSED(read_image_record(folder.path / "whole", " ", 9), "a class has images 0 to 8");

  for (i64 part : {2, 0, 1}) {
    BOOST_TEST(!fs::exists(folder.path / "parts" / "manifest.jsonl"));
    write_all(folder.path / "parts", m, part, 3);
  }
  BOOST_TEST((contents(folder.path / "parts") == whole));
  write_all(folder.path / "stopped", m, 0, 1, 3);
  REFUSED(records_of(folder.path / "stopped"), "the set is not complete");
  BOOST_TEST(read_image_record(folder.path / "stopped", names[0], 4).index == 4);
  REFUSED(read_image_record(folder.path / "stopped", names[2], 4), "is not made yet");
  write_all(folder.path / "stopped", m);
  BOOST_TEST((contents(folder.path / "stopped") == whole));
  write_all(folder.path / "grown", lined(4));
  BOOST_TEST(records_of(folder.path / "grown").size() == 28u);
  write_all(folder.path / "grown", m, 0, 1, 1);
  BOOST_TEST(!fs::exists(folder.path / "grown" / "manifest.jsonl"));
  write_all(folder.path / "grown", m);
  BOOST_TEST((contents(folder.path / "grown") == whole));
  // A list that is lost is made again, with no image.
  fs::remove(folder.path / "grown" / "manifest.jsonl");
  {
    const ShardWriter writer(folder.path / "grown", m);
    BOOST_TEST(writer.pending().empty());
    writer.finish();
  }
  BOOST_TEST((contents(folder.path / "grown") == whole));
  // A part of the smaller set lists no larger one.
  {
    const ShardWriter small(folder.path / "late", lined(4), 0, 2);
    for (const PendingChunk& chunk : small.pending())
      small.write(chunk, make_images(m, chunk.begin, chunk.end), "", fields_of(m, chunk.begin, chunk.end));
    write_all(folder.path / "late", m, 1, 2);
    small.finish();
    BOOST_TEST(!fs::exists(folder.path / "late" / "manifest.jsonl"));
  }
  write_all(folder.path / "late", m, 0, 2);
  BOOST_TEST((contents(folder.path / "late") == whole));
}

// A set without lines is data as before; lines cannot be had later, and are not lost on the way.
BOOST_AUTO_TEST_CASE(sets_without_lines) {
  Folder folder;
  write_all(folder.path / "without", manifest(4));
  const auto before = contents(folder.path / "without");
  BOOST_TEST(!before.contains("manifest.jsonl"));
  BOOST_TEST(before.at("dataset.json").find("lines") == std::string::npos);
  REFUSED(ShardWriter(folder.path / "without", lined(9)), "the images that are there have no lines");
  REFUSED(ShardWriter(folder.path / "without", lined(9)), "make the set in another folder");
  REFUSED(read_image_record(folder.path / "without", names[0], 0), "its images have no lines");
  REFUSED(records_of(folder.path / "without"), "its images have no lines");
  BOOST_TEST(read_shard_folder(folder.path / "without").size() == 28);
  write_file_atomic(folder.path / "without" / "manifest.jsonl", "somebody's");
  write_all(folder.path / "without", manifest(5));
  BOOST_TEST(read_file(folder.path / "without" / "manifest.jsonl") == "somebody's");
  BOOST_TEST(read_shard_folder(folder.path / "without").size() == 35);

  write_all(folder.path / "with", lined(4));
  REFUSED(ShardWriter(folder.path / "with", manifest(9)), "lines   there one an image, now none");
  ShardManifest other = lined(4);
  other.lines->settings["height"] = i64(5);
  other.lines->settings.erase("prompts");
  other.lines->names[4] = "space";
  other.lines->shows[6] = "others";
  const std::string said = error_of([&] { ShardWriter(folder.path / "with", other); });
  for (const char* line : {"height  there 4, now 5", "prompts there \"clip\", now absent",
                           "class ' ' there named ' ', now 'space'", "class '2' there with the prompts 'prompts', now 'others'"})
    BOOST_TEST(said.find(line) != said.npos, said << " lacks " << line);
}

BOOST_AUTO_TEST_CASE(lines_of_the_program_are_checked) {
  Folder folder;
  const auto refused = [&](auto change, const char* words) {
    ShardManifest m = lined(2);
    change(m);
    REFUSED(ShardWriter(folder.path / "x", m), words);
  };
  refused([](auto& m) { m.lines->names.pop_back(); }, "lines has 6 names or hashes for 7 classes");
  refused([](auto& m) { m.lines->shows.push_back(""); }, "lines has 8 names or hashes for 7 classes");
  refused([](auto& m) { m.lines->settings["seed"] = u64(1); }, "lines.settings has 'seed'");
  refused([](auto& m) { m.lines->settings["place"] = i64(1); }, "'place' is the line's own");
  refused([](auto& m) { m.lines->names[0] = "\xff"; }, "UTF-8");
  const ShardManifest m = lined(2);
  const ShardWriter writer(folder.path / "x", m);
  const PendingChunk chunk = writer.pending()[0];
  const auto write = [&](const std::vector<Fields>& fields) {
    writer.write(chunk, make_images(m, chunk.begin, chunk.end), "", fields);
  };
  REFUSED(write({}), "chunk 0 wants the fields of 10 images, there are 0");
  REFUSED(write(std::vector<Fields>(10, {{"height", i64(1)}})), "'height' is one of the set's settings");
  REFUSED(write(std::vector<Fields>(10, {{"seed", i64(1)}})), "'seed' is one of the set's settings");
  BOOST_TEST(contents(folder.path / "x").size() == 1u);  // the lock
}

BOOST_AUTO_TEST_CASE(damaged_lines) {
  Folder folder;
  const ShardManifest m = lined(5);
  write_all(folder.path, m);
  const fs::path path = folder.path / "chunk-00001.safetensors";
  const std::string good = read_file(path), list = read_file(folder.path / "manifest.jsonl");
  const auto changed = [&](const std::function<void(std::string & lines, std::vector<SafetensorsSource> & sources)>& change) {
    write_file_atomic(path, good);
    const Safetensors file(path);
    const auto images = file.tensor<u8, 4>("images");
    const auto labels = file.tensor<i64, 1>("labels"), indices = file.tensor<i64, 1>("indices");
    std::string lines;
    for (u8 c : file.tensor<u8, 1>("lines").to_vector()) lines += char(c);
    std::vector<SafetensorsSource> sources{safetensors_source("images", images), safetensors_source("labels", labels),
                                           safetensors_source("indices", indices)};
    change(lines, sources);
    if (!lines.empty()) sources.push_back({"lines", DType::u8, {i64(lines.size())}, std::as_bytes(std::span(lines))});
    write_safetensors(path, sources, file.metadata());
    fs::remove(folder.path / "manifest.jsonl");
  };
  const auto refused = [&](auto change, const std::string& words) {
    changed([&](std::string& lines, auto&) { change(lines); });
    for (const std::string& part : {words, path.string()}) {
      REFUSED(ShardWriter(folder.path, m), part);
      REFUSED(read_image_record(folder.path, names[5], 1), part);
    }
    BOOST_TEST(read_shard_folder(folder.path).size() == 35);  // the data are what they were
  };
  refused([](auto& lines) { lines[30] ^= 1; }, "line 1 of the chunk: the line is damaged");
  refused([](auto& lines) { lines.pop_back(); }, "line 10 of the chunk: it is truncated");
  refused([](auto& lines) { lines.clear(); }, "the chunk has no lines of its images");
  refused([](auto& lines) { lines = "\n"; }, "line 1 of the chunk: the line is damaged");
  refused([](auto& lines) { lines += lines.substr(0, lines.find('\n') + 1); }, "line 11 of the chunk: there are more lines");
  refused([](auto& lines) { lines.erase(0, lines.find('\n') + 1); }, "line 1 of the chunk: the line is not that of an image");
  refused([](auto& lines) { lines.erase(lines.rfind('\n', lines.size() - 2) + 1); }, "line 10 of the chunk: it is missing");
  write_file_atomic(path, good);
  write_all(folder.path, m);
  BOOST_TEST(read_file(folder.path / "manifest.jsonl") == list);

  // One pixel, of an image and of its neighbour.
  std::string bad = good;
  const Safetensors file(path);
  const auto pixels = file.at("images").bytes;
  bad[good.find(std::string(reinterpret_cast<const char*>(pixels.data()), pixels.size()))] ^= 1;
  write_file_atomic(path, bad);
  REFUSED(read_image_record(folder.path, names[10 % 7], 10 / 7), "the image at place 0 has other pixels than its line says");
  BOOST_TEST((read_image_record(folder.path, names[11 % 7], 11 / 7).place == 1));
  write_file_atomic(path, good);

  write_file_atomic(folder.path / "manifest.jsonl", list.substr(list.find('\n') + 1));
  REFUSED(records_of(folder.path), "manifest.jsonl:1");
  write_file_atomic(folder.path / "manifest.jsonl", list + list.substr(0, list.find('\n') + 1));
  REFUSED(records_of(folder.path), "there are more lines than images, which are 35");
}

BOOST_AUTO_TEST_CASE(damaged_folders) {
  Folder folder;
  const ShardManifest m = manifest(5);
  write_all(folder.path, m);
  const fs::path chunk = folder.path / "chunk-00001.safetensors";
  const std::string good = read_file(chunk), json = read_file(folder.path / "dataset.json");

  std::string bad = good;
  bad.back() = char(bad.back() ^ 1);  // a pixel
  write_file_atomic(chunk, bad);
  {
    // Found by whoever reads the first of its images, and by all after them; other chunks are good.
    const Dataset set = read_shard_folder(folder.path);
    BOOST_TEST(set.resident());
    for (i64 i = 0; i < set.size(); ++i) {
      if (i / m.chunk_size == 1) {
        REFUSED(set.image(i), "contents do not have its hash");
        REFUSED(set.image(i), chunk.string());
      } else {
        BOOST_TEST((set.image(i).shape == Shape(4, 3, 1)));
      }
    }
    REFUSED(all_images(set), "contents do not have its hash");
    REFUSED(all_images(select(set, {0, 19})), "contents do not have its hash");
    REFUSED(content_hash(set), "contents do not have its hash");
    BOOST_TEST(all_images(select(set, {0, 20})).size() == 24);
  }
  REFUSED(ShardWriter(folder.path, m), "contents do not have its hash");
  write_file_atomic(chunk, std::string_view(good).substr(0, good.size() - 1));
  REFUSED(read_shard_folder(folder.path), "truncated");
  write_file_atomic(chunk, read_file(folder.path / "chunk-00002.safetensors"));
  REFUSED(read_shard_folder(folder.path), "place 0 holds image");
  ShardManifest other = m;
  other.seed = 5;
  write_all(folder.path / "other", other);
  write_file_atomic(chunk, read_file(folder.path / "other" / "chunk-00001.safetensors"));
  REFUSED(read_shard_folder(folder.path), "other settings");
  fs::remove(chunk);
  REFUSED(read_shard_folder(folder.path), "1 of 4 chunks are missing");
  REFUSED(read_shard_folder(folder.path), "chunks  chunk-00001.safetensors\n");
  write_file_atomic(chunk, good);
  BOOST_TEST(same_bits(all_images(read_shard_folder(folder.path)), make_images(m, 0, 35)));

  // A label is checked before any image is read.
  bad = good;
  const Safetensors file(chunk);
  const auto labels = file.at("labels").bytes;
  const std::string of_label(reinterpret_cast<const char*>(labels.data()), labels.size());
  bad[bad.find(of_label)] ^= 1;
  write_file_atomic(chunk, bad);
  REFUSED(read_shard_folder(folder.path), "place 0 holds image");
  write_file_atomic(chunk, good);

  const auto with_json = [&](const std::string& from, const std::string& to, const std::string& chunks = "4") {
    std::string changed = json;
    for (const auto& [old, now] : {std::pair(from, to), {"\"chunks\": 4", "\"chunks\": " + chunks}}) {
      const size_t at = changed.find(old);
      BOOST_REQUIRE(at != changed.npos);
      changed.replace(at, old.size(), now);
    }
    write_file_atomic(folder.path / "dataset.json", changed);
    return error_of([&] { read_shard_folder(folder.path); });
  };
  BOOST_TEST(with_json("\"seed\"", "\"seed\"", "5").find("chunks is 5, but 35 images in chunks of 10 are 4") !=
             std::string::npos);
  BOOST_TEST(with_json("\"chunk_size\": 10", "\"chunk_size\": 20").find("35 images in chunks of 20 are 2") != std::string::npos);
  // A set that shrank: its chunks have images, or are files, that dataset.json knows nothing of.
  BOOST_TEST(with_json("\"images_per_class\": 5", "\"images_per_class\": 4", "3").find("a chunk has ") != std::string::npos);
  BOOST_TEST(with_json("\"images_per_class\": 5", "\"images_per_class\": 4", "3").find("by dataset.json it has ") !=
             std::string::npos);
  BOOST_TEST(with_json("\"steps\": 15", "\"steps\": -1").find("steps is -1") != std::string::npos);
  BOOST_TEST(with_json("\"steps\": 15", "\"steps\": 16").find("other settings") != std::string::npos);
  BOOST_TEST(with_json("\"seed\"", "\"sed\"").find("seed is missing") != std::string::npos);
  BOOST_TEST(with_json("\"class_names\": [", "\"class_names\": [3, ").find("class_names[0] is 3, wanted a string") !=
             std::string::npos);
  BOOST_TEST(with_json("\"class_names\": [", "\"class_names\": [], \"spare\": [").find("there is no key 'spare'") !=
             std::string::npos);
  BOOST_TEST(with_json("shards 1", "shards 2").find("format is \"mindgap shards 2\"") != std::string::npos);
  BOOST_TEST(with_json("}", "").find("truncated") != std::string::npos);
  // A manifest that promises millions is refused as quickly: only the files that are there are looked at.
  BOOST_TEST(with_json("\"images_per_class\": 5", "\"images_per_class\": 30000000", "21000000").find("chunks are missing") !=
             std::string::npos);
  BOOST_TEST(with_json("\"images_per_class\": 5", "\"images_per_class\": 4000000000").find("wanted 1 to 268435456") !=
             std::string::npos);
  BOOST_TEST(with_json("\"images_per_class\": 5", "\"images_per_class\": 50", "35").find("32 of 35 chunks are missing") !=
             std::string::npos);
  fs::remove(folder.path / "dataset.json");
  REFUSED(ShardWriter(folder.path, m), "chunks but no dataset.json");
}

BOOST_AUTO_TEST_SUITE_END()
