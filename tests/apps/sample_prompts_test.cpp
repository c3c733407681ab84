// sample with Stable Diffusion, on the tiny one of the golden tests: an image depends on the model, the seed, its class, its
// number and the settings alone; a set is whole after any kill; strange prompts, names, seeds and weights.
#include <mindgap/data/image_file.hpp>
#include <mindgap/data/image_folder.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/data/resample.hpp>

#include "tests/apps/run.hpp"
#include "tests/weights.hpp"
#include <nlohmann/json.hpp>
#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

const fs::path tiny = MINDGAP_SOURCE_DIR "/tests/golden/pipeline";  // images of 16 x 16 pixels

// One with a class list beside it, and runs of a few quick steps.
struct Sets : Folder {
  fs::path classes = write("classes.txt", "cat\ndog\nbird\n"), model = tiny;

  Arguments flags(const fs::path& out, const Arguments& more = {}) const {
    Arguments flags{"--model", model.string(), "--out", out.string()};
    if (std::ranges::find(more, "--steps") == more.end()) flags = flags + Arguments{"--steps", "2"};
    return flags + more;
  }
  Arguments set(const std::string& out, const std::string& per_class, const Arguments& more = {}) const {
    return flags(*this / out, Arguments{"--classes", classes.string(), "--per-class", per_class} + more);
  }
  Arguments prompt(const std::string& out, const std::string& prompt, const Arguments& more = {}) const {
    return flags(*this / out, Arguments{"--prompt", prompt} + more);
  }
  // The line of an image.
  nlohmann::json line(const std::string& out, const std::string& id, i64 index = 0) const {
    const ImageRecord r = read_image_record(*this / out, id, index);
    std::ifstream piece(*this / out / "manifest" / fs::path(r.file).parent_path().filename() / "00000.jsonl");
    for (std::string line; std::getline(piece, line);)
      if (const auto json = nlohmann::json::parse(line); json.at("index") == index) return json;
    BOOST_FAIL("no line of image " << index << " of " << id);
    return {};
  }
  bool has_part(const std::string& out, const std::string& name) const {
    if (!fs::exists(*this / out)) return false;
    return std::ranges::any_of(fs::directory_iterator(*this / out),
                               [&](const auto& entry) { return entry.path().filename().string().starts_with(name); });
  }
  // A copy of the model whose file of a part has a tensor changed, in f32.
  fs::path changed(const std::string& name, const std::string& part, const std::string& tensor,
                   const std::function<void(std::vector<float>&)>& change) const {
    const fs::path to = *this / name;
    fs::copy(tiny, to, fs::copy_options::recursive);
    const fs::path file = to / part / (part == "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors");
    change_weights(file, tensor, change);
    return to;
  }
};

i64 count(const std::string& in, const std::string& part) {
  i64 n = 0;
  for (size_t at = in.find(part); at != in.npos; at = in.find(part, at + 1)) ++n;
  return n;
}

std::string words(int n) {
  std::string out = "a";
  for (int i = 1; i < n; ++i) out += " a";
  return out;
}

