// PNG files give the pixels and the text back, those of others are read upright, and grids put each image in its place.
#include <mindgap/data/image_file.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/hash.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <png.h>
#include <string>
#include <vector>
#include <zlib.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

std::string big_endian(u32 n) { return {char(n >> 24), char(n >> 16), char(n >> 8), char(n)}; }
std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(u32(data.size())) + type + data + big_endian(crc32(type + data));
}

// A PNG file whose header claims a size and a kind. rows: of the pixels, each behind its filter's byte.
std::string png_file(u32 w, u32 h, char bits, char kind, const std::string& rows, const std::string& chunks = "") {
  std::string packed(compressBound(rows.size()), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()), rows.size());
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", big_endian(w) + big_endian(h) + std::string{bits, kind, 0, 0, 0}) + chunks +
         chunk("IDAT", packed.substr(0, size)) + chunk("IEND", "");
}

// The text of a file as libpng reads it, which checks every chunk.
PngText text_of(const std::string& bytes) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::string_view left = bytes;
  PngText out;
  if (setjmp(png_jmpbuf(png))) {
    out.emplace_back("broken", "file");
  } else {
    png_set_read_fn(png, &left, [](png_structp reader, png_bytep to, size_t count) {
      auto& from = *static_cast<std::string_view*>(png_get_io_ptr(reader));
      if (count > from.size()) png_error(reader, "the file is too short");
      std::memcpy(to, from.data(), count);
      from.remove_prefix(count);
    });
    png_read_png(png, info, 0, nullptr);
    png_textp texts = nullptr;
    const int count = png_get_text(png, info, &texts, nullptr);
    for (int i = 0; i < count; ++i) out.emplace_back(texts[i].key, std::string(texts[i].text, texts[i].itxt_length));
  }
  png_destroy_read_struct(&png, &info, nullptr);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(png)

BOOST_AUTO_TEST_CASE(pixels_come_back) {
  for (const i64 channels : {1, 3}) {
    Tensor<u8, 4> images({5, 3, 4, channels});
    for (i64 i = 0; i < images.size(); ++i) images.data()[i] = u8(i * 7);
    const Tensor<u8, 3> grid = make_grid(images, 2, 1, 9);
    BOOST_TEST((grid.shape() == Shape<3>(3 * 3 + 2, 2 * 4 + 1, channels)));
    // Image 3 stands in row 1, column 1; cell 5 is empty.
    BOOST_TEST(grid.data()[(4 * 9 + 5) * channels] == images.data()[3 * 12 * channels]);
    BOOST_TEST(grid.data()[(8 * 9 + 5) * channels] == 9);
    BOOST_TEST(grid.data()[4 * channels] == 9);
    const std::string bytes = encode_png(grid);
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    BOOST_REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
    BOOST_TEST(image.width == 9u);
    BOOST_TEST(image.height == 11u);
    image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    std::vector<u8> pixels(PNG_IMAGE_SIZE(image));
    BOOST_REQUIRE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr));
    BOOST_TEST(pixels == grid.to_vector(), boost::test_tools::per_element());
  }
  const u8 pixel = 0;
  BOOST_CHECK_THROW(encode_png(&pixel, 0, 1, 1), Error);
  BOOST_CHECK_THROW(encode_png(&pixel, 1, 1, 2), Error);
  BOOST_CHECK_THROW(make_grid(Tensor<u8, 4>(Shape<4>(1, 1, 1, 1)), 0), Error);
}

// Numbers that no picture has, each of which overflows somewhere.
BOOST_AUTO_TEST_CASE(grids_without_measure) {
  const auto images = Tensor<u8, 4>::zeros(Shape<4>(4, 1, 1, 1));
  constexpr i64 most = std::numeric_limits<i64>::max();
  for (const auto& [columns, padding] : {std::pair(i64(1) << 62, i64(0)), {most, 0}, {most, most}, {1, most}, {2, i64(1) << 62}})
    BOOST_CHECK_EXCEPTION(make_grid(images, columns, padding, 0), Error, [](const Error& error) {
      return std::string(error.what()).find("larger than any that is shown") != std::string::npos;
    });
  BOOST_TEST((make_grid(images, 5, 0, 0).shape() == Shape<3>(1, 5, 1)));
}

