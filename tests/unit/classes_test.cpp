// Class lists: the tables that ship, every form of a user's file, names that must survive, and what is refused; names of folders.
#include <mindgap/text/classes.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <set>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::string folder_id(const std::string& name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '%') out += name[i];
    else out += char(std::stoi(name.substr(i + 1, 2), nullptr, 16)), i += 2;
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(classes)

BOOST_AUTO_TEST_CASE(tables_that_ship) {
  const auto all = read_classes("imagenet1k"), hundred = read_classes("imagenet100");
  BOOST_TEST(all.size() == 1000u);
  BOOST_TEST(hundred.size() == 100u);
  std::map<std::string, PromptClass> by_id;
  std::map<std::string, int> names;
  for (const PromptClass& c : all) {
    by_id[c.id] = c;
    ++names[c.names[0]];
    BOOST_TEST((c.id.size() == 9u && c.id[0] == 'n'));
    BOOST_TEST(!c.definition.empty());
    BOOST_TEST(!c.hypernym.empty());
    BOOST_TEST(folder_name(c.id) == c.id);
  }
  BOOST_TEST(by_id.size() == 1000u);
  for (const PromptClass& c : hundred) BOOST_TEST((by_id.at(c.id) == c));
  // Labels are those of torchvision, which sorts folders.
  BOOST_TEST((std::ranges::is_sorted(all, {}, &PromptClass::id) && std::ranges::is_sorted(hundred, {}, &PromptClass::id)));
  BOOST_TEST(
      (by_id["n02123045"] ==
       PromptClass{"n02123045", {"tabby", "tabby cat"}, "a cat with a grey or tawny coat mottled with black", "domestic cat"}));
  BOOST_TEST(all[281].id == "n02123045");
  BOOST_TEST(names["crane"] == 2);
  BOOST_TEST(names["maillot"] == 2);
}

BOOST_FIXTURE_TEST_CASE(forms_of_a_file, Folder) {
  const auto read = [&](const std::string& name, const std::string& bytes) { return read_classes(write(name, bytes).string()); };
  const std::vector<PromptClass> cat_dog{{"cat", {"cat"}, "", ""}, {"dog", {"dog"}, "", ""}};
  BOOST_TEST((read("a.json", R"(["cat", "dog"])") == cat_dog));
  BOOST_TEST((read("a.json", "\xef\xbb\xbf\n [\"cat\", \"dog\"]") == cat_dog));
  BOOST_TEST((read("a.txt", "cat\ndog\n") == cat_dog));
  BOOST_TEST((read("a.txt",
                   "\xef\xbb\xbf"
                   "cat\r\ndog") == cat_dog));
  BOOST_TEST((read("a", " cat \ndog") == cat_dog));
  BOOST_TEST((read("a.json", R"({"n2": "crane", "n1": "crane"})") ==
              std::vector<PromptClass>{{"n1", {"crane"}, "", ""}, {"n2", {"crane"}, "", ""}}));
  BOOST_TEST((read("a.json", R"([{"id": "n1", "name": "crane", "definition": "a bird", "hypernym": "wading bird"},
                                 {"id": "n2", "names": ["crane", "derrick"], "definition": null}, {"name": "dog"}, "cat"])") ==
              std::vector<PromptClass>{
                  {"n1", {"crane"}, "a bird", "wading bird"}, {"n2", {"crane", "derrick"}, "", ""}, cat_dog[1], cat_dog[0]}));
  BOOST_TEST((read("a.tsv", "n1\tcrane\ta bird\nn2\tcrane\ndog\n") ==
              std::vector<PromptClass>{{"n1", {"crane"}, "a bird", ""}, {"n2", {"crane"}, "", ""}, cat_dog[1]}));
}

// Ids that are numbers count as such, in whatever order the file has them; beside other ids they are text.
BOOST_FIXTURE_TEST_CASE(order_of_ids, Folder) {
  const auto ids = [&](const std::string& json) {
    std::string out;
    for (const PromptClass& c : read_classes(write("a.json", json).string())) out += c.id + " ";
    return out;
  };
  BOOST_TEST(ids(R"({"10": "a", "9": "b", "2": "c", "100": "d"})") == "2 9 10 100 ");
  BOOST_TEST(ids(R"({"10": "a", "02": "b", "2": "c"})") == "02 2 10 ");
  BOOST_TEST(ids(R"({"10": "a", "9": "b", "n1": "c"})") == "10 9 n1 ");
  BOOST_TEST(ids(R"([{"id": "10", "name": "a"}, {"id": "2", "name": "b"}])") == "10 2 ");  // a list has an order of its own
}

// Of a pipe nothing is left for a second look.
BOOST_AUTO_TEST_CASE(a_file_is_read_once) {
  for (const std::string bytes : {"cat\ndog\n", R"(["cat", "dog"])"}) {
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    BOOST_REQUIRE(::write(ends[1], bytes.data(), bytes.size()) == ssize_t(bytes.size()));
    ::close(ends[1]);
    BOOST_TEST(read_classes(text("/dev/fd/", ends[0])).size() == 2u);
    ::close(ends[0]);
  }
}

