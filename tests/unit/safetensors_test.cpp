// io/safetensors.hpp: every malformed file is refused with a message that names the reason; valid ones, zero-size and
// scalar tensors included, come back bit for bit; writing is deterministic and survives a failed write.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/io/elements.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/safetensors.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::string with_length(const std::string& header, const std::string& data = "") {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[size_t(i)] = char(header.size() >> (8 * i));
  return out + header + data;
}

std::string message(const std::string& file) {
  Folder folder;
  const fs::path path = folder.write("model.safetensors", file);
  try {
    Safetensors{path};
  } catch (const Error& error) {
    const std::string text = error.what();
    BOOST_TEST(text.find("model.safetensors") != text.npos, text);
    BOOST_TEST(text.find("remedy") != text.npos, text);
    return text;
  }
  return "accepted";
}

// The file is refused, and the message has these words.
#define BAD_FILE(file, words)                                            \
  do {                                                                   \
    const std::string said = message(file);                              \
    BOOST_TEST(said.find(words) != std::string::npos, "said: " << said); \
  } while (false)

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& range) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + range + "]}";
}
std::string file_of(const std::string& entries, size_t data_bytes) {
  return with_length("{" + entries + "}", std::string(data_bytes, '\1'));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(safetensors_refusals)

BOOST_AUTO_TEST_CASE(header_length) {
  BAD_FILE("", "0 bytes");
  BAD_FILE("1234567", "7 bytes");
  BAD_FILE(std::string("\x40\0\0\0\0\0\0\0{}", 10), "claims 64 bytes");
  BAD_FILE(std::string("\0\xe1\xf5\x05\0\0\0\0", 8), "claims 100000000 bytes");
  BAD_FILE(std::string("\x01\xe1\xf5\x05\0\0\0\0", 8), "more than 100,000,000");
  BAD_FILE(std::string(16, '\xff'), "more than 100,000,000");
  BAD_FILE(std::string(8, '\0'), "not a JSON object");
}

BOOST_AUTO_TEST_CASE(header_text) {
  BAD_FILE(with_length("[]"), "not a JSON object");
  BAD_FILE(with_length(" {}"), "not a JSON object");
  BAD_FILE(with_length("{"), "truncated");
  BAD_FILE(with_length("{\"\xff\":1}"), "not JSON at line 1, column 3");
  BAD_FILE(with_length("{\"a\":" + std::string(100'000, '[')), "deeper than 64 levels");
  BAD_FILE(with_length("{\"a\":" + std::string(100'000, '{')), "not JSON");
  BAD_FILE(with_length(R"({"a":3})"), "tensor 'a' is 3, wanted an object");
  BAD_FILE(with_length(R"({"a":{"dtype":"F32","shape":[1]}})"), "tensor 'a'.data_offsets is missing");
  BAD_FILE(with_length(R"({"a\nb":{"dtype":7,"shape":[],"data_offsets":[0,0]}})"),
           "tensor 'a\\x0ab'.dtype is 7, wanted a string");
  BAD_FILE(with_length(R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", "abcd"), "wanted a list");
  BAD_FILE(with_length(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", "abcd"), "wanted a list of 2");
}

BOOST_AUTO_TEST_CASE(end_of_file) {
  const std::string two = entry("a", "F32", "2", "0,8") + "," + entry("b", "F32", "2", "8,16");
  BOOST_TEST(message(file_of(two, 16)) == "accepted");
  BAD_FILE(file_of(two, 15), "truncated");
  BAD_FILE(file_of(two, 0), "truncated");
  BAD_FILE(file_of(two, 17), "1 too many");
  BAD_FILE(file_of("", 4), "4 too many");
}

BOOST_AUTO_TEST_CASE(ranges) {
  BAD_FILE(file_of(entry("a", "F32", "2", "0,8") + "," + entry("b", "F32", "2", "4,12"), 12), "overlaps");
  std::string crowd;
  for (int i = 0; i < 1000; ++i) crowd += (i ? "," : "") + entry("w" + std::to_string(i), "F32", "4", "0,16");
  BAD_FILE(file_of(crowd, 16), "overlaps");
  BAD_FILE(file_of(entry("a", "F32", "2", "0,8") + "," + entry("b", "F32", "2", "12,20"), 20), "belong to no tensor");
  BAD_FILE(file_of(entry("a", "F32", "2", "4,12"), 12), "belong to no tensor");
  BAD_FILE(file_of(entry("a", "F32", "4", "16,0"), 16), "ends before it begins");
  BAD_FILE(file_of(entry("a", "F32", "4", "0,16") + "," + entry("b", "F32", "0", "8,8"), 16), "overlaps");
  // The order of the names says nothing about the order of the data.
  BOOST_TEST(message(file_of(entry("a", "F32", "2", "8,16") + "," + entry("b", "F32", "2", "0,8"), 16)) == "accepted");
}

BOOST_AUTO_TEST_CASE(shape_against_range) {
  BAD_FILE(file_of(entry("a", "F64", "4", "0,16"), 16), "F64 [4] has 32 bytes");
  BAD_FILE(file_of(entry("a", "F32", "", "0,8"), 8), "F32 [] has 4 bytes");
}

BOOST_AUTO_TEST_CASE(values) {
  BAD_FILE(file_of(entry("a", "F32", "1", "0,4") + "," + entry("a", "F32", "1", "0,4"), 4), "key 'a' is there twice");
  BAD_FILE(with_length(R"({"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,4]}})", "abcd"),
           "a: the key 'shape' is there twice");
  BAD_FILE(file_of(R"("__metadata__":{"epoch":3})", 0), "__metadata__.epoch is 3, wanted a string");
  BAD_FILE(file_of(R"("__metadata__":["a"])", 0), "wanted an object");
  BAD_FILE(file_of(R"("__metadata__":{"a":"1","a":"2"})", 0), "key 'a' is there twice");
  BAD_FILE(file_of(entry("a", "F32", "-1", "0,4"), 4), "shape[0] is -1, wanted a whole number of at least 0");
  BAD_FILE(file_of(entry("a", "F32", "1.0", "0,4"), 4), "shape[0] is 1.0");
  BAD_FILE(file_of(entry("a", "F32", "\\\"1\\\"", "0,4"), 4), "not JSON");
  BAD_FILE(file_of(entry("a", "F32", "1", "-4,0"), 4), "data_offsets[0] is -4");
  BAD_FILE(file_of(entry("a", "F32", "9223372036854775808", "0,4"), 4), "shape[0] is 9223372036854775808");
  BAD_FILE(file_of(entry("a", "F32", "99999999999999999999999", "0,4"), 4), "wanted a whole number");
  BAD_FILE(file_of(entry("a", "U8", "4294967296,4294967296", "0,0"), 0), "does not fit");
  BAD_FILE(file_of(entry("a", "F32", "4611686018427387905", "0,4"), 4), "does not fit");  // times 4 wraps to 4
  BAD_FILE(file_of(entry("a", "Q4_0", "1", "0,4"), 4), "unknown type 'Q4_0'");
}

BOOST_AUTO_TEST_CASE(other_files) {
  BAD_FILE("<!DOCTYPE html>\n<html><body>404</body></html>", "web page");
  BAD_FILE("\xef\xbb\xbf\n <HTML lang='en'>", "web page");
  BAD_FILE("{\"error\":\"Repository not found\"}", "this is JSON");
  BAD_FILE("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438167540\n", "git-lfs pointer");
  BAD_FILE("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 3438167540\n", "run `git lfs pull`");
  BAD_FILE("PK\x03\x04 archive/data.pkl", "PyTorch checkpoint");
  Folder folder;
  BOOST_TEST(error_of([&] { Safetensors{folder.path}; }).find("not a regular file") != std::string::npos);
  BOOST_TEST(error_of([&] { Safetensors{folder.path / "none"}; }).find("No such file") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(nothing_shorter_than_a_valid_file_is_accepted) {
  const std::string whole = file_of(entry("a", "F32", "2", "0,8") + "," + entry("b", "I64", "1", "8,16"), 16);
  for (size_t bytes = 0; bytes < whole.size(); ++bytes)
    BOOST_TEST(message(whole.substr(0, bytes)) != "accepted", "accepted " << bytes << " of " << whole.size() << " bytes");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(safetensors_contents)

BOOST_AUTO_TEST_CASE(round_trip) {
  Folder folder;
  const fs::path path = folder.path / "x.safetensors";
  const auto weights = Tensor<float, 4>::from({1, 2, 3, 4, -0.f, 1e-40f}, {1, 2, 3, 1});
  const auto half = Tensor<bf16, 1>::from({bf16(1.5f), bf16(-2.f), bf16(3.f)}, {3});
  const auto pixels = Tensor<u8, 1>::from({0, 128, 255}, {3});
  const auto count = Tensor<i64, 0>::full({}, INT64_MAX);
  const auto nothing = Tensor<float, 2>::zeros({0, 5});
  const Metadata metadata{{"name", "T-shirt, \"quoted\" \xc3\xa4 \xf0\x9f\x91\x95"}, {"format", "pt"}};
  write_safetensors(path,
                    {safetensors_source("pixels", pixels), safetensors_source("w", weights), safetensors_source("count", count),
                     safetensors_source("half", half), safetensors_source("nothing", nothing)},
                    metadata);
  const Safetensors file(path);
  BOOST_TEST((file.metadata() == metadata));
  BOOST_TEST(file.entries().size() == 5u);
  BOOST_TEST(file.entries()[0].name == "count");
  BOOST_TEST(same_bits(file.tensor<float, 4>("w"), weights));
  BOOST_TEST(same_bits(file.tensor<bf16, 1>("half"), half));
  BOOST_TEST(same_bits(file.tensor<u8, 1>("pixels"), pixels));
  BOOST_TEST((file.tensor<i64, 0>("count").item() == INT64_MAX));
  BOOST_TEST((file.tensor<float, 2>("nothing").shape() == Shape(0, 5)));
  for (const SafetensorsEntry& entry : file.entries())
    BOOST_TEST(reinterpret_cast<uintptr_t>(entry.bytes.data()) % size_t(bytes(entry.dtype())) == 0u);
  float values[3];
  read_f32(file.at("half"), values);
  BOOST_TEST(values[1] == -2.f);
  BOOST_TEST(file.find("absent") == nullptr);
  BOOST_TEST(error_of([&] { file.at("absent"); }).find("'count', 'half'") != std::string::npos);
  BOOST_TEST(error_of([&] { file.tensor<float, 1>("w"); }).find("f32 of rank 1") != std::string::npos);
  BOOST_TEST(error_of([&] { file.metadata_at("hash"); }).find("lacks 'hash'") != std::string::npos);
  BOOST_TEST(error_of([&] { read_f32(file.at("pixels"), values); }).find("floating-point") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(order_of_writing_does_not_matter) {
  Folder folder;
  const auto a = Tensor<float, 1>::from({1, 2}, {2});
  const auto b = Tensor<u8, 1>::from({7}, {1});
  write_safetensors(folder.path / "1", {safetensors_source("a", a), safetensors_source("b", b)}, {{"k", "v"}, {"j", "u"}});
  write_safetensors(folder.path / "2", {safetensors_source("b", b), safetensors_source("a", a)}, {{"j", "u"}, {"k", "v"}});
  BOOST_TEST(read_file(folder.path / "1") == read_file(folder.path / "2"));
}

BOOST_AUTO_TEST_CASE(types_without_arithmetic_are_read_but_not_converted) {
  Folder folder;
  const Safetensors file(
      folder.write("model.safetensors", file_of(entry("d", "F64", "2", "0,16") + "," + entry("b", "BOOL", "3", "16,19"), 19)));
  BOOST_TEST(file.at("d").shape[0] == 2);
  BOOST_TEST(error_of([&] { file.at("d").dtype(); }).find("F64, which mindgap does not compute in") != std::string::npos);
  BOOST_TEST(error_of([&] { file.tensor<u8, 1>("b"); }).find("BOOL") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(unaligned_data) {
  Folder folder;
  std::string data("\0\0\x80\x3f", 4);  // 1.f
  const Safetensors file(folder.write("model.safetensors", with_length("{" + entry("f", "F32", "1", "0,4") + "}  ", data)));
  BOOST_TEST((file.tensor<float, 1>("f").item()) == 1.f);
}

BOOST_AUTO_TEST_CASE(nan_and_infinity_are_found) {
  Folder folder;
  const float nan = std::nanf(""), infinity = INFINITY;
  const auto good = Tensor<float, 1>::from({1, 3e38f, -0.f}, {3});
  const auto bad = Tensor<float, 1>::from({1, nan, -infinity, infinity}, {4});
  const auto half = Tensor<f16, 1>::from({f16(1e6f), f16(65504.f)}, {2});
  const auto brain = Tensor<bf16, 1>::from({bf16(nan)}, {1});
  write_safetensors(folder.path / "good", {safetensors_source("a", good)});
  check_finite(Safetensors(folder.path / "good").entries(), folder.path / "good");
  write_safetensors(folder.path / "bad", {safetensors_source("a", good), safetensors_source("layer.weight", bad),
                                          safetensors_source("h", half), safetensors_source("b", brain)});
  const std::string said = error_of([&] { check_finite(Safetensors(folder.path / "bad").entries(), folder.path / "bad"); });
  BOOST_TEST(said.find("3 tensors") != said.npos, said);
  BOOST_TEST(said.find("'layer.weight': 1 NaN, 2 infinite of 4") != said.npos, said);
  BOOST_TEST(said.find("'h': 0 NaN, 1 infinite of 2") != said.npos, said);
  BOOST_TEST(said.find("'b': 1 NaN, 0 infinite of 1") != said.npos, said);

  // So many elements that all cores count.
  const auto many = Tensor<bf16, 1>::full({100'001}, bf16(-1.f));
  many.data()[40'000] = bf16(-infinity), many.data()[100'000] = bf16(nan);
  const NonFinite count = count_non_finite(std::as_bytes(std::span(many.data(), 100'001)), "BF16");
  BOOST_TEST(count.nan == 1);
  BOOST_TEST(count.infinite == 1);
}

// The index of a sharded checkpoint stands for the files that it names, each once.
BOOST_AUTO_TEST_CASE(an_index_names_its_files) {
  Folder folder;
  folder.write("a.safetensors", ""), folder.write("b.safetensors", "");
  const auto files = [&](const std::string& json) { return safetensors_files(folder.write("x.safetensors.index.json", json)); };
  BOOST_TEST((
      files(
          R"({"metadata": {"total_size": 3}, "weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}})") ==
      std::vector<fs::path>{folder / "a.safetensors", folder / "b.safetensors"}));
  BOOST_TEST((safetensors_files(folder / "a.safetensors") == std::vector<fs::path>{folder / "a.safetensors"}));
  for (const auto& [json, words] :
       {std::pair{R"({"weight_map": {"x": "c.safetensors"}})", "'c.safetensors', which is not beside it"},
        {R"({"weight_map": {"x": "../a.safetensors"}})", "'../a.safetensors', which is not beside it"},
        {R"({"weight_map": {}})", "names no file"},
        {R"({"weight_map": {"x": 1}})", "weight_map.x is 1"},
        {R"({"metadata": {}})", "weight_map is missing"},
        {"version https://git-lfs.github.com/spec/v1", "not JSON"}})
    for (const std::string& part : {std::string(words), std::string("x.safetensors.index.json"), std::string("remedy")})
      REFUSED(files(json), part);
}

BOOST_AUTO_TEST_CASE(wrong_sources_are_refused_and_the_old_file_stays) {
  Folder folder;
  const fs::path path = folder.path / "x";
  const auto a = Tensor<float, 1>::from({1, 2}, {2});
  write_safetensors(path, {safetensors_source("a", a)});
  const std::string before = read_file(path);
  BOOST_TEST(error_of([&] {
               write_safetensors(path, {safetensors_source("a", a), safetensors_source("a", a)});
             }).find("given twice") != std::string::npos);
  BOOST_TEST(error_of([&] { write_safetensors(path, {safetensors_source("__metadata__", a)}); }).find("reserved") !=
             std::string::npos);
  BOOST_TEST(error_of([&] { write_safetensors(path, {safetensors_source("\xff", a)}); }).find("UTF-8") != std::string::npos);
  SafetensorsSource wrong = safetensors_source("a", a);
  wrong.shape = {3};
  BOOST_TEST(error_of([&] { write_safetensors(path, {wrong}); }).find("8 bytes given, f32 [3] has 12") != std::string::npos);
  for (const std::vector<i64>& shape : {std::vector<i64>{-1, -2}, {i64(1) << 40, i64(1) << 40}, {i64(1) << 62, 4, 0}}) {
    wrong.shape = shape;
    BOOST_TEST(error_of([&] { write_safetensors(path, {wrong}); }).find("no tensor has the shape [") != std::string::npos);
  }
  BOOST_TEST(read_file(path) == before);
  BOOST_TEST(error_of([&] { write_safetensors(folder.path / "no" / "x", {}); }).find("No such file") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
