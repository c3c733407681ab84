// A folder of a test case, and errors as text.
#pragma once

#include <mindgap/core/error.hpp>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace mindgap::test {

namespace fs = std::filesystem;

// A fresh folder that disappears with the object.
struct Folder {
  fs::path path;

  Folder() {
    std::string name = (fs::temp_directory_path() / "mindgap-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;

  fs::path operator/(const std::string& name) const { return path / name; }
  fs::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path / name, std::ios::binary) << bytes;
    return path / name;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(path)) out.push_back(entry.path().filename().string());
    return out;
  }
};

// What the Error that `function` throws says.
template <class Function>
std::string error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace mindgap::test

#define REFUSED(expression, words)                                                                \
  do {                                                                                            \
    const std::string said = mindgap::test::error_of([&] { expression; });                        \
    BOOST_TEST(said.find(words) != std::string::npos, "said: " << said << "  wanted: " << words); \
  } while (false)
