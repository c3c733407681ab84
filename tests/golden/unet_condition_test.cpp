// UNet2DConditionModel against diffusers: names, configuration, forward; f32 and bf16.
#include <mindgap/models/unet_condition.hpp>
#include <mindgap/models/unet_config.hpp>

#include "tests/golden/golden.hpp"
#include <cmath>

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr i64 batch = 3, length = 7;

template <Real T>
struct Case {
  UNet2DConditionModel<Cpu, Precision<T>> net;
  Tensor<T, 4> latents;
  Tensor<T, 3> text;
  Tensor<float, 1> timesteps;

  explicit Case(const std::string& name) : net(read_unet_condition_config(golden_folder + name + ".json")) {
    const std::vector<StateItem> items = state_items(net, "");
    check_names(name, items, true);
    fill_golden(items, false);
    const i64 size = net.config.sample_size, channels = net.config.cross_attention_dim;
    latents = cast<T>(golden_images("golden:input", {batch, size, size, 4}));
    text = cast<T>(
        Tensor<float, 3>::from(centred("golden:text", batch * length * channels, std::sqrt(3.)), Shape(batch, length, channels)));
    std::vector<float> steps;
    for (i64 t : golden_integers("golden:timesteps", batch, 1000)) steps.push_back(float(t));
    timesteps = Tensor<float, 1>::from(steps, Shape(batch));
  }
  std::vector<float> run() const { return to_published(net(latents, timesteps, net.cross_keys(text))); }
};

template <Real T>
void check_unet(const std::string& name) {
  Golden golden(name, std::is_same_v<T, float> ? GoldenType::f32 : GoldenType::bf16);
  golden.check("eval/output", Case<T>(name).run());
  golden.finish();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unet_condition)

BOOST_AUTO_TEST_CASE(convolutions_f32) { check_unet<float>("unet_condition"); }
BOOST_AUTO_TEST_CASE(convolutions_bf16) { check_unet<bf16>("unet_condition"); }
BOOST_AUTO_TEST_CASE(linear_f32) { check_unet<float>("unet_condition_linear"); }
BOOST_AUTO_TEST_CASE(linear_bf16) { check_unet<bf16>("unet_condition_linear"); }

// An image's answer depends on its own latents, timestep and text, not on its neighbours in the batch.
BOOST_AUTO_TEST_CASE(images_are_independent) {
  const Case<float> all("unet_condition");
  Case<float> one("unet_condition");
  one.latents = all.latents.slice(1, 2).clone();
  one.text = all.text.slice(1, 2).clone();
  one.timesteps = all.timesteps.slice(1, 2).clone();
  const std::vector<float> whole = all.run(), alone = one.run();
  for (size_t i = 0; i < alone.size(); ++i) BOOST_TEST_REQUIRE(alone[i] == whole[alone.size() + i]);
}

// Filled in code, where no file was read that would have been refused.
BOOST_AUTO_TEST_CASE(configurations_that_make_no_model) {
  const auto refused = [](auto config, auto change, const char* what) {
    change(config);
    BOOST_CHECK_EXCEPTION(config.check(), Error,
                          [=](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; });
  };
  const UNetConditionConfig with_text;
  with_text.check();
  refused(
      with_text, [](auto& c) { c.norm_num_groups = 0; }, "norm_num_groups is 0, wanted 1 to 65536");
  refused(
      with_text, [](auto& c) { c.attention_head_dim = {0}; }, "one of attention_head_dim is 0");
  refused(
      with_text, [](auto& c) { c.block_out_channels[1] = 0; }, "block_out_channels[1] is 0");
  refused(
      with_text, [](auto& c) { c.layers_per_block = -1; }, "layers_per_block is -1");
  refused(
      with_text, [](auto& c) { c.cross_attention_dim = 0; }, "cross_attention_dim is 0");
  refused(
      with_text, [](auto& c) { c.in_channels = 0; }, "in_channels is 0");
  refused(
      with_text, [](auto& c) { c.sample_size = -1; }, "sample_size is -1");
  refused(
      with_text, [](auto& c) { c.freq_shift = -1; }, "freq_shift is -1");
  refused(
      with_text, [](auto& c) { c.norm_eps = NAN; }, "norm_eps is nan");
  UNetConfig plain;
  plain.check();
  refused(
      plain, [](auto& c) { c.norm_eps = NAN; }, "norm_eps is nan");
  refused(
      plain, [](auto& c) { c.freq_shift = -1; }, "freq_shift is -1");
  plain.block_out_channels = {2}, plain.down_attention = plain.up_attention = {false}, plain.mid_attention = false;
  plain.norm_num_groups = 1;
  plain.check();
  refused(
      plain, [](auto& c) { c.freq_shift = 1; }, "more than twice freq_shift");
}

BOOST_AUTO_TEST_CASE(misuse) {
  const Case<float> c("unet_condition");
  const auto said = [](const std::string& what) {
    return [what](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(c.net.cross_keys(Tensor<float, 3>::zeros({1, 7, 25})), Error, said("25 channels, wanted 24"));
  BOOST_CHECK_EXCEPTION(c.net(Tensor<float, 4>::zeros({3, 18, 16, 4}), c.timesteps, c.net.cross_keys(c.text)), Error,
                        said("multiples of 4"));
  BOOST_CHECK_EXCEPTION(c.net(c.latents.slice(0, 2), c.timesteps, c.net.cross_keys(c.text)), Error, said("3 timesteps for 2"));
  BOOST_CHECK_EXCEPTION(c.net(c.latents, c.timesteps, c.net.cross_keys(c.text.slice(0, 2))), Error, said("2 texts for 3"));
  BOOST_CHECK_EXCEPTION(c.net(c.latents, c.timesteps, {}), Error, said("made for 0 attentions, there are"));
  const auto refused = [&](const std::string& json, const std::string& what) {
    BOOST_CHECK_EXCEPTION(parse_unet_condition_config(json, "unet/config.json"), Error, said(what));
  };
  refused(R"({"num_class_embeds": 5})", "num_class_embeds");
  refused(R"({"dual_cross_attention": true})", "dual_cross_attention");
  refused(R"({"attention_head_dim": [5, 10]})", "2 numbers, for 4 levels");
  refused(R"({"attention_head_dim": 7})", "do not divide into 7 heads");
  refused(R"({"attention_head_dim": 0})", "attention_head_dim is 0");
  refused(R"({"_class_name": "UNet2DModel"})", "_class_name");
  refused(R"({"transformer_layers_per_block": [1, 2, 10]})", "transformer_layers_per_block");
  refused(R"({"adds_a_key": 1})", "adds_a_key");
}

// The files of Stable Diffusion 1.4 and 2.1.
BOOST_AUTO_TEST_CASE(published) {
  const UNetConditionConfig one =
      parse_unet_condition_config(R"({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.2.2",
    "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false,
    "cross_attention_dim": 768, "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
    "DownBlock2D"], "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
    "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]})",
                                  "config.json");
  UNetConditionConfig wanted;
  wanted.sample_size = 64, wanted.cross_attention_dim = 768;
  BOOST_TEST((one == wanted));
  const UNetConditionConfig two =
      parse_unet_condition_config(R"({"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
    "dual_cross_attention": false, "num_class_embeds": null, "only_cross_attention": false, "sample_size": 96,
    "upcast_attention": true, "use_linear_projection": true})",
                                  "config.json");
  wanted.sample_size = 96, wanted.cross_attention_dim = 1024, wanted.attention_head_dim = {5, 10, 20, 20};
  BOOST_TEST((two == wanted));
}

BOOST_AUTO_TEST_SUITE_END()
