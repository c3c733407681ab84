// evaluate: JSON that parses and adds up, and folders that are not what they should be.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/io/safetensors.hpp>

#include "tests/apps/run.hpp"
#include <cmath>
#include <nlohmann/json.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

Arguments evaluation(const Folder& folder, const Arguments& more = {}) {
  return Arguments{"--model", (folder / "student").string(), "--data", (folder / "data").string()} + more;
}

void make_student(const Folder& folder) {
  write_idx(folder / "data", 36, 15);
  run_well("train_student", {"--data", (folder / "data").string(), "--out", (folder / "student").string(), "--width", "4",
                             "--epochs", "6", "--batch", "8"});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(evaluate)

BOOST_AUTO_TEST_CASE(adds_up) {
  const Folder folder;
  make_student(folder);
  const std::string out = run_well("evaluate", evaluation(folder, {"--out", (folder / "report").string()}));
  BOOST_TEST(read_file(folder / "report" / "evaluation.json") == out);
  const auto json = nlohmann::json::parse(out);
  BOOST_TEST(json.at("images") == 15);
  BOOST_TEST((json.at("classes").get<Arguments>() == class_names));
  const auto confusion = json.at("confusion").get<std::vector<std::vector<i64>>>();
  i64 all = 0, right = 0;
  for (size_t c = 0; c < 3; ++c) {
    i64 row = 0;
    for (i64 count : confusion.at(c)) row += count;
    BOOST_TEST(row == 5);
    all += row;
    right += confusion[c].at(c);
    BOOST_TEST(json.at("per_class").at(class_names[c]).get<double>() == double(confusion[c][c]) / 5);
  }
  BOOST_TEST(all == 15);
  BOOST_TEST(json.at("top1").get<double>() == double(right) / 15);
  BOOST_TEST(json.at("top5") == 1.0);  // three classes
  BOOST_TEST(std::isfinite(json.at("loss").get<double>()));

  // The batch changes no image, so the answers stay; the loss may be summed in another order.
  const auto small = nlohmann::json::parse(run_well("evaluate", evaluation(folder, {"--batch", "4"})));
  BOOST_TEST((small.at("confusion") == json.at("confusion")));
  BOOST_TEST(std::abs(small.at("loss").get<double>() - json.at("loss").get<double>()) < 1e-5);

  const auto train = nlohmann::json::parse(run_well("evaluate", evaluation(folder, {"--split", "train"})));
  BOOST_TEST(train.at("images") == 36);
  for (const auto& [split, images] : {std::pair("fit", 33), {"held-out", 3}})
    BOOST_TEST(nlohmann::json::parse(run_well("evaluate", evaluation(folder, {"--split", split}))).at("images") == images);
}

BOOST_AUTO_TEST_CASE(other_classes) {
  const Folder folder;
  make_student(folder);
  for (const char* names : {"a\nb\nc\n", "a\nb\nc\nd\n"}) {
    write_file_atomic(folder / "data" / "classes.txt", names);
    const Result r = run("evaluate", evaluation(folder));
    BOOST_TEST(r.code == 1);
    BOOST_TEST(r.says("other classes"), r);
    BOOST_TEST(r.says("number 0 is 'a'"), r);
    BOOST_TEST(r.says("number 0 is 'dress"), r);
    BOOST_TEST(r.out.empty());
  }
  write_idx(folder / "data", 36, 15);
  write_file_atomic(folder / "data" / "classes.txt", class_names[1] + "\n" + class_names[0] + "\n" + class_names[2] + "\n");
  BOOST_TEST(run("evaluate", evaluation(folder)).code == 1);  // the same names in another order
}

// A class without images has no accuracy.
BOOST_AUTO_TEST_CASE(empty_class) {
  const Folder folder;
  make_student(folder);
  write_idx_pair(folder / "data", "t10k", 2, 8, 1);
  const auto json = nlohmann::json::parse(run_well("evaluate", evaluation(folder)));
  BOOST_TEST(json.at("per_class").at(class_names[2]).is_null());
}

BOOST_AUTO_TEST_CASE(damaged_students) {
  const Folder folder;
  make_student(folder);
  const fs::path weights = folder / "student" / "model.safetensors", info = folder / "student" / "student.json";
  const std::string good = read_file(weights), good_info = read_file(info);
  const auto refused = [&](const fs::path& file, const std::string& bytes, const std::string& part) {
    write_file_atomic(file, bytes);
    const Result r = run("evaluate", evaluation(folder));
    BOOST_TEST(r.code == 1, part << ": " << r);
    BOOST_TEST(r.says(part), part << ": " << r);
    BOOST_TEST(r.says(file.filename().string()), r);
    BOOST_TEST(r.out.empty());
    write_file_atomic(weights, good);
    write_file_atomic(info, good_info);
  };
  refused(weights, good.substr(0, good.size() - 1000), "truncated");
  refused(weights, good.substr(0, 5), "5 bytes");
  refused(weights, "<!DOCTYPE html>\n<html><body>Not found</body></html>", "web page");
  refused(weights, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git-lfs");
  std::string flipped = good;
  flipped[good.size() - 1000] = char(flipped[good.size() - 1000] ^ 4);  // a weight that is a number still
  refused(weights, flipped, "damaged");
  refused(info, "{", "student.json");
  refused(info, "{\"model\": 3}", "student.json");
  refused(info, "[]", "student.json");
  // Values that no student has, or that end as one whose answers are NaN.
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = good_info;
    return changed.replace(changed.find(from), from.size(), to);
  };
  refused(info, with("\"width\": 4", "\"width\": 1000000000000000000"), "1000000000000000000");
  refused(info, with("\"width\": 4", "\"width\": 8.5"), "8.5");
  refused(info, with("\"small\"", "\"purple\""), "purple");
  // A normalisation that makes every image the same, or infinite.
  refused(info, with("\"mean\": [\n    0.5", "\"mean\": [\n    1e38"), "mean[0] is 1e+38");
  refused(info, with("\"std\": [\n    0.5", "\"std\": [\n    0.0"), "std[0] is 0.0");
  refused(info, with("\"mean\": [\n    0.5\n", "\"mean\": [\n"), "0 values for 1 channels");
  refused(info, with("\"std\": [\n    0.5", "\"std\": [\n    0.5, 0.5"), "2 values for 1 channels");
  // A variance below 0, in a file that has no hash.
  std::vector<SafetensorsSource> sources;
  const Safetensors file(weights);
  for (const SafetensorsEntry& entry : file.entries()) sources.push_back({entry.name, entry.dtype(), entry.shape, entry.bytes});
  const std::vector<float> negative(4, -1);
  for (SafetensorsSource& source : sources)
    if (source.name == "bn1.running_var") source.bytes = std::as_bytes(std::span(negative));
  write_safetensors(folder / "negative", sources);
  refused(weights, read_file(folder / "negative"), "variances are below 0: bn1.running_var");
  write_file_atomic(info, with("\"width\": 4", "\"width\": 5"));
  const Result r = run("evaluate", evaluation(folder));
  BOOST_TEST(r.code == 1);
  BOOST_TEST(r.says("model.safetensors"), r);
  BOOST_TEST(std::count(r.err.begin(), r.err.end(), '\n') < 200);
  fs::remove(info);
  BOOST_TEST(run("evaluate", evaluation(folder)).says("student.json"));
}

BOOST_AUTO_TEST_SUITE_END()