BOOST_AUTO_TEST_CASE(text_comes_back) {
  const auto image = Tensor<u8, 3>::full({3, 4, 3}, 77);
  const PngText text{{"prompt", "a \"gr\xc3\xbcn\" crane, \xf0\x9f\x91\x9f\n2"},
                     {"seed", "18446744073709551615"},
                     {"empty", ""},
                     {"seed", "again"},
                     {std::string(79, 'k'), std::string(100'000, 'v')}};
  BOOST_TEST((text_of(encode_png(image, text)) == text));
  // Without text, what libpng alone writes; with text, that and the text.
  png_image whole{};
  whole.version = PNG_IMAGE_VERSION, whole.width = 4, whole.height = 3, whole.format = PNG_FORMAT_RGB;
  std::string plain(PNG_IMAGE_PNG_SIZE_MAX(whole), '\0');
  png_alloc_size_t size = plain.size();
  BOOST_REQUIRE(png_image_write_to_memory(&whole, plain.data(), &size, 0, image.data(), 0, nullptr));
  plain.resize(size);
  BOOST_TEST(encode_png(image) == plain);
  BOOST_TEST(text_of(plain).empty());
  BOOST_TEST(encode_png(image, text).ends_with(plain.substr(33)));
  for (const char* keyword : {"", " a", "a ", "a\n", "gr\xc3\xbcn"})
    REFUSED(encode_png(image, {{keyword, "x"}}), "1 to 79 printable ASCII");
  REFUSED(encode_png(image, {{std::string(80, 'k'), "x"}}), "1 to 79 printable ASCII");
  REFUSED(encode_png(image, {{"a", "\xff"}}), "text is not UTF-8");
  REFUSED(encode_png(image, {{"a", std::string("x\0y", 3)}}), "without zero bytes");
  REFUSED(encode_png(image, {{"a", std::string((1 << 20) + 1, 'x')}}), "text has 1048577 bytes, 1048576 at most");
}

// What png.hpp says of files of others.
BOOST_AUTO_TEST_CASE(pixels_of_other_kinds) {
  const auto pixel = [](const std::string& file) { return decode_png(file, "x.png").to_vector(); };
  const auto grey = [](u8 v) { return std::vector<u8>(3, v); };
  const std::string no_filter(1, '\0');
  BOOST_TEST(pixel(png_file(1, 1, 8, 0, no_filter + "\x64")) == grey(100));
  BOOST_TEST(pixel(png_file(1, 1, 16, 0, no_filter + "\x80\xff")) == grey(128));
  BOOST_TEST(pixel(png_file(1, 1, 16, 0, no_filter + "\x7f\x7f")) == grey(127));
  BOOST_TEST(pixel(png_file(1, 1, 8, 0, no_filter + "\x64", chunk("gAMA", big_endian(100'000)))) == grey(167));  // of light
  BOOST_TEST(pixel(png_file(1, 1, 8, 4, no_filter + std::string("\0\0", 2))) == grey(255));
  const u8 half = pixel(png_file(1, 1, 8, 4, no_filter + std::string("\0\x80", 2)))[0];  // half the light of white
  BOOST_TEST((half > 180 && half < 192), int(half));
}

// A few bytes may claim any size; what libpng holds by then is freed, which the sanitizers see.
BOOST_AUTO_TEST_CASE(claims_are_refused_before_memory_is_asked_for) {
  for (const auto& [w, h] : {std::pair(60'000u, 60'000u), {1u << 19, 1u << 10}, {16'384u, 16'385u}}) {
    const std::string file = png_file(w, h, 8, 2, "");
    BOOST_TEST(file.size() < 100);
    REFUSED(decode_png(file, "huge.png"), text("png: the file claims an image of ", w, " x ", h, " pixels"));
    REFUSED(decode_png(file, "huge.png"), "file    huge.png");
  }
  REFUSED(decode_png(png_file(3, 3, 8, 2, ""), "short.png"), "file    short.png");
}

// 1 2 3   as each orientation stores it: Pillow's ImageOps.exif_transpose gives what stands to the right.
// 4 5 6
BOOST_FIXTURE_TEST_CASE(images_are_turned_upright, Folder) {
  const Tensor<u8, 3> stored({2, 3, 3});
  for (i64 i = 0; i < stored.size(); ++i) stored.data()[i] = u8('1' + i / 3);
  const std::string plain = encode_png(stored);
  const auto read = [&](const std::string& exif) {
    std::string bytes = plain;
    const Tensor<u8, 3> image = read_image(write("x.png", bytes.insert(33, exif.empty() ? "" : chunk("eXIf", exif))));
    std::string out;
    for (i64 i = 0; i < image.size(); i += 3) {
      if (i && i / 3 % image.extent(1) == 0) out += '/';
      out += char(image.data()[i]);
    }
    return out;
  };
  std::string damaged = plain;
  damaged.insert(33, chunk("eXIf", "II*")), damaged[42] ^= 1;
  BOOST_CHECK_THROW(read_image(write("x.png", damaged)), Error);
  const auto exif = [&](char orientation) {  // behind another entry
    return std::string("II*\0\x8\0\0\0\2\0\0\1\3\0\1\0\0\0\7\0\0\0\x12\1\3\0\1\0\0\0", 30) + orientation + std::string(7, '\0');
  };
  const std::vector<std::string> upright{"123/456",  "321/654",  "654/321",  "456/123",
                                         "14/25/36", "41/52/63", "63/52/41", "36/25/14"};
  for (char i = 1; i <= 8; ++i) BOOST_TEST(read(exif(i)) == upright[size_t(i - 1)], int(i));
  // As a number of four bytes; behind the name that a JPEG file has before it.
  const std::string as_long("MM\0*\0\0\0\x8\0\1\1\x12\0\4\0\0\0\1\0\0\0\x6\0\0\0\0", 26);
  BOOST_TEST(read(as_long) == upright[5]);
  BOOST_TEST(read(std::string("Exif\0\0", 6) + as_long) == upright[5]);
  // Nothing, nonsense and half of it turn nothing.
  for (const std::string& other : {std::string(), exif(0), exif(9), exif(6).substr(0, 20), std::string("MM")})
    BOOST_TEST(read(other) == upright[0]);
}

BOOST_AUTO_TEST_SUITE_END()
