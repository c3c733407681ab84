// Prompts: the registry, templates, captions, choices by an image's own stream, and what is refused.
#include <mindgap/text/prompts.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <map>
#include <set>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

const PromptClass tabby{
    "n02123045", {"tabby", "tabby cat"}, "a cat with a grey or tawny coat mottled with black", "domestic cat"};
const PromptClass bare{"dog", {"dog"}, "", ""};

// Of image `index`.
std::string one(const std::string& spec, const PromptClass& c = tabby, u64 index = 0) {
  return PromptSet::read(spec).prompt(c, Stream(0, "prompt", hash64(c.id), index));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(prompts)

BOOST_AUTO_TEST_CASE(registry) {
  BOOST_TEST(one("name") == "tabby");
  BOOST_TEST(one("name-definition") == "tabby, a cat with a grey or tawny coat mottled with black");
  BOOST_TEST(one("name-hypernym") == "tabby, domestic cat");
  BOOST_TEST(one("hypernym-background").starts_with("tabby, domestic cat inside "));
  BOOST_TEST(one("clip").find("tabby") != std::string::npos);
  for (const auto& [spec, count] : std::map<std::string, i64>{
           {"name", 1}, {"name-definition", 1}, {"name-hypernym", 1}, {"hypernym-background", 365}, {"clip", 80}})
    BOOST_TEST(PromptSet::read(spec).all(tabby).size() == size_t(count), spec);
}

BOOST_AUTO_TEST_CASE(templates) {
  BOOST_TEST(one("a photo of a {name}, {definition}") ==
             "a photo of a tabby, a cat with a grey or tawny coat mottled with black");
  BOOST_TEST(one("{names}: {hypernym} ({id})") == "tabby, tabby cat: domestic cat (n02123045)");
  BOOST_TEST(one("{{{name}}} {{id}}") == "{tabby} {id}");
  BOOST_TEST(one("{name}{name}") == "tabbytabby");
  BOOST_TEST(one("{name}", {"x", {"{id} 100% \"a\", Kätzchen 🐈"}, "", ""}) == "{id} 100% \"a\", Kätzchen 🐈");
  // One background a prompt.
  const std::string twice = one("{name} {background}|{background}");
  BOOST_TEST(twice.substr(6, twice.find('|') - 6) == twice.substr(twice.find('|') + 1));
}

// Each of 365 is met by 20,000 images, none much more often than the others; and an image's own does not change.
BOOST_AUTO_TEST_CASE(choices) {
  const PromptSet set = PromptSet::read("hypernym-background");
  std::map<std::string, int> count;
  for (u64 i = 0; i < 20'000; ++i) ++count[set.prompt(tabby, Stream(7, "prompt", hash64(tabby.id), i))];
  BOOST_TEST(count.size() == 365u);
  for (const auto& [prompt, times] : count) BOOST_TEST((times > 25 && times < 95), prompt << " " << times);
  BOOST_TEST(set.prompt(tabby, Stream(7, "prompt", 1, 2)) == set.prompt(tabby, Stream(7, "prompt", 1, 2)));
  // Template and background are drawn apart.
  Folder folder;
  const PromptSet both = PromptSet::read(folder.write("two", "a {name} in {background}\nthe {name} in {background}\n").string());
  std::set<std::string> seen;
  for (u64 i = 0; i < 20'000; ++i) seen.insert(both.prompt(tabby, Stream(7, "prompt", 1, i)));
  BOOST_TEST(seen.size() == 730u);
  BOOST_TEST(both.all(tabby).size() == 730u);
}

BOOST_FIXTURE_TEST_CASE(captions, Folder) {
  const std::string lines = write("lines.txt",
                                  "\xef\xbb\xbf"
                                  "a {name}\r\nthe {name}\na {name}")
                                .string();
  const PromptSet set = PromptSet::read(lines);
  BOOST_TEST(set.all(bare).size() == 2u);  // one is there twice, and so more often
  std::map<std::string, int> count;
  for (u64 i = 0; i < 3000; ++i) ++count[set.prompt(bare, Stream(0, "prompt", 0, i))];
  BOOST_TEST(count.size() == 2u);
  BOOST_TEST((count["a dog"] > 1900 && count["a dog"] < 2100));

  const std::string object =
      write("own.json", R"( {"n02123045": ["a cat on a mat", "a {{cat}}", "{name}, asleep"], "dog": ["a dog"]})").string();
  const PromptSet own = PromptSet::read(object);
  BOOST_TEST(own.all(tabby).size() == 3u);
  BOOST_TEST(own.prompt(bare, Stream(0, "prompt")) == "a dog");
  std::set<std::string> seen;
  for (u64 i = 0; i < 100; ++i) seen.insert(own.prompt(tabby, Stream(0, "prompt", 0, i)));
  BOOST_TEST((seen == std::set<std::string>{"a cat on a mat", "a {cat}", "tabby, asleep"}));
  REFUSED(own.prompt({"n1", {"crane"}, "", ""}, Stream(0, "prompt")), "there is no caption for class 'n1' ('crane')");
  REFUSED(own.all({"n1", {"crane"}, "", ""}), object);
}

// Of what a class's prompts are, and of nothing else.
BOOST_FIXTURE_TEST_CASE(hashes, Folder) {
  const auto hash = [](const std::string& spec, const PromptClass& c) { return PromptSet::read(spec).hash(c); };
  PromptClass c{"n1", {"crane", "bird"}, "wades", "bird"};
  const std::string name = hash("name", c), definition = hash("name-definition", c), background = hash("hypernym-background", c);
  BOOST_TEST(name.size() == 16);
  BOOST_TEST((name == hash("{name}", c) && name == hash(write("one.txt", "{name}\n").string(), c)));
  BOOST_TEST((name != definition && name != background && name != hash("clip", c)));
  BOOST_TEST(background != hash("{name}, {hypernym} inside", c));
  c.id = "n2", c.names[1] = "machine", c.definition = "lifts";
  BOOST_TEST((hash("name", c) == name && hash("name-definition", c) != definition));
  c.names[0] = "heron";
  BOOST_TEST(hash("name", c) != name);
  REFUSED(hash("name-hypernym", {"n3", {"x"}, "", ""}), "has no hypernym");
}

BOOST_AUTO_TEST_CASE(what_a_class_lacks) {
  REFUSED(one("name-definition", bare), "class 'dog' ('dog') has no definition");
  REFUSED(one("name-hypernym", bare), "class 'dog' ('dog') has no hypernym");
  REFUSED(PromptSet::read("hypernym-background").all(bare), "class 'dog' ('dog') has no hypernym");
  BOOST_TEST(one("clip", bare).find("dog") != std::string::npos);
}

// Of a pipe nothing is left for a second look.
BOOST_AUTO_TEST_CASE(a_file_is_read_once) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  BOOST_REQUIRE(::write(ends[1], "a {name}\n", 9) == 9);
  ::close(ends[1]);
  BOOST_TEST(PromptSet::read(text("/dev/fd/", ends[0])).all(bare).size() == 1u);
  ::close(ends[0]);
}

BOOST_FIXTURE_TEST_CASE(refused, Folder) {
  REFUSED(one("names"), "'names' is no set of prompts, no file and no template");
  REFUSED(one(""), "'' is no set of prompts");
  REFUSED(one("a photo of a {class}"), "there is no field '{class}'");
  REFUSED(one("a photo of a {}"), "there is no field '{}'");
  REFUSED(one("a photo of a { name }"), "there is no field '{ name }'");
  REFUSED(one("a {name"), "the brace { at character 3 has no counterpart");
  REFUSED(one("a name}"), "the brace } at character 7 has no counterpart");
  REFUSED(one("a {na{name}"), "the brace { at character 3 has no counterpart");
  REFUSED(one("{{name}}"), "says nothing of the class");
  REFUSED(one("a photo of {background}"), "says nothing of the class");
  REFUSED(one("a\n{name}"), "the prompt has the control character 10 at byte 1");
  REFUSED(one("{name}\xff"), "the prompt is not valid UTF-8 at byte 6");
  const auto refused = [&](const std::string& bytes, const std::string& words) {
    const std::string file = write("file", bytes).string();
    REFUSED(PromptSet::read(file), words);
    REFUSED(PromptSet::read(file), file);
    REFUSED(PromptSet::read(file), "remedy");
  };
  refused("", "the file has none");
  refused("{}", "the file has none");
  refused("a {name}\n\n", "the prompt is empty");
  refused("a {name}\na cat\n", "says nothing of the class");
  refused("a {name}\n{nam}\n", (path / "file").string() + ":2");
  refused(R"({"a": []})", "the list of captions for class 'a' is empty");
  refused(R"({"a": "b"})", "a is \"b\", wanted a list");
  refused(R"({"a": [1]})", "a[0] is 1, wanted a string");
  refused(R"({"a": ["{nam}"]})", "there is no field '{nam}'");
  refused(R"({"a": ["x"], "a": ["y"]})", "the key 'a' is there twice");
  refused(R"({"a": ["x")", "truncated");
  refused("{name} {\xff}", "not valid UTF-8");
  refused("<html>", "this is a web page");
}

BOOST_AUTO_TEST_SUITE_END()
