// sample with Stable Diffusion: an image depends on the model, the seed, its class, its number and the settings alone; a set is
// whole after any kill.
#include <mindgap/data/png.hpp>
#include <mindgap/data/resample.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/io/safetensors.hpp>

#include "tests/apps/sample_sets.hpp"
#include <sys/stat.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// Of the environment of a run, and nothing else of a launcher's.
std::function<void()> environment(const std::map<std::string, std::string>& variables) {
  return [=] {
    for (const char* name : {"SLURM_ARRAY_TASK_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"}) ::unsetenv(name);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sample_prompts)

// 135 images in pieces of 20: made at once, by three processes, in other batches, after growing, and of classes that came later.
BOOST_FIXTURE_TEST_CASE(same_bytes_however_divided, Sets) {
  const Arguments settings{"--sampler", "euler_a", "--seed", "5", "--prompts", "clip"};
  run_well("sample", set("whole", "45", settings));
  const auto whole = contents(path / "whole");
  BOOST_TEST(whole.size() == 135 + 9 + 2);

  for (const char* part : {"2/3", "0/3", "1/3"}) run_well("sample", set("parts", "45", settings + Arguments{"--shard", part}));
  BOOST_TEST((contents(path / "parts") == whole));
  run_well("sample", set("batch", "45", settings + Arguments{"--batch", "7"}));
  BOOST_TEST((contents(path / "batch") == whole));
  run_well("sample", set("invariant", "45", settings + Arguments{"--batch-invariant"}));
  BOOST_TEST((contents(path / "invariant") == whole));

  run_well("sample", set("grown", "3", settings));
  run_well("sample", set("grown", "21", settings + Arguments{"--batch", "4", "--shard", "1/2"}));
  run_well("sample", set("grown", "45", settings));
  BOOST_TEST((contents(path / "grown") == whole));

  const Result smaller = run("sample", set("grown", "5", settings));
  BOOST_TEST(smaller.code == 1, smaller);
  const Result other = run("sample", set("grown", "45", {"--sampler", "euler_a", "--seed", "6", "--prompts", "clip"}));
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST(other.says("seed    there 5, now 6"), other);
  BOOST_TEST((contents(path / "grown") == whole));

  write("classes.txt", "newt\nbird\ncat\ndog\n");
  run_well("sample", set("grown", "45", settings));
  run_well("sample", set("fresh", "45", settings));
  const auto grown = contents(path / "grown");
  BOOST_TEST((contents(path / "fresh") == grown));
  for (const auto& [file, bytes] : whole)
    if (file.starts_with("images") || file.starts_with("manifest/")) BOOST_TEST((grown.at(file) == bytes), file);
}

BOOST_FIXTURE_TEST_CASE(killed_and_resumed, Sets) {
  const Arguments settings{"--steps", "10"};
  run_well("sample", set("whole", "30", settings));
  for (int signal : {SIGKILL, SIGTERM}) {
    const std::string out = std::to_string(signal);
    Process first("sample", set(out, "30", settings));
    first.wait_for(path / out / "manifest" / "cat" / "00000.jsonl");
    const Result stopped = first.kill(signal);
    BOOST_TEST(stopped.code == (signal == SIGKILL ? 128 + SIGKILL : 130), stopped);
    BOOST_TEST(!fs::exists(path / out / "manifest.jsonl"));
    // A file that somebody has removed is made again, too.
    fs::remove(path / out / "images" / "cat" / "000000.png");
    run_well("sample", set(out, "30", settings));
    BOOST_TEST((contents(path / out) == contents(path / "whole")));
  }
}

// In the middle of a step that takes seconds.
BOOST_FIXTURE_TEST_CASE(interrupted_within_two_seconds, Sets) {
  for (const Arguments& flags : {prompt("x.png", "a cat", {"--size", "256"}), set("out", "2", {"--size", "256"})}) {
    Process p("sample", flags);
    p.wait_for_handler(SIGINT);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto start = std::chrono::steady_clock::now();
    const Result r = p.kill(SIGINT);
    BOOST_TEST(r.code == 130, r);
    BOOST_TEST((std::chrono::steady_clock::now() - start < std::chrono::seconds(2)), r);
    BOOST_TEST(r.says("told to stop"), r);
  }
  BOOST_TEST(!fs::exists(path / "x.png"));
}

// Pieces and images are whole: what was made of them is made again where it is not what they say.
BOOST_FIXTURE_TEST_CASE(a_manifest_that_was_cut, Sets) {
  for (const Arguments& format : {Arguments{}, {"--format", "shards"}}) {
    const std::string out = format.empty() ? "files" : "shards";
    run_well("sample", set(out, "3", format));
    const auto before = contents(path / out);
    const fs::path in_the_way = path / out / "manifest.jsonl.tmp";
    fs::create_directory(in_the_way);  // a whole set is not written to
    run_well("sample", set(out, "3", format));
    fs::remove(in_the_way);
    std::string altered = before.at("manifest.jsonl");
    altered[altered.size() / 2] ^= 1;
    for (const std::string& bad : {altered.substr(0, 500), std::string(), altered, before.at("manifest.jsonl") + "{}\n"}) {
      write_file_atomic(path / out / "manifest.jsonl", bad);
      run_well("sample", set(out, "3", format));
      BOOST_TEST((contents(path / out) == before), out);
    }
  }
  // What is no file is no image and no piece, and nobody waits for it.
  for (const char* name : {"images/dog/000001.png", "manifest/dog/00000.jsonl", "manifest.jsonl"}) {
    const auto before = contents(path / "files");
    fs::remove(path / "files" / name);
    BOOST_REQUIRE(::mkfifo((path / "files" / name).c_str(), 0600) == 0);
    run_well("sample", set("files", "3"));
    BOOST_TEST((contents(path / "files") == before), name);
  }
}

BOOST_FIXTURE_TEST_CASE(one_image_again, Sets) {
  run_well("sample", set("out", "3"));
  const auto before = contents(path / "out");
  const std::string same = run_well("sample", set("out", "3", {"--only", "dog:2"}));
  BOOST_TEST(same.find(line("out", "dog", 2).at("sha256").get<std::string>() + " matches") != same.npos, same);
  // A whole image in the place of another.
  const fs::path file = path / "out/images/dog/000002.png", kept = path / "kept.png";
  fs::rename(file, kept), fs::copy_file(path / "out/images/dog/000001.png", file);
  const Result swapped = run("sample", set("out", "3", {"--only", "dog:2"}));
  BOOST_TEST((swapped.code == 1 && swapped.says("other pixels than its line says") && swapped.says(file.string())), swapped);
  fs::rename(kept, file);
  const Result other = run("sample", set("out", "3", {"--only", "dog:2", "--steps", "3"}));
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST((other.says("image 2 of class 'dog' is another one now") && other.says("000002.png")), other);
  for (const auto& [only, code, said] : {std::tuple("dog:3", 1, "images 0 to 2"),
                                         {"cow:0", 2, "--only"},
                                         {"dog", 2, "--only"},
                                         {"dog:", 2, "--only"},
                                         {"dog:-1", 2, "--only"},
                                         {"dog:1x", 2, "--only"}}) {
    const Result r = run("sample", set("out", "3", {"--only", only}));
    BOOST_TEST(r.code == code, r);
    BOOST_TEST(r.says(said), r);
  }
  const Result none = run("sample", set("none", "3", {"--only", "dog:2"}));
  BOOST_TEST(none.code == 1, none);
  BOOST_TEST(!fs::exists(path / "none"));
  BOOST_TEST((contents(path / "out") == before));
}

// Parts from mpirun, and from a Slurm array whose ids start at 1; without the flag a launcher changes nothing.
BOOST_FIXTURE_TEST_CASE(automatic_shards, Sets) {
  run_well("sample", set("whole", "21"));
  const auto whole = contents(path / "whole");
  const auto parts = [&](const std::string& out, const std::vector<std::map<std::string, std::string>>& launched) {
    for (size_t i = 0; i < launched.size(); ++i) {
      const Result r = run("sample", set(out, "21", {"--shard", "auto"}), environment(launched[i]));
      BOOST_TEST(r.code == 0, r);
      BOOST_TEST(r.says(text("shard ", i, "/", launched.size())), r);
      BOOST_TEST(fs::exists(path / out / "manifest.jsonl") == (i + 1 == launched.size()));
    }
    BOOST_TEST((contents(path / out) == whole));
  };
  const auto slurm = [](const char* id, const char* first, const char* last, const char* step) {
    return std::map<std::string, std::string>{{"SLURM_ARRAY_TASK_ID", id},
                                              {"SLURM_ARRAY_TASK_MIN", first},
                                              {"SLURM_ARRAY_TASK_MAX", last},
                                              {"SLURM_ARRAY_TASK_STEP", step}};
  };
  parts("mpirun", {{{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
                   {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}}});
  parts("array", {slurm("1", "1", "3", "1"), slurm("2", "1", "3", "1"), slurm("3", "1", "3", "1")});
  parts("step", {slurm("10", "10", "15", "5"), slurm("15", "10", "15", "5")});

  BOOST_TEST(run("sample", set("none", "21"), environment(slurm("2", "1", "3", "1"))).code == 0);
  BOOST_TEST((contents(path / "none") == whole));
  auto gaps = slurm("5", "1", "9", "1");
  gaps["SLURM_ARRAY_TASK_COUNT"] = "3";
  for (const auto& variables : {std::map<std::string, std::string>{},
                                {{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
                                {{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
                                slurm("4", "1", "3", "1"),
                                gaps}) {
    const Result r = run("sample", set("bad", "21", {"--shard", "auto"}), environment(variables));
    BOOST_TEST(r.code == 2, r);
    BOOST_TEST(r.says("--shard"), r);
  }
  for (const char* shard : {"1/1", "-1/2", "1", "a/b", "0/0", "1/2/3", "0/1000000"})
    BOOST_TEST(run("sample", set("bad", "21", {"--shard", shard})).code == 2, shard);
  BOOST_TEST(!fs::exists(path / "bad"));
}

BOOST_FIXTURE_TEST_CASE(second_process, Sets) {
  const Arguments slow{"--steps", "900"};
  Process first("sample", set("out", "50", slow + Arguments{"--shard", "0/2"}));
  first.wait_until([&] { return has_part("out", ".part-0-of-2"); });
  const Result same = run("sample", set("out", "50", slow + Arguments{"--shard", "0/2"}));
  BOOST_TEST(same.code == 1, same);
  BOOST_TEST(same.says("another process"), same);
  const Result all = run("sample", set("out", "50", slow));
  BOOST_TEST(all.code == 1, all);
  BOOST_TEST(all.says("another process"), all);
  BOOST_TEST(first.kill(SIGTERM).code == 130);
}

// The line of an image, the text of its PNG file, JPEG files, another size, and shards that a student learns from.
BOOST_FIXTURE_TEST_CASE(what_is_written, Sets) {
  const Arguments settings{"--guidance", "2.000000001",        "--negative", "blurry",    "--seed",
                           "7",          "--guidance-rescale", "0.7",        "--prompts", "{{a}} photo of a {name}"};
  run_well("sample", set("png", "2", settings));
  const nlohmann::json l = line("png", "cat", 1);
  BOOST_TEST(l.at("prompt") == "{a} photo of a cat");
  BOOST_TEST(l.at("negative_prompt") == "blurry");
  BOOST_TEST(l.at("guidance") == 2.000000001);
  BOOST_TEST(l.at("guidance_rescale") == 0.7);
  BOOST_TEST((l.at("seed") == 7 && l.at("steps") == 2 && l.at("index") == 1 && l.at("width") == 16 && l.at("height") == 16));
  BOOST_TEST((l.at("precision") == "f32" && l.at("device") == "cpu" && l.at("sampler") == "pndm, leading spacing"));
  BOOST_TEST(l.at("tokens").get<i64>() > 4);
  BOOST_TEST(l.at("weights").get<std::string>().size() == 64);
  const std::string file = read_file(path / "png" / l.at("file"));
  BOOST_TEST(l.at("sha256") == pixels_sha256(decode_png(file, "")));
  for (const auto& [key, value] : l.items())
    if (key != "crc32") BOOST_TEST(file.find(key) != file.npos, key);
  for (const char* said : {"{a} photo of a cat", "2.000000001", "blurry"}) BOOST_TEST(file.find(said) != file.npos, said);

  run_well("sample", set("jpeg", "2", settings + Arguments{"--format", "jpeg", "--jpeg-quality", "80", "--store-size", "40"}));
  const fs::path jpeg = path / "jpeg" / "images" / "cat" / "000001.jpg";
  BOOST_TEST((read_image(jpeg).shape() == Shape<3>(40, 40, 3)));
  BOOST_TEST(read_file(jpeg).starts_with("\xff\xd8\xff"));
  const Result quality = run("sample", set("jpeg", "2", settings + Arguments{"--format", "jpeg", "--store-size", "40"}));
  BOOST_TEST(quality.code == 1, quality);
  BOOST_TEST(quality.says("jpeg_quality there 80, now 95"), quality);

  run_well("sample", set("small", "1", settings + Arguments{"--store-size", "8x12", "--size", "16x24"}));
  const auto large = run_well("sample", set("large", "1", settings + Arguments{"--size", "16x24"}));
  const auto pixels = [&](const std::string& out) { return read_image(path / out / "images" / "dog" / "000000.png"); };
  BOOST_TEST((pixels("large").shape() == Shape<3>(24, 16, 3)));
  BOOST_TEST(pixels("small").to_vector() == resample(pixels("large"), 12, 8).to_vector());

  run_well("sample", set("previews", "6", {"--preview", "4"}));
  BOOST_TEST((read_image(path / "previews" / "preview.png").extent(1) >= 4 * 16));

  const Arguments shards = settings + Arguments{"--format", "shards"};
  for (const char* part : {"1/2", "0/2"}) run_well("sample", set("shards", "60", shards + Arguments{"--shard", part}));
  run_well("sample", set("shards at once", "60", shards + Arguments{"--batch", "3"}));
  BOOST_TEST((contents(path / "shards") == contents(path / "shards at once")));
  const Safetensors chunk(path / "shards" / "chunk-00000.safetensors");
  const auto images = chunk.tensor<u8, 4>("images");
  BOOST_TEST((images.shape() == Shape<4>(128, 16, 16, 3)));
  const auto first = Tensor<u8, 3>::from(images.slice(3, 4).to_vector(), Shape<3>(16, 16, 3));  // the second of the first class
  BOOST_TEST(pixels_sha256(first) == l.at("sha256").get<std::string>());
  run_well("train_student", {"--data", (path / "shards").string(), "--out", (path / "student").string(), "--width", "4",
                             "--batch", "60", "--epochs", "1"});
}

// Shards have the lines of a folder of images: the same bytes by one process and by three, and after a kill.
BOOST_FIXTURE_TEST_CASE(lines_of_shards, Sets) {
  const Arguments prompts{"--prompts", "clip", "--seed", "5"}, settings = prompts + Arguments{"--format", "shards"};
  run_well("sample", set("whole", "90", settings));
  const auto whole = contents(path / "whole");
  BOOST_TEST(whole.size() == 3 + 2);  // chunks of 128 images, dataset.json, manifest.jsonl
  for (const char* part : {"2/3", "0/3", "1/3"}) {
    BOOST_TEST(!fs::exists(path / "parts" / "manifest.jsonl"));
    run_well("sample", set("parts", "90", settings + Arguments{"--shard", part}));
  }
  BOOST_TEST((contents(path / "parts") == whole));
  for (int signal : {SIGKILL, SIGTERM}) {
    const std::string out = std::to_string(signal);
    Process first("sample", set(out, "90", settings));
    first.wait_for(path / out / "chunk-00000.safetensors");
    first.kill(signal);
    BOOST_TEST(!fs::exists(path / out / "manifest.jsonl"));
    run_well("sample", set(out, "90", settings));
    BOOST_TEST((contents(path / out) == whole));
  }

  run_well("sample", set("files", "2", prompts));
  i64 images = 0;
  read_image_records(path / "files", [&](const ImageRecord& r) {
    const ImageRecord s = read_image_record(path / "whole", r.class_id, r.index);
    BOOST_TEST((s.name == r.name && s.fields == r.fields && s.sha256 == r.sha256));
    BOOST_TEST((s.file == "chunk-00000.safetensors" && s.place == r.index * 3 + images++ / 2));
  });
  BOOST_TEST(images == 6);
}

BOOST_FIXTURE_TEST_CASE(one_image_of_shards_again, Sets) {
  const Arguments settings{"--format", "shards"};
  run_well("sample", set("out", "50", settings));
  const auto before = contents(path / "out");
  for (const Arguments& format : {settings, Arguments{}}) {  // the folder says which it is
    const std::string same = run_well("sample", set("out", "50", format + Arguments{"--only", "dog:47"}));
    BOOST_TEST(same.find("chunk-00001.safetensors, place 14 ") == 0u, same);  // position 142
    BOOST_TEST(same.find(read_image_record(path / "out", "dog", 47).sha256 + " matches") != same.npos, same);
  }
  const Result other = run("sample", set("out", "50", settings + Arguments{"--only", "dog:47", "--steps", "3"}));
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST((other.says("image 47 of class 'dog' is another one now") && other.says("chunk-00001.safetensors, place 14")),
             other);
  BOOST_TEST(run("sample", set("out", "50", settings + Arguments{"--only", "dog:50"})).says("images 0 to 49"));
  BOOST_TEST((contents(path / "out") == before));

  const fs::path chunk = path / "out" / "chunk-00001.safetensors";
  std::string bad = before.at("chunk-00001.safetensors");
  const auto pixels = Safetensors(chunk).tensor<u8, 4>("images").slice(14, 15).to_vector();
  bad[bad.find(std::string(pixels.begin(), pixels.end())) + 100] ^= 1;
  write_file_atomic(chunk, bad);
  const Result changed = run("sample", set("out", "50", settings + Arguments{"--only", "dog:47"}));
  BOOST_TEST(changed.code == 1, changed);
  BOOST_TEST((changed.says("the image at place 14 has other pixels than its line says") && changed.says(chunk.string())),
             changed);

  // A set of before, without lines: data as ever, and what cannot be had is said.
  ShardManifest old = read_shard_manifest(path / "out");
  old.lines.reset();
  old.images_per_class = 1;
  old.sampler += ", prompts name 0123456789abcdef, height 16, width 16";
  {
    const ShardWriter writer(path / "old", old);
    writer.write(writer.pending()[0], Tensor<u8, 4, Cpu>(Shape<4>(3, 16, 16, 3)));
  }
  BOOST_TEST(read_shard_folder(path / "old").size() == 3);
  for (const Arguments& more : {Arguments{}, {"--only", "dog:0"}}) {
    const Result r = run("sample", set("old", "2", settings + more));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST((r.says("have no lines") && r.says("remedy")), r);
  }
}

// What is stored has width and height of its own, which the line says; a side alone is that of a square.
BOOST_FIXTURE_TEST_CASE(stored_size, Sets) {
  const Arguments wide{"--size", "32x16"}, scaled = wide + Arguments{"--store-size", "12x6"};
  const auto pixels = [&](const std::string& out) { return read_image(path / out / "images" / "dog" / "000000.png"); };
  run_well("sample", set("made", "1", wide));
  run_well("sample", set("stored", "1", scaled));
  BOOST_TEST((pixels("stored").shape() == Shape<3>(6, 12, 3)));
  BOOST_TEST(pixels("stored").to_vector() == resample(pixels("made"), 6, 12).to_vector());
  const nlohmann::json l = line("stored", "dog");
  BOOST_TEST((l.at("width") == 32 && l.at("height") == 16 && l.at("store_width") == 12 && l.at("store_height") == 6));
  BOOST_TEST(!l.contains("store_size"));
  run_well("sample", set("stored", "1", scaled + Arguments{"--only", "dog:0"}));

  run_well("sample", set("shards", "1", scaled + Arguments{"--format", "shards"}));
  const auto images = Safetensors(path / "shards" / "chunk-00000.safetensors").tensor<u8, 4>("images");
  BOOST_TEST((images.shape() == Shape<4>(3, 6, 12, 3)));
  BOOST_TEST(images.slice(1, 2).to_vector() == pixels("stored").to_vector());
  BOOST_TEST(read_image_record(path / "shards", "dog", 0).fields == read_image_record(path / "stored", "dog", 0).fields);

  // A side is said as ever, so that a set that was begun so goes on; a square of images that are none, when it is meant.
  run_well("sample", set("side", "1", {"--store-size", "6"}));
  BOOST_TEST(line("side", "dog").at("store_size") == 6);
  run_well("sample", set("side", "2", {"--store-size", "6x6"}));
  run_well("sample", set("squashed", "1", wide + Arguments{"--store-size", "6x6"}));
  BOOST_TEST(line("squashed", "dog").at("store_size") == 6);
  BOOST_TEST((pixels("squashed").shape() == Shape<3>(6, 6, 3)));
  const Result other = run("sample", set("squashed", "1", scaled));
  BOOST_TEST(other.code == 1, other);
  BOOST_TEST((other.says("store_size there 6, now absent") && other.says("store_width there absent, now 12")), other);

  for (const auto& [size, stored, said] : {std::tuple("32x16", "6", "--store-size 12x6 keeps the shape, 6x6 does not"),
                                           {"16x24", "6", "--store-size 6x9 keeps the shape"},
                                           {"16", "0", "--store-size"},
                                           {"16", "6x", "--store-size"},
                                           {"16", "x6", "--store-size"},
                                           {"16", "9000", "from 1 to 8192, or WIDTHxHEIGHT"}}) {
    const Result r = run("sample", set("bad", "1", {"--size", size, "--store-size", stored}));
    BOOST_TEST(r.code == 2, r);
    BOOST_TEST(r.says(said), r);
  }
  BOOST_TEST(!fs::exists(path / "bad"));
}

// From an image: the less strength, the more it matters; with all of it, it is nearly drowned.
BOOST_FIXTURE_TEST_CASE(image_to_image, Sets) {
  const auto made = [&](const std::string& from, const std::string& strength) {
    run_well("sample",
             prompt("x.png", "a cat", {"--steps", "10", "--init-image", (path / from).string(), "--strength", strength}));
    return read_image(path / "x.png").to_vector();
  };
  run_well("sample", prompt("one.png", "a dog", {"--steps", "4"}));
  run_well("sample", prompt("other.png", "a dog", {"--steps", "4", "--seed", "1", "--size", "24x32"}));
  const auto difference = [&](const std::string& strength) {
    const auto a = made("one.png", strength), b = made("other.png", strength);
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += std::abs(double(a[i]) - double(b[i]));
    return sum;
  };
  const double little = difference("0.1"), half = difference("0.5"), all = difference("1");
  BOOST_TEST((little > half && half > all && all > 0), little << " " << half << " " << all);
  BOOST_TEST(made("one.png", "0.5") == made("one.png", "0.5"));
  fs::remove(path / "x.png");
  write("no.png", "<html>");
  write("half.png", read_file(path / "one.png").substr(0, 200));
  for (const auto& [file, code] : {std::pair("no.png", 1), {"missing.png", 1}, {"half.png", 1}}) {
    const Result r = run("sample", prompt("x.png", "a cat", {"--init-image", (path / file).string()}));
    BOOST_TEST(r.code == code, r);
    BOOST_TEST(r.says(file), r);
  }
  for (const char* strength : {"0", "-0.5", "1.5", "nan", "half", "0.2"})  // 0.2 of two steps are none
    BOOST_TEST(
        run("sample", prompt("x.png", "a", {"--init-image", (path / "one.png").string(), "--strength", strength})).code == 2,
        strength);
  BOOST_TEST(!fs::exists(path / "x.png"));
}

BOOST_AUTO_TEST_SUITE_END()
