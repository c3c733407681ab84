// JPEG files give nearly the pixels back, at full colour resolution, and the same bytes for the same pixels; damaged ones are no
// images.
#include <mindgap/core/random.hpp>
#include <mindgap/data/image_file.hpp>
#include <mindgap/data/jpeg.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <jpeglib.h>
#include <string>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

struct Decoded {
  Shape<3> shape;
  std::vector<u8> pixels;
  int sampling[3];  // of each channel along the width
};

Decoded decode(const std::string& bytes) {
  jpeg_error_mgr errors;  // which ends the test where the file is none
  jpeg_decompress_struct info{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  jpeg_start_decompress(&info);
  Decoded out{Shape<3>(info.output_height, info.output_width, info.output_components), {}, {}};
  out.pixels.resize(size_t(out.shape.size()));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = out.pixels.data() + size_t(info.output_scanline) * info.output_width * size_t(info.output_components);
    jpeg_read_scanlines(&info, &row, 1);
  }
  for (int c = 0; c < info.num_components; ++c) out.sampling[c] = info.comp_info[c].h_samp_factor;
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return out;
}

// Slopes in brightness, and columns of red and blue, which half a colour resolution would blur.
Tensor<u8, 3> picture(i64 h, i64 w, i64 channels) {
  const Tensor<u8, 3> out({h, w, channels});
  for (i64 y = 0; y < h; ++y)
    for (i64 x = 0; x < w; ++x)
      for (i64 c = 0; c < channels; ++c)
        out.data()[(y * w + x) * channels + c] = u8(channels == 1 ? (x * 3 + y) % 256 : c == 1 ? y % 256 : (x + c / 2) % 2 * 200);
  return out;
}

