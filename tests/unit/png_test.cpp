// PNG files give the pixels back, and grids put each image in its place.
#include <mindgap/data/png.hpp>

#include <boost/test/unit_test.hpp>
#include <limits>
#include <png.h>
#include <string>
#include <vector>

using namespace mindgap;

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

BOOST_AUTO_TEST_SUITE_END()
