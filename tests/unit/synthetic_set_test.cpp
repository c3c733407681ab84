// Writing a set with a maker of images of one's own: what the job of sets knows of what makes its images.
#include <mindgap/cpu/library.hpp>
#include <mindgap/diffusion/jobs.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// Images of 2 x 3 x 1 whose pixels are random numbers of their key.
struct RandomPixels {
  using device = Cpu;
  std::string hash = "random pixels 1";
  i64 calls = 0;

  ShardManifest manifest() const {
    ShardManifest out;
    out.class_names = {"a", "b", "c"};
    out.height = 2, out.width = 3, out.channels = 1;
    out.generator = hash;
    return out;
  }
  i64 batch() const { return 50; }
  Tensor<u8, 4, Cpu> operator()(const std::vector<ImageKey>& keys) {
    ++calls;
    BOOST_TEST(i64(keys.size()) <= batch());
    const Tensor<u8, 4, Cpu> out(Shape<4>(i64(keys.size()), 2, 3, 1));
    for (size_t i = 0; i < keys.size(); ++i)
      for (u64 j = 0; j < 6; ++j) out.data()[6 * i + j] = pixel(keys[i], j);
    return out;
  }
  static u8 pixel(const ImageKey& key, u64 j) {
    return u8(Stream(key.seed, "pixel", u64(key.label), u64(key.index)).below(j, 256));
  }
};

bool write(const fs::path& folder, RandomPixels& make, i64 per_class, i64 part = 0, i64 parts = 1, i64 stop_after = 1000) {
  const ShardWriter writer(folder, synthetic_manifest(make, per_class, 11), part, parts);
  JobHooks hooks;
  hooks.stop = [&] { return make.calls >= stop_after; };
  return write_synthetic_set(make, writer, hooks);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(synthetic_set)

BOOST_AUTO_TEST_CASE(images_are_those_of_their_keys) {
  const Folder folder;
  RandomPixels make;
  BOOST_TEST(write(folder / "set", make, 100));
  BOOST_TEST(make.calls == 3 + 3 + 1);  // chunks of 128, 128 and 44 in batches of 50
  const Dataset set = read_shard_folder(folder / "set");
  BOOST_TEST(set.size() == 300);
  for (i64 p = 0; p < 300; ++p) {
    BOOST_TEST(set.label(p) == p % 3);
    for (i64 j = 0; j < 6; ++j) BOOST_TEST(set.image(p).pixels[j] == RandomPixels::pixel({11, p % 3, p / 3}, u64(j)));
  }
}

BOOST_AUTO_TEST_CASE(the_same_set_in_parts_after_a_stop_and_grown) {
  const Folder folder;
  RandomPixels whole;
  write(folder / "whole", whole, 100);
  for (i64 part : {1, 0}) {
    RandomPixels make;
    BOOST_TEST(write(folder / "parts", make, 100, part, 2));
  }
  RandomPixels stopped, resumed, small, grown;
  BOOST_TEST(!write(folder / "stopped", stopped, 100, 0, 1, 5));
  BOOST_TEST(write(folder / "stopped", resumed, 100));
  BOOST_TEST(resumed.calls == 3 + 1);  // the first chunk was kept
  write(folder / "grown", small, 50);
  BOOST_TEST(write(folder / "grown", grown, 100));
  for (const char* other : {"parts", "stopped", "grown"})
    for (int k = 0; k < 3; ++k) {
      const std::string chunk = text("chunk-0000", k, ".safetensors");
      BOOST_TEST(read_file(folder / other / chunk) == read_file(folder / "whole" / chunk), other << " " << k);
    }
}

BOOST_AUTO_TEST_CASE(another_maker_does_not_go_on) {
  const Folder folder;
  RandomPixels make, other{"random pixels 2"};
  write(folder / "set", make, 1);
  BOOST_CHECK_THROW(write(folder / "set", other, 2), Error);
  const ShardWriter writer(folder / "set", synthetic_manifest(make, 2, 11));
  BOOST_CHECK_EXCEPTION(write_synthetic_set(other, writer), Error, [](const Error& error) {
    return std::string(error.what()).find("random pixels 2, the manifest has random pixels 1") != std::string::npos;
  });
  BOOST_TEST(other.calls == 0);
}

BOOST_AUTO_TEST_SUITE_END()
