// AutoencoderKL against diffusers: names, configuration, both directions, whole and in tiles; f32 and bf16.
#include <mindgap/models/autoencoder_tiles.hpp>

#include "tests/golden/golden.hpp"
#include <cmath>

using namespace mindgap;
using namespace mindgap::test;

namespace {

template <Real T>
struct Case {
  AutoencoderKL<Cpu, Precision<T>> net{read_autoencoder_config(golden_folder + "autoencoder.json")};

  Case() {
    const std::vector<StateItem> items = state_items(net, "");
    check_names("autoencoder", items);
    fill_golden(items, false);
  }
};

template <Real T>
void check_autoencoder() {
  const Case<T> c;
  const auto input = [](const std::string& name, Shape<4> shape) { return cast<T>(golden_images("golden:" + name, shape)); };
  Golden golden("autoencoder", std::is_same_v<T, float> ? GoldenType::f32 : GoldenType::bf16);
  golden.check("eval/moments", to_published(c.net.encode(input("input", {2, 32, 32, 3}))));
  golden.check("eval/images", to_published(c.net.decode(input("latents", {2, 8, 8, 4}))));
  golden.check("eval/tiled_moments", to_published(tiled_encode(c.net, input("large", {1, 56, 40, 3}))));
  golden.check("eval/tiled_images", to_published(tiled_decode(c.net, input("long", {1, 14, 10, 4}))));
  golden.finish();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(autoencoder)

BOOST_AUTO_TEST_CASE(f32) { check_autoencoder<float>(); }
BOOST_AUTO_TEST_CASE(bf16) { check_autoencoder<mindgap::bf16>(); }

// Files of before 2023: other names of the attention, which match whole parts of a name only.
BOOST_AUTO_TEST_CASE(older_names) {
  Case<float> c;
  std::set<std::string> older;
  for (const StateItem& item : state_items(c.net, ""))
    if (!item.older_name.empty()) older.insert(item.older_name);
  std::set<std::string> wanted;
  for (const char* half : {"encoder", "decoder"})
    for (const char* layer : {"query", "key", "value", "proj_attn"})
      for (const char* part : {"weight", "bias"}) wanted.insert(text(half, ".mid_block.attentions.0.", layer, ".", part));
  BOOST_TEST(older == wanted);
}

// An image that is no larger than a tile is the image.
BOOST_AUTO_TEST_CASE(one_tile) {
  const Case<float> c;
  const auto latents = golden_images("golden:latents", {2, 8, 8, 4});
  BOOST_TEST(tiled_decode(c.net, latents).to_vector() == c.net.decode(latents).to_vector());
}

BOOST_AUTO_TEST_CASE(misuse) {
  const Case<float> c;
  const auto said = [](const std::string& what) {
    return [what](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(c.net.encode(Tensor<float, 4>::zeros({1, 32, 30, 3})), Error, said("multiples of 4"));
  BOOST_CHECK_EXCEPTION(c.net.decode(Tensor<float, 4>::zeros({1, 8, 8, 3})), Error, said("3"));
  const auto refused = [&](const std::string& json, const std::string& what) {
    BOOST_CHECK_EXCEPTION(parse_autoencoder_config(json, "vae/config.json"), Error, said(what));
  };
  refused(R"({"shift_factor": 0.1})", "shift_factor");
  refused(R"({"block_out_channels": [128, 256]})", "for 1 down blocks and 1 up blocks");
  refused(R"({"block_out_channels": [100]})", "do not divide into 32 groups");
  refused(R"({"scaling_factor": 0})", "scaling_factor is 0");
  refused(R"({"_class_name": "AutoencoderKLWan"})", "_class_name");
}

// Filled in code, where no file was read that would have been refused.
BOOST_AUTO_TEST_CASE(configurations_that_make_no_model) {
  const auto refused = [](auto change, const char* what) {
    AutoencoderConfig c;
    change(c);
    BOOST_CHECK_EXCEPTION((AutoencoderKL<Cpu, Precision<float>>(c)), Error,
                          [=](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; });
  };
  refused([](auto& c) { c.norm_num_groups = 0; }, "norm_num_groups is 0, wanted 1 to 65536");
  refused([](auto& c) { c.block_out_channels = {}; }, "the number of block_out_channels is 0");
  refused([](auto& c) { c.block_out_channels = {-64}; }, "one of block_out_channels is -64");
  refused([](auto& c) { c.layers_per_block = -1; }, "layers_per_block is -1");
  refused([](auto& c) { c.latent_channels = 0; }, "latent_channels is 0");
  refused([](auto& c) { c.in_channels = 0; }, "in_channels is 0");
  refused([](auto& c) { c.out_channels = -3; }, "out_channels is -3");
  refused([](auto& c) { c.sample_size = 0; }, "sample_size is 0");
  refused([](auto& c) { c.scaling_factor = NAN; }, "scaling_factor is nan");
}

// The file of Stable Diffusion 1.4.
BOOST_AUTO_TEST_CASE(published) {
  const AutoencoderConfig c =
      parse_autoencoder_config(R"({"_class_name": "AutoencoderKL", "_diffusers_version": "0.2.2", "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D",
    "DownEncoderBlock2D"], "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "out_channels": 3, "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})",
                               "config.json");
  AutoencoderConfig wanted;
  wanted.block_out_channels = {128, 256, 512, 512}, wanted.layers_per_block = 2, wanted.sample_size = 512;
  BOOST_TEST((c == wanted));
  BOOST_TEST(c.scale() == 8);
}

BOOST_AUTO_TEST_SUITE_END()