BOOST_FIXTURE_TEST_CASE(names_survive, Folder) {
  const std::vector<std::string> names{
      "T-shirt/top, \"large\"", "Müllers Kätzchen", "it's", "🐈‍⬛", "a\\b", "..", "{braces}", "漢字 100%", "<b>&amp;"};
  std::string lines, json;
  for (const std::string& name : names) {
    lines += name + "\n";
    (json += json.empty() ? "[" : ", ") += '"';
    for (const char c : name) (json += c == '"' || c == '\\' ? "\\" : "") += c;
    json += '"';
  }
  for (const auto& classes : {read_classes(write("a.txt", lines).string()), read_classes(write("a.json", json + "]").string())}) {
    BOOST_REQUIRE(classes.size() == names.size());
    for (size_t i = 0; i < names.size(); ++i) {
      BOOST_TEST(classes[i].names[0] == names[i]);
      BOOST_TEST(classes[i].id == names[i]);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(refused, Folder) {
  const auto refused = [&](const std::string& bytes, const std::string& words) {
    const fs::path file = write("list", bytes);
    REFUSED(read_classes(file.string()), words);
    REFUSED(read_classes(file.string()), file.string());
    REFUSED(read_classes(file.string()), "remedy");
  };
  refused("", "there are no classes");
  refused("[]", "there are no classes");
  refused("{}", "there are no classes");
  refused("cat\ndog\ncat\n", "two classes have the id 'cat': line 1 and line 3");
  refused("n1\tcrane\nn1\tdog\n", "two classes have the id 'n1': line 1 and line 2");
  refused("n1\tcat\ncat\tdog\ncat\n", "two classes have the id 'cat': line 2 and line 3");
  refused(R"(["cat", "dog", {"name": "cat"}])", "two classes have the id 'cat': [0] and [2]");
  refused(R"({"a": "x", "a": "y"})", "the key 'a' is there twice");
  refused("cat\n\ndog\n", "line 2: the name is empty");
  refused("n1\t\n", "line 1: the name is empty");
  refused("\tcat\n", "line 1: the id is empty");
  refused(R"(["cat", " "])", "[1]: the name is empty");
  refused(R"([{"id": "", "name": "cat"}])", "[0]: the id is empty");
  refused(R"([{"id": "a", "names": []}])", "[0].names has no name");
  refused(R"([{"id": "a"}])", "[0].name is missing");
  refused(R"([{"name": "a", "names": ["b"]}])", "[0].name is there beside names");
  refused(R"([{"name": "a", "wnid": "b"}])", "there is no key '[0].wnid'");
  refused(R"([{"name": "a", "id": null}])", "[0].id is null");
  refused(R"([1, 2])", "[0] is 1, wanted a string or an object");
  refused(R"({"0": ["n01440764", "tench"]})", "wanted a string");
  refused(R"(["a)", "truncated");
  refused(R"(["a\u0000b"])", "[0]: the name 'a\\x00b' has the control character 0 at byte 1");
  refused(R"([{"name": "a", "definition": "one\ntwo"}])", "[0]: the definition 'one\\x0atwo' has the control character 10");
  refused(
      "cat\na\x07"
      "b\n",
      "line 2 has the control character 7");
  refused("cat\nd\xff\n", "line 2 is not valid UTF-8");
  refused("a\tb\tc\td\n", "line 1 has 4 fields");
  refused("<!doctype html>\n<p>cat", "this is a web page");
  refused("version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer");
  REFUSED(read_classes("imagenet"), "'imagenet' is neither a table that ships nor a file");
  REFUSED(read_classes(path.string()), "Is a directory");
}

BOOST_AUTO_TEST_CASE(names_of_folders) {
  for (const char* plain : {"n02123045", "cat", "tabby cat", "a.b", "Kätzchen", "漢字", "🐈‍⬛", "it's, so", "-x", "a..b"})
    BOOST_TEST(folder_name(plain) == plain);
  BOOST_TEST(folder_name("a/b") == "a%2Fb");
  BOOST_TEST(folder_name("..") == "%2E%2E");
  BOOST_TEST(folder_name(".git") == "%2Egit");
  BOOST_TEST(folder_name("a%2Fb") == "a%252Fb");
  BOOST_TEST(folder_name("end. ") == "end.%20");
  BOOST_TEST(folder_name("") == "%");
  std::vector<std::string> ids{".",    "..",           "...",  "/",      "a/", "%", "%%", "\\", "a\nb", std::string("a\0b", 3),
                               "\xff", "\xc3\xa4\xc3", "con:", "?*\"<>|"};
  for (int byte = 0; byte < 256; ++byte)
    ids.push_back(std::string("x") + char(byte) + "y"), ids.push_back(std::string(1, char(byte)));
  std::set<std::string> folders;
  for (const std::string& id : ids) {
    const std::string folder = folder_name(id);
    BOOST_TEST(folder_id(folder) == id);
    BOOST_TEST((folder.find('/') == folder.npos && folder[0] != '.' && folder.find('\0') == folder.npos));
    folders.insert(folder);
  }
  BOOST_TEST(folders.size() == std::set<std::string>(ids.begin(), ids.end()).size());
  // Long ones are cut between characters, and differ where the ids do.
  for (const std::string part : {"x", "ä", "🐈", "/"}) {
    std::string id;
    while (id.size() < 300) id += part;
    const std::string one = folder_name(id), other = folder_name(id + "x");
    BOOST_TEST(one.size() <= 200u);
    BOOST_TEST(one.size() > 190u);
    BOOST_TEST(one != other);
    const std::string start = folder_id(one.substr(0, one.find("%~")));
    BOOST_TEST(id.starts_with(start));
    BOOST_TEST(start.size() % part.size() == 0u);
  }
  BOOST_TEST(folder_name(std::string(200, 'x')) == std::string(200, 'x'));
}

BOOST_AUTO_TEST_SUITE_END()
