// CLIPTokenizer against transformers: ids of a thousand strings, cut, padded and decoded; folders in each published form; files
// that are wrong.
#include <mindgap/io/file.hpp>
#include <mindgap/text/clip_tokenizer.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

using namespace mindgap;
using namespace mindgap::test;
using nlohmann::json;

namespace {

const std::string golden = MINDGAP_SOURCE_DIR "/tests/golden/";

const json& expected() {
  static const json all = json::parse(read_file(golden + "tokenizer.json"));
  return all;
}

const CLIPTokenizer& standard() {
  static const CLIPTokenizer tokenizer = CLIPTokenizer::standard();
  return tokenizer;
}

std::string shown(const std::string& prompt) { return json(prompt).dump(-1, ' ', true); }

// What differs from `first` for this style is stored.
void check_ids(const CLIPTokenizer& tokenizer, const std::string& style, size_t count, const json& first) {
  const json& strings = expected()["strings"];
  const json& own = expected()[style];
  const i64 begin = own["begin"], end = own["end"], pad = own["pad"];
  BOOST_TEST(tokenizer.pad() == pad);
  BOOST_TEST(tokenizer.max_length() == 77);
  size_t wrong = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::string prompt = strings[i];
    const auto other = own["other"].find(std::to_string(i));
    const std::vector<i64> wanted = other == own["other"].end() ? first[i] : *other;
    const std::vector<i64> got = tokenizer.encode(prompt);
    if (got != wanted && ++wrong < 20)
      BOOST_ERROR(style << " " << i << " " << shown(prompt) << ": " << json(got) << ", wanted " << json(wanted));
    std::vector<i64> cut = wanted;
    cut.resize(std::min<size_t>(cut.size(), 75));
    cut.insert(cut.begin(), begin);
    cut.push_back(end);
    cut.resize(77, pad);
    const auto encoded = tokenizer(prompt);
    BOOST_TEST((encoded.ids == cut), i << " " << shown(prompt));
    BOOST_TEST(encoded.tokens == i64(wanted.size()) + 2);
    BOOST_TEST(encoded.lost.empty() == (wanted.size() <= 75));
  }
  BOOST_TEST(wrong == 0u);
}