double worst_difference(const Tensor<u8, 3>& image, int quality) {
  const Decoded got = decode(encode_jpeg(image, quality));
  BOOST_TEST((got.shape == image.shape()));
  int worst = 0;
  for (i64 i = 0; i < image.size(); ++i) worst = std::max(worst, std::abs(int(image.data()[i]) - int(got.pixels[size_t(i)])));
  return worst;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(jpeg)

BOOST_AUTO_TEST_CASE(pixels_come_back) {
  for (const i64 channels : {1, 3})
    for (const auto& [h, w] : {std::pair<i64, i64>(1, 1), {8, 8}, {37, 53}, {256, 200}}) {
      const Tensor<u8, 3> image = picture(h, w, channels);
      BOOST_TEST(worst_difference(image, 100) <= 3);
      BOOST_TEST(worst_difference(image, 95) <= 20);
    }
  const Tensor<u8, 3> image = picture(64, 64, 3);
  const Decoded got = decode(encode_jpeg(image));
  for (const int factor : got.sampling) BOOST_TEST(factor == 1);
  BOOST_TEST(encode_jpeg(image) == encode_jpeg(image, 95));
  BOOST_TEST(encode_jpeg(image) == encode_jpeg(image.clone()));
  BOOST_TEST(encode_jpeg(image, 20).size() < encode_jpeg(image, 75).size());
}

BOOST_AUTO_TEST_CASE(more_bytes_than_pixels) {
  const Tensor<u8, 3> image({300, 300, 3});
  const Stream stream(0, "noise");
  for (i64 i = 0; i < image.size(); ++i) image.data()[i] = u8(stream.below(u64(i), 2) * 255);
  const std::string bytes = encode_jpeg(image, 100);
  BOOST_TEST(bytes.size() > size_t(image.size()));
  BOOST_TEST((decode(bytes).shape == image.shape()));
}

BOOST_AUTO_TEST_CASE(what_libjpeg_refuses_is_an_error) {
  const u8 pixel = 0;
  REFUSED(encode_jpeg(&pixel, 0, 1, 1), "image   [0, 1, 1]");
  REFUSED(encode_jpeg(&pixel, 1, 1, 2), "1 or 3 channels");
  REFUSED(encode_jpeg(&pixel, i64(1) << 32, 1, 1), "extents of 1 to 65500");
  for (const int quality : {-1, 0, 101}) REFUSED(encode_jpeg(&pixel, 1, 1, 1, quality), "the quality is 1 to 100");
  REFUSED(encode_jpeg(Tensor<u8, 3>::full({1, 65501, 1}, 9)), "extents of 1 to 65500");
  BOOST_TEST((decode_jpeg(encode_jpeg(Tensor<u8, 3>::full({1, 65500, 1}, 9)), "").shape() == Shape<3>(1, 65500, 3)));
}

// libjpeg makes up grey pixels for what is damaged, and only warns.
BOOST_AUTO_TEST_CASE(damaged_files_are_errors) {
  const Tensor<u8, 3> image({64, 64, 3});
  const Stream stream(0, "noise");
  for (i64 i = 0; i < image.size(); ++i) image.data()[i] = u8(stream.word(u64(i)));
  const std::string good = encode_jpeg(image);
  BOOST_TEST((decode_jpeg(good, "").shape() == image.shape()));
  const auto refused = [&](const std::string& bytes, const std::string& words) {
    REFUSED(decode_jpeg(bytes, "bad.jpg"), words);
    REFUSED(decode_jpeg(bytes, "bad.jpg"), "file    bad.jpg");
    REFUSED(decode_jpeg(bytes, "bad.jpg"), "remedy");
  };
  for (const size_t left : {good.size() - 2, good.size() - 100, good.size() / 2}) refused(good.substr(0, left), "Premature end");
  std::string bad = good;
  refused(bad.replace(good.size() / 2, 64, 64, '\xfe'), "Corrupt JPEG data");  // no code has so many ones
  bad = good;
  refused(bad.insert(good.size() - 2, "more bytes than pixels"), "extraneous bytes");
  bad = good;
  refused(bad.insert(good.size() / 2, "\xff\xd9"), "premature end of data segment");
  // A revision of JFIF that libjpeg does not know changes no pixel.
  bad = good;
  bad[11] = 3;
  BOOST_TEST(decode_jpeg(bad, "").to_vector() == decode_jpeg(good, "").to_vector());
}

BOOST_AUTO_TEST_CASE(claims_are_refused_before_memory_is_asked_for) {
  std::string file = encode_jpeg(Tensor<u8, 3>::full({8, 8, 1}, 9));
  const size_t frame = file.find("\xff\xc0");
  BOOST_REQUIRE(frame != file.npos);
  file.replace(frame + 5, 4, "\xea\x60\xea\x60");
  REFUSED(decode_jpeg(file, "huge.jpg"), "jpeg: the file claims an image of 60000 x 60000 pixels");
  REFUSED(decode_jpeg(file, "huge.jpg"), "file    huge.jpg");
}

// A camera on its side; png_test.cpp has every orientation.
BOOST_FIXTURE_TEST_CASE(images_are_turned_upright, Folder) {
  const Tensor<u8, 3> stored({8, 16, 3});  // the left half is white
  for (i64 i = 0; i < stored.size(); ++i) stored.data()[i] = i / 3 % 16 < 8 ? 255 : 0;
  const auto segment = [](char marker, const std::string& data) {
    return std::string{'\xff', marker, char((data.size() + 2) >> 8), char(data.size() + 2)} + data;
  };
  const std::string tiff("MM\0*\0\0\0\x8\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 26);
  std::string bytes = encode_jpeg(stored);
  bytes.insert(2, segment('\xe2', "another") + '\xff' + segment('\xe1', "http://ns.adobe.com/xap/1.0/") +
                      segment('\xe1', std::string("Exif\0\0", 6) + tiff));
  BOOST_TEST((decode_jpeg(bytes, "").shape() == stored.shape()));
  const Tensor<u8, 3> image = read_image(write("x.jpg", bytes));
  BOOST_REQUIRE((image.shape() == Shape<3>(16, 8, 3)));
  for (i64 i = 0; i < image.size(); ++i) BOOST_TEST(int(image.data()[i]) == (i < image.size() / 2 ? 255 : 0));
}

BOOST_AUTO_TEST_SUITE_END()
