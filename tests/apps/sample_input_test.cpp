// sample with Stable Diffusion: strange prompts, names, seeds, numbers, flags and weights, and what is said of them.
#include "tests/apps/sample_sets.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::string words(int n) {
  std::string out = "a";
  for (int i = 1; i < n; ++i) out += " a";
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sample_input)

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

// The long prompt is the last that would come up.
BOOST_FIXTURE_TEST_CASE(long_prompts_are_refused_before_any_image, Sets) {
  const std::string captions =
      write("captions.json", R"({"cat": ["a cat"], "dog": ["a dog"], "bird": ["a bird", ")" + words(100) + "\"]}").string();
  for (const char* format : {"png", "shards"}) {
    const Arguments refuse{"--prompts", captions, "--format", format, "--long-prompts", "refuse"};
    const Result r = run("sample", set("out", "3", refuse));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST((r.says("class 'bird': a prompt has 102 tokens") && r.says("--long-prompts cut")), r);
    BOOST_TEST(!fs::exists(path / "out"));
  }
  write("captions.json", R"({"cat": ["a cat"], "dog": ["a dog"], "bird": ["a bird"]})");
  run_well("sample", set("out", "3", {"--prompts", captions, "--long-prompts", "refuse"}));
}

// What a file says is no matter of the command line; what names none is.
BOOST_FIXTURE_TEST_CASE(bad_contents_are_no_bad_flags, Sets) {
  const auto code = [&](const char* bytes, const std::string& said, const Arguments& flags) {
    if (bytes) write("list", bytes);
    const Result r = run("sample", set("out", "1", flags));
    BOOST_TEST(r.says(said), r);
    BOOST_TEST(!fs::exists(path / "out"));
    return r.code;
  };
  const std::string list = (path / "list").string();
  classes = list;
  BOOST_TEST(code("cat\ncat\n", "two classes have the id", {}) == 1);
  BOOST_TEST(code("[1]", "[0] is 1", {}) == 1);
  BOOST_TEST(code("", "there are no classes", {}) == 1);
  BOOST_TEST(code("<html>", "web page", {}) == 1);
  classes = path / "none";
  BOOST_TEST(code(nullptr, "neither a table that ships nor a file", {}) == 2);
  classes = path / "classes.txt";
  BOOST_TEST(code("{nam}", "there is no field", {"--prompts", list}) == 1);
  BOOST_TEST(code("{}", "the file has none", {"--prompts", list}) == 1);
  BOOST_TEST(code(R"({"cat": []})", "captions for class 'cat' is empty", {"--prompts", list}) == 1);
  BOOST_TEST(code(nullptr, "there is no field", {"--prompts", "{nam}"}) == 2);
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
    BOOST_TEST(other.says("class 'n2'"), other);
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

  fs::copy(tiny, whole, fs::copy_options::recursive);
  const fs::path schedule = whole / "scheduler" / "scheduler_config.json";
  auto json = nlohmann::json::parse(read_file(schedule));
  json["beta_start"] = 1e-300;
  write_file_atomic(schedule, json.dump());
  refused(whole, {"beta_start", schedule.string()});
  fs::remove_all(whole);

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
  // Before any step.
  fs::create_directory(path / "folder.png");
  for (const std::string& out : {std::string("folder.png"), std::string(300, 'a') + ".png"}) {
    const Result r = run("sample", prompt(out, "a"));
    BOOST_TEST(r.code == 1, r);
    BOOST_TEST((r.says("cannot write the file") && r.says("remedy") && !r.says("step")), r);
  }
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