// Of the environment of a run, and nothing else of a launcher's.
std::function<void()> environment(const std::map<std::string, std::string>& variables) {
  return [=] {
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

BOOST_FIXTURE_TEST_CASE(one_image_again, Sets) {
  run_well("sample", set("out", "3"));
  const auto before = contents(path / "out");
  const std::string same = run_well("sample", set("out", "3", {"--only", "dog:2"}));
  BOOST_TEST(same.find(line("out", "dog", 2).at("sha256").get<std::string>() + " matches") != same.npos, same);
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

  run_well("sample", set("small", "1", settings + Arguments{"--store-size", "8", "--size", "16x24"}));
  const auto large = run_well("sample", set("large", "1", settings + Arguments{"--size", "16x24"}));
  const auto pixels = [&](const std::string& out) { return read_image(path / out / "images" / "dog" / "000000.png"); };
  BOOST_TEST((pixels("large").shape() == Shape<3>(24, 16, 3)));
  BOOST_TEST(pixels("small").to_vector() == resample(pixels("large"), 8, 8).to_vector());

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
  for (const auto& [file, code] : {std::pair("no.png", 1), {"missing.png", 1}}) {
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

BOOST_FIXTURE_TEST_CASE(prompts_of_any_length, Sets) {
  write("classes.txt", "cat\ndog\n");
  for (int tokens : {75, 76, 77, 78, 154}) {
    const std::string out = std::to_string(tokens), of_words = words(tokens - 5) + " {name}";
    const Result r = run("sample", set(out, "3", {"--prompts", of_words}));
    BOOST_TEST(r.code == 0, r);
    const i64 counted = line(out, "cat").at("tokens");
    BOOST_TEST(line(out, "cat").at("prompt") == words(tokens - 5) + " cat");
    BOOST_TEST(std::abs(counted - tokens) <= 1);  // a class's name is one token or two
    // Once a class.
    BOOST_TEST(count(r.err, "lost: ") == (counted > 77) + (line(out, "dog").at("tokens") > 77), r);
    if (counted > 77)
      BOOST_TEST((r.says("class 'cat': a prompt has " + std::to_string(counted) + " tokens") && r.says("cat'")), r);
    const Result refused = run("sample", set("refused" + out, "3", {"--prompts", of_words, "--long-prompts", "refuse"}));
    BOOST_TEST(refused.code == (counted > 77 ? 1 : 0), refused);
    const Result one = run("sample", prompt("x.png", words(tokens - 2), {"--long-prompts", "refuse"}));
    BOOST_TEST(one.code == (tokens > 77 ? 1 : 0), one);
    BOOST_TEST(count(run("sample", prompt("x.png", words(tokens - 2))).err, "lost: ") == (tokens > 77));
    BOOST_TEST(count(run("sample", prompt("x.png", "a", {"--negative", words(tokens - 2)})).err, "lost: ") == (tokens > 77));
  }
  const auto image = [&](const std::string& text) {
    run_well("sample", prompt("x.png", text));
    return read_image(path / "x.png").to_vector();
  };
  // What is cut off does not matter; brackets and backslashes are text; spaces are the empty prompt.
  BOOST_TEST(image(words(75)) == image(words(200)));
  BOOST_TEST(image(words(75)) != image(words(74)));
  std::set<std::vector<u8>> different;
  for (const char* text : {" ", "cat", "(cat)", "((cat))", "[cat]", "(cat:1.5)", "\\(cat\\)", "cat\\", "{cat}", "%s", "-1"})
    BOOST_TEST(different.insert(image(text)).second, text);
  BOOST_TEST(image(" ") == image("     "));
  BOOST_TEST(run("sample", prompt("x.png", "")).code == 2);
  BOOST_TEST(run("sample", prompt("x.png", "a\xff")).code == 2);
  BOOST_TEST(run("sample", prompt("x.png", "a", {"--negative", "\xc3"})).code == 2);
  for (const char* prompts : {"", " ", "a photo", "{nam}", "{name", "a }", "{name}\xff", "name-definition"}) {
    const Result r = run("sample", set("x", "1", {"--prompts", prompts}));
    BOOST_TEST((r.code == 2 || (r.code == 1 && r.says("has no definition"))), r);
  }
  BOOST_TEST(!fs::exists(path / "x"));
}

BOOST_FIXTURE_TEST_CASE(names_of_any_kind, Sets) {
  const std::vector<std::string> names{
      "cat, \"tabby\"", "a/b\\c", "new york", "K\xc3\xa4tzchen", "\xF0\x9F\x90\x88", "..", "'; rm -rf *",
      "C:*?<>|",        "%2F",    "[0-9]"};
  std::string list;
  for (const std::string& name : names) list += name + "\n";
  write("classes.txt", list);
  run_well("sample", set("out", "2", {"--prompts", "a photo of a {name}"}));
  std::vector<std::string> there;
  read_image_records(path / "out", [&](const ImageRecord& r) {
    if (r.index == 0) there.push_back(r.class_id);
    BOOST_TEST(std::get<std::string>(r.fields.at("prompt")) == "a photo of a " + r.class_id);
    BOOST_TEST(r.sha256 == pixels_sha256(read_image(path / "out" / r.file)));
  });
  BOOST_TEST(there == names, boost::test_tools::per_element());
  for (const std::string& name : names)
    run_well("sample", set("out", "2", {"--prompts", "a photo of a {name}", "--only", name + ":1"}));
  write("classes.txt", list + "a/b\\c\n");
  const Result twice = run("sample", set("twice", "1"));
  BOOST_TEST(twice.says("two classes have the id"), twice);
  // What is said of a class, and captions, may not change below a set that was begun; a class that lacks it stops before the
  // first.
  write("classes.txt", "n1\tcat\tpurrs\nn2\tdog\tbarks\n");
  for (const char* format : {"png", "shards"}) {
    const auto defined = [&](const std::string& out) {
      return run("sample", set(out + format, "1", {"--prompts", "name-definition", "--format", format}));
    };
    BOOST_TEST(defined("defined ").code == 0);
    write("classes.txt", "n1\tcat\tpurrs\nn2\tdog\tgrowls\n");
    const Result other = defined("defined ");
    BOOST_TEST(other.code == 1, other);
    BOOST_TEST(other.says(format == std::string("png") ? "class 'n2'" : "prompts name-definition"), other);
    write("classes.txt", "n1\tcat\tpurrs\nn2\tdog\n");
    const Result lacks = defined("lacking ");
    BOOST_TEST(lacks.code == 1, lacks);
    BOOST_TEST((lacks.says("class 'n2' ('dog') has no definition") && !fs::exists(path / (std::string("lacking ") + format))),
               lacks);
    write("classes.txt", "n1\tcat\tpurrs\nn2\tdog\tbarks\n");
  }
  // Names may repeat where ids differ.
  write("classes.txt", "n1\tcrane\nn2\tcrane\n");
  run_well("sample", set("cranes", "1"));
  BOOST_TEST(line("cranes", "n1").at("prompt") == line("cranes", "n2").at("prompt"));
  BOOST_TEST(line("cranes", "n1").at("sha256") != line("cranes", "n2").at("sha256"));
}

BOOST_FIXTURE_TEST_CASE(seeds, Sets) {
  std::set<std::string> images;
  const std::vector<std::string> seeds{
      "0", "2147483648", "4294967296", "9007199254740992", "9007199254740993", "9223372036854775808", "18446744073709551615"};
  for (const std::string& seed : seeds) {
    run_well("sample", set(seed, "1", {"--seed", seed}));
    BOOST_TEST(line(seed, "cat").at("seed").dump() == seed);
    images.insert(line(seed, "cat").at("sha256").get<std::string>());
    run_well("sample", set(seed, "1", {"--seed", seed, "--only", "cat:0"}));
  }
  BOOST_TEST(images.size() == seeds.size());
  for (const char* seed : {"-1", "abc", "18446744073709551616", "1.5", "1e3", "", " 1"})
    BOOST_TEST(run("sample", set("x", "1", {"--seed", seed})).code == 2, seed);
}

BOOST_FIXTURE_TEST_CASE(steps_and_guidance, Sets) {
  for (const char* steps : {"0", "-1", "1001", "many", "2.5"})
    BOOST_TEST(run("sample", prompt("x.png", "a", {"--steps", steps})).code == 2, steps);
  for (const char* sampler : {"pndm", "ddim", "dpmpp_2m", "unipc", "heun"})
    run_well("sample", prompt("x.png", "a", {"--steps", "1", "--sampler", sampler}));
  run_well("sample", prompt("x.png", "a", {"--steps", "1000", "--spacing", "trailing"}));
  std::set<std::vector<u8>> different;
  for (const char* guidance : {"0", "1", "1000"}) {
    run_well("sample", prompt("x.png", "a", {"--steps", "10", "--guidance", guidance}));
    BOOST_TEST(different.insert(read_image(path / "x.png").to_vector()).second, guidance);
  }
  for (const char* guidance : {"-1", "nan", "inf", "1e7"})
    BOOST_TEST(run("sample", prompt("y.png", "a", {"--guidance", guidance})).code == 2, guidance);
  BOOST_TEST(!fs::exists(path / "y.png"));
}

// Weights that are no numbers, and those that overflow on the way, for one class of two: what it names, and what is kept.
BOOST_FIXTURE_TEST_CASE(weights_that_are_not_finite, Sets) {
  int n = 0;
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    for (const auto& [part, tensor] :
         {std::pair("unet", "conv_out.weight"), {"vae", "decoder.conv_out.bias"}, {"text_encoder", "final_layer_norm.weight"}}) {
      model = changed("bad" + std::to_string(n++), part, tensor, [&](auto& v) { v[1] = bad; });
      const Result r = run("sample", set("out", "2"));
      BOOST_TEST(r.code == 1, r);
      BOOST_TEST((r.says("NaN or infinite") && r.says(tensor) && r.says(part)), r);
      BOOST_TEST(count(r.err, "mindgap: ") == 1, r);
      BOOST_TEST(!fs::exists(path / "out"));
    }

  // The embedding of a word whose sum is beyond f32.
  const auto vocabulary = nlohmann::json::parse(read_file(tiny / "tokenizer" / "vocab.json"));
  const size_t token = vocabulary.at("z</w>");
  model = changed("overflow", "text_encoder", "embeddings.token_embedding.weight", [&](auto& v) {
    const size_t channels = v.size() / vocabulary.size();
    std::fill_n(v.begin() + i64(token * channels), channels, 3e38f);
  });
  write("classes.txt", "cat\nz\n");
  const Result r = run("sample", set("out", "2", {"--batch", "2"}));
  BOOST_TEST(r.code == 1, r);
  BOOST_TEST((r.says("image 0 of class 'z' is not finite") && r.says("step") && r.says("guidance")), r);
  BOOST_TEST((fs::exists(path / "out" / "images" / "cat" / "000001.png") && !fs::exists(path / "out" / "images" / "z")));
  BOOST_TEST(lines_of(path / "out" / "manifest" / "cat" / "00000.jsonl") == 2);
  const Result one = run("sample", prompt("x.png", "z"));
  BOOST_TEST(one.code == 1, one);
  BOOST_TEST(one.says("not finite"), one);
  BOOST_TEST(!fs::exists(path / "x.png"));

  // White beyond bf16, and not beyond f32: the image is that of f32, and says so where this CPU computes in bf16.
  model = changed("bright", "vae", "decoder.conv_out.bias", [](auto& v) { v[0] = 3.4e38f; });
  write("classes.txt", "cat\n");
  const Result narrow = run("sample", set("narrow", "1", {"--precision", "bf16"}));
  BOOST_TEST(narrow.code == 0, narrow);
  run_well("sample", set("wide", "1"));
  BOOST_TEST(line("narrow", "cat").at("sha256") == line("wide", "cat").at("sha256"));
  BOOST_TEST(line("narrow", "cat").contains("redone_in") == !narrow.says("no bf16 instructions"), narrow);
  BOOST_TEST(!line("wide", "cat").contains("redone_in"));
}

BOOST_FIXTURE_TEST_CASE(damaged_models, Sets) {
  const auto refused = [&](const fs::path& of, const Arguments& parts) {
    model = of;
    for (const Arguments& flags : {prompt("x.png", "a"), set("out", "1")}) {
      const Result r = run("sample", flags);
      BOOST_TEST(r.code == 1, r);
      for (const std::string& part : parts) BOOST_TEST(r.says(part), part << " is not in\n" << r);
      BOOST_TEST(count(r.err, "mindgap: ") == 1, r);
    }
    BOOST_TEST((!fs::exists(path / "x.png") && !fs::exists(path / "out")));
  };
  // What is missing, all at once.
  const fs::path whole = path / "whole";
  fs::copy(tiny, whole, fs::copy_options::recursive);
  for (const char* part : {"vae", "tokenizer", "scheduler"}) fs::remove_all(whole / part);
  fs::remove(whole / "unet" / "config.json");
  refused(whole, {"vae/diffusion_pytorch_model.safetensors", "vae/config.json", "tokenizer/vocab.json",
                  "scheduler/scheduler_config.json", "unet/config.json", "remedy"});
  fs::remove_all(whole);

  // Each file of weights.
  const std::string page = "<!DOCTYPE html><html>404</html>",
                    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
  for (const auto& [part, name] :
       {std::pair("unet", "diffusion_pytorch_model"), {"vae", "diffusion_pytorch_model"}, {"text_encoder", "model"}}) {
    fs::copy(tiny, whole, fs::copy_options::recursive);
    const fs::path file = whole / part / (std::string(name) + ".safetensors");
    const std::string good = read_file(file);
    for (const auto& [bytes, said] : {std::pair(page, "web page"),
                                      {pointer, "git-lfs"},
                                      {std::string(), "0 bytes"},
                                      {good.substr(0, good.size() / 2), "trunc"},
                                      {good + "x", "too many"}}) {
      write_file_atomic(file, bytes);
      refused(whole, {said, file.string()});
    }
    fs::remove(file);
    write_file_atomic(whole / part / (name == std::string("model") ? "pytorch_model.bin" : "diffusion_pytorch_model.bin"), good);
    refused(whole, {"safe_serialization=True", part});
    fs::remove_all(whole);
  }

  refused(write("model.ckpt", "PK\x03\x04"), {"'.ckpt' files are not read", "reason", "remedy", "safetensors.torch.save_file"});
  refused(write("page.safetensors", page), {"web page", "page.safetensors"});
  refused(write("pointer.safetensors", pointer), {"git-lfs", "pointer.safetensors"});
  refused(tiny / "vae" / "diffusion_pytorch_model.safetensors", {"no U-Net in the original naming", "diffusers folder"});
  refused(write("notes.txt", "cat"), {"no model", "notes.txt"});
  refused(path / "no.safetensors", {"no such model", "no.safetensors"});
  model = path / "nothing";
  const Result none = run("sample", prompt("x.png", "a"));
  BOOST_TEST(none.code == 2, none);
  BOOST_TEST(none.says("nothing: there is no such folder or file"), none);
}

// Flags that say nothing without others, or nothing beside them.
BOOST_FIXTURE_TEST_CASE(contradictions, Sets) {
  const std::string init = (path / "init.png").string();
  run_well("sample", prompt("init.png", "a"));
  for (const Arguments& more : {Arguments{"--classes", classes.string()},
                                {"--per-class", "1"},
                                {"--prompts", "name"},
                                {"--only", "cat:0"},
                                {"--preview", "1"},
                                {"--store-size", "8"},
                                {"--shard", "0/1"},
                                {"--format", "png"},
                                {"--jpeg-quality", "90"},
                                {"--batch", "2"},
                                {"--batch-invariant"},
                                {"--strength", "0.5"},
                                {"--size", "18"},
                                {"--size", "0"},
                                {"--size", "16x"},
                                {"--eta", "0.5"},
                                {"--long-prompts", "no"},
                                {"--prediction", "x"},
                                {"--sampler", "no"}}) {
    const Result r = run("sample", prompt("x.png", "a", more));
    BOOST_TEST(r.code == 2, r);
  }
  for (const Arguments& more : {Arguments{"--init-image", init},
                                {"--strength", "0.5"},
                                {"--jpeg-quality", "90"},
                                {"--format", "gif"},
                                {"--format", "shards", "--preview", "1"},
                                {"--format", "shards", "--only", "cat:0"},
                                {"--batch-invariant", "--batch", "2"},
                                {"--size", "18"},
                                {"--classes", "no.txt"},
                                {"--per-class", "0"}}) {
    const Result r =
        run("sample", std::ranges::find(more, "--per-class") == more.end() ? set("out", "1", more) : flags(path / "out", more));
    BOOST_TEST(r.code == 2, r);
  }
  BOOST_TEST(run("sample", flags(path / "out", {"--classes", classes.string()})).code == 2);
  BOOST_TEST(run("sample", flags(path / "x.png")).code == 2);
  BOOST_TEST(run("sample", set("out", "2000000")).code == 2);
  for (const char* out : {"x.jpg", "x", "X.PNG.tmp"}) BOOST_TEST(run("sample", prompt(out, "a")).code == 2, out);
  BOOST_TEST((!fs::exists(path / "out") && !fs::exists(path / "x.png")));

  run_well("sample", prompt("new/folder/x.png", "a"));
  fs::create_directory(path / "is a folder.png");
  const Result folder = run("sample", prompt("is a folder.png", "a"));
  BOOST_TEST(folder.code == 1, folder);
  fs::copy(tiny, path / "model", fs::copy_options::recursive);
  model = path / "model";
  const auto before = contents(model);
  const Result inside = run("sample", set("model/", "1"));
  BOOST_TEST(inside.code == 2, inside);
  BOOST_TEST((contents(model) == before));

  // A folder of the other kind.
  run_well("sample", set("files", "1"));
  run_well("sample", set("shards", "1", {"--format", "shards"}));
  for (const auto& flags : {set("files", "1", {"--format", "shards"}), set("shards", "1")}) {
    const Result r = run("sample", flags);
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST((r.says("format is ") && r.says("another folder")), r);
  }
}

BOOST_AUTO_TEST_SUITE_END()
