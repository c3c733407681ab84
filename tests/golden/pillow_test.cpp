// data/resample.hpp makes the bytes of Pillow's Image.resize; the cases are made by scripts/golden.py.
#include <mindgap/core/random.hpp>
#include <mindgap/data/resample.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <map>
#include <nlohmann/json.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

Shape<3> shape_of(const nlohmann::json& entry, const char* key) {
  return {entry[key][0].get<i64>(), entry[key][1].get<i64>(), entry["channels"].get<i64>()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pillow)

BOOST_AUTO_TEST_CASE(resized_images) {
  const std::map<std::string, ResampleFilter> filters{{"box", ResampleFilter::box},
                                                      {"bilinear", ResampleFilter::bilinear},
                                                      {"bicubic", ResampleFilter::bicubic},
                                                      {"lanczos", ResampleFilter::lanczos}};
  const auto cases = nlohmann::json::parse(read_file(MINDGAP_SOURCE_DIR "/tests/golden/pillow_resize.json"));
  BOOST_TEST(cases.size() == 104u);
  for (const auto& entry : cases) {
    const Tensor<u8, 3> image(shape_of(entry, "size"));
    const Stream stream(0, "golden:pixels");
    for (i64 i = 0; i < image.size(); ++i) {
      const u32 pixel = stream.below(u64(i), 256);
      image.data()[i] = u8(entry["pixels"] == "noise" ? pixel : pixel / 128 * 255);
    }
    const Shape<3> to = shape_of(entry, "to");
    const auto out = resample(image, to[0], to[1], filters.at(entry["filter"]));
    BOOST_TEST((out.shape() == to));
    const std::string bytes(reinterpret_cast<const char*>(out.data()), size_t(out.bytes()));
    BOOST_TEST(sha256(bytes) == entry["sha256"].get<std::string>(), entry.dump());
  }
}

BOOST_AUTO_TEST_CASE(extents_that_no_image_has) {
  const auto image = Tensor<u8, 3>::full({2, 3, 1}, 7);
  REFUSED(resample(image, 0, 3), "resample: an image has extents of 1 to 65536 and 1 or 3 channels");
  REFUSED(resample(image, 3, 65537), "wanted  [3, 65537, 1]");
  REFUSED(resample(Tensor<u8, 3>(Shape<3>(0, 3, 1)), 3, 3), "image   [0, 3, 1]");
  REFUSED(resample(Tensor<u8, 3>::full({2, 3, 4}, 7), 3, 3), "1 or 3 channels");
}

BOOST_AUTO_TEST_SUITE_END()