// The small vocabulary, one file of it replaced.
struct Small : Folder {
  Small() {
    for (const auto& entry : fs::directory_iterator(golden + "tokenizer_small"))
      fs::copy(entry.path(), path / entry.path().filename());
  }
  std::string bytes(const std::string& name) const { return read_file(path / name); }
  json object(const std::string& name) const { return json::parse(bytes(name)); }
  void change(const std::string& name, const json& value) { write(name, value.dump()); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(tokenizer)

BOOST_AUTO_TEST_CASE(ids_of_stable_diffusion_1) {
  BOOST_TEST(expected()["strings"].size() >= 1000u);
  BOOST_TEST(standard().size() == 49408);
  check_ids(standard(), "sd1", expected()["strings"].size(), expected()["ids"]);
}

BOOST_AUTO_TEST_CASE(ids_of_stable_diffusion_2) {
  BOOST_TEST(expected()["sd2"]["other"].size() > 20u);
  check_ids(CLIPTokenizer::standard("!"), "sd2", expected()["strings"].size(), expected()["ids"]);
}

BOOST_AUTO_TEST_CASE(decoded) {
  const json& strings = expected()["strings"];
  for (const auto& [at, text] : expected()["decoded"].items()) {
    const std::string prompt = strings[std::stoul(at)];
    BOOST_TEST(standard().decode(standard().encode(prompt)) == text.get<std::string>(), shown(prompt));
  }
  for (const auto& [at, text] : expected()["lost"].items())
    BOOST_TEST(standard()(strings[std::stoul(at)].get<std::string>()).lost == text.get<std::string>(), at);
  BOOST_TEST(standard()("a photo").lost == "");
  const i64 outside[] = {49408};
  REFUSED(standard().decode(outside), "id 49408 is outside the vocabulary of 49408 tokens");
}

// Bytes of a character that was cut, as transformers shows them.
BOOST_AUTO_TEST_CASE(half_a_character) {
  const auto ids = standard().encode("\U0001F9D1");
  BOOST_REQUIRE(ids.size() > 1u);
  BOOST_TEST(standard().decode(std::span(ids).first(1)) == "\uFFFD");
}

BOOST_FIXTURE_TEST_CASE(folders_as_published, Small) {
  const json& small = expected()["small"];
  check_ids(CLIPTokenizer::read(golden + "tokenizer_small"), "small_sd1", small.size(), small);
  check_ids(CLIPTokenizer::read(golden + "tokenizer_small_5"), "small_sd1", small.size(), small);
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    json padded = object(file);
    padded["pad_token"] = "!";
    change(file, padded);
  }
  check_ids(CLIPTokenizer::read(path), "small_sd2", small.size(), small);
  // The tokens of the class itself are not normalised.
  fs::remove(path / "tokenizer_config.json");
  fs::remove(path / "special_tokens_map.json");
  BOOST_TEST(expected()["small_plain"]["other"].size() > 5u);
  check_ids(CLIPTokenizer::read(path), "small_plain", small.size(), small);
}

BOOST_FIXTURE_TEST_CASE(special_tokens_of_a_folder, Small) {
  BOOST_TEST(CLIPTokenizer::read(path).encode("A!<|StartOfText|>").size() == 3u);  // normalised: found in any case
  json map = object("special_tokens_map.json");
  map["pad_token"] = "!";
  change("special_tokens_map.json", map);
  const CLIPTokenizer padded = CLIPTokenizer::read(path);
  BOOST_TEST(padded.pad() == 0);
  BOOST_TEST((padded.encode("!") == std::vector<i64>{0}));
  // The newer form of tokenizer_config.json counts alone.
  json config = object("tokenizer_config.json");
  config["added_tokens_decoder"] = json::object();
  config["pad_token"] = "<|endoftext|>";
  config["model_max_length"] = 20;
  config["extra_special_tokens"] = json::object();
  change("tokenizer_config.json", config);
  BOOST_TEST(CLIPTokenizer::read(path).pad() == CLIPTokenizer::read(path).size() - 1);
  BOOST_TEST(CLIPTokenizer::read(path)("a").ids.size() == 20u);
  // Without both files: those of CLIP, and not normalised.
  fs::remove(path / "tokenizer_config.json");
  fs::remove(path / "special_tokens_map.json");
  BOOST_TEST(CLIPTokenizer::read(path).max_length() == 77);
  BOOST_TEST(CLIPTokenizer::read(path).encode("A!<|StartOfText|>").size() > 3u);
  // Of textual inversion.
  const i64 size = CLIPTokenizer::read(path).size();
  change("added_tokens.json", {{"<my-cat>", size}});
  BOOST_TEST((CLIPTokenizer::read(path).encode("<my-cat>") == std::vector<i64>{size}));
  change("added_tokens.json", {{"<my-cat>", size + 1}});
  REFUSED(CLIPTokenizer::read(path), "the added token '<my-cat>' has id 815");
}

BOOST_AUTO_TEST_CASE(prompts_that_are_not_utf8) {
  for (const auto& [prompt, at] : std::map<std::string, int>{
           {"a\xff", 1}, {"caf\xc3", 3}, {"\xed\xa0\x80", 0}, {"ab\xf4\x90\x80\x80", 2}, {"\xc0\x80", 0}}) {
    REFUSED(standard().encode(prompt), "the prompt is not valid UTF-8 at byte " + std::to_string(at));
    REFUSED(standard()(prompt), "the prompt is not valid UTF-8 at byte " + std::to_string(at));
  }
}

// 100 kB of what could take quadratic time: one word, combining marks out of order, special tokens, spaces.
BOOST_AUTO_TEST_CASE(long_prompts) {
  const auto repeated = [](const std::string& part) {
    std::string out;
    while (out.size() < 100'000) out += part;
    return out;
  };
  BOOST_TEST(standard().encode(repeated("a")).size() > 1000u);
  BOOST_TEST(standard().encode(repeated("\u0315\u0300\u0316")).size() > 1000u);
  BOOST_TEST(standard().encode(repeated("<|endoftext|>")).size() == 7693u);
  BOOST_TEST(standard().encode(repeated(" \n")).empty());
  BOOST_TEST(standard().encode(repeated("<|endoftext|")).size() > 1000u);
  const auto encoded = standard()(repeated("photo "));
  BOOST_TEST(encoded.tokens == 16669);
  BOOST_TEST(encoded.lost.size() == size_t(16667 - 75) * 6 - 1);
}

BOOST_FIXTURE_TEST_CASE(files_that_are_wrong, Small) {
  const std::string vocab = bytes("vocab.json"), merges = bytes("merges.txt"), config = bytes("tokenizer_config.json");
  const auto refused = [&](const std::string& file, const std::string& content, const std::string& words) {
    write(file, content);
    REFUSED(CLIPTokenizer::read(path), words);
    REFUSED(CLIPTokenizer::read(path), path.string());
    REFUSED(CLIPTokenizer::read(path), "remedy");
    write("vocab.json", vocab), write("merges.txt", merges), write("tokenizer_config.json", config);
    fs::remove(path / "tokenizer.json");
  };
  const auto changed = [&](auto change) {
    json all = json::parse(vocab);
    change(all);
    return all.dump();
  };
  for (const char* file : {"vocab.json", "tokenizer_config.json", "tokenizer.json", "merges.txt"}) {
    refused(file, "<!DOCTYPE html>\n<html></html>", "this is a web page");
    refused(file, "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-lfs pointer");
    refused(file, "\xff\xfe{", "line 1 is not valid UTF-8");
  }
  refused("vocab.json", "", "the file is empty");
  refused("vocab.json", vocab.substr(0, 1000), "truncated");
  refused("vocab.json", "[1, 2]", "wanted an object");
  refused("vocab.json", "{}", "not in the vocabulary");
  refused("vocab.json", changed([](json& all) { all["a"] = 1.5; }), ".a is 1.5, wanted a whole number");
  refused("vocab.json", changed([](json& all) { all["a"] = nullptr; }), ".a is null");
  refused("vocab.json", changed([](json& all) { all["a"] = -1; }), "the token 'a' has id -1");
  refused("vocab.json", changed([](json& all) { all["a"] = 100'000; }), "the token 'a' has id 100000");
  refused("vocab.json", changed([](json& all) { all["a"] = all["b"]; }), "both have id 65");
  refused("vocab.json", changed([](json& all) { all.erase("a"); }), "has id 813, but of 813 tokens");
  refused("vocab.json", "{\"a\": 0, \"a\": 1}", "is there twice");
  refused("vocab.json", R"({"a": 0, "b": 1, "<|startoftext|>": 2})", "<|endoftext|>', which is not in the vocabulary");
  refused("merges.txt", merges + "onlyone\n", "line 302 of the merges is 'onlyone'");
  refused("merges.txt", merges + "a b c\n", "line 302 of the merges is 'a b c'");
  refused("merges.txt", merges + "\n", "line 302 of the merges is ''");
  refused("merges.txt", merges + "i n\n", "merge 301, of 'i' and 'n', is there twice");
  refused("merges.txt", merges + "q zz\n", "'zz', which is not in the vocabulary");
  refused("merges.txt", merges + "q z\n", "'qz', which is not in the vocabulary");
  refused("merges.txt", merges + std::string("a\0b c\n", 6), "line 302 has the control character 0");
  refused("tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})", "tokenizer_class is \"T5Tokenizer\"");
  refused("tokenizer_config.json", R"({"padding_side": "left"})", "padding_side");
  refused("tokenizer_config.json", R"({"model_max_length": 1})", "model_max_length is 1");
  refused("tokenizer_config.json", R"({"model_max_length": 0})", "model_max_length is 0, wanted a number of at least 2");
  refused("tokenizer_config.json", R"({"model_max_length": -77})", "model_max_length is -77");
  refused("tokenizer_config.json", R"({"model_max_length": 77.5})", "model_max_length is 77.5, wanted a whole number");
  refused("tokenizer_config.json", R"({"model_max_length": 100000})", "model_max_length is 100000, wanted a whole number");
  refused("tokenizer_config.json", R"({"model_max_length": null})", "model_max_length is null");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "the key 'x'");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {"7": {"content": "a"}}})", "the added token 'a' has id 7");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {"64": {"content": "a", "lstrip": true}}})", "lstrip is true");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {}, "pad_token": "[PAD]"})", "prompts are padded with '[PAD]'");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {}, "pad_token": 3})",
          "pad_token is 3, wanted a string or an object");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {}, "pad_token": null})", "pad_token is null");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {}, "bos_token": ""})", "prompts begin with ''");
  refused("tokenizer.json", R"({"model": {"type": "Unigram", "vocab": {}, "merges": []}})", "model.type is \"Unigram\"");
  refused("tokenizer.json", R"({"model": {"type": "BPE", "end_of_word_suffix": null, "vocab": {}, "merges": []}})",
          "model.end_of_word_suffix is null");
  refused("tokenizer.json", R"({"model": {"type": "BPE"}})", "model.vocab is missing");
  refused("tokenizer.json", R"({"model": {"vocab": {}, "merges": [3]}})", "model.merges[0] is 3, wanted a string or a list");
  fs::remove(path / "merges.txt");
  REFUSED(CLIPTokenizer::read(path), "the folder has no merges.txt");
  REFUSED(CLIPTokenizer::read(path / "nowhere"), "the folder has no vocab.json");
}

BOOST_FIXTURE_TEST_CASE(what_ships_is_looked_for, Folder) {
  ::setenv("MINDGAP_DATA", path.c_str(), 1);
  const std::string said = error_of([] { CLIPTokenizer::standard(); });
  ::unsetenv("MINDGAP_DATA");
  BOOST_TEST(said.find("a file that ships with mindgap is not there: clip/merges.txt") != std::string::npos, said);
  BOOST_TEST(said.find("not in  " + path.string()) != std::string::npos, said);
  BOOST_TEST(said.find("set MINDGAP_DATA") != std::string::npos, said);
  REFUSED(CLIPTokenizer::standard("[PAD]"), "prompts are padded with '[PAD]', which is not in the vocabulary of 49408 tokens");
}

BOOST_AUTO_TEST_SUITE_END()
