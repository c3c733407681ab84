// UNet2DModel against diffusers: names, configuration, forward, loss and every gradient; f32 and bf16.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/models/unet.hpp>

#include "tests/golden/golden.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

constexpr i64 batch = 3;

template <Real T>
void check_unet(const std::string& name) {
  const UNetConfig config = read_unet_config(golden_folder + name + ".json");
  UNet2DModel<Cpu, Precision<T>> net(config, 1);
  const std::vector<StateItem> items = state_items(net, "");
  check_names(name, items);
  fill_golden(items, false);

  const Shape<4> shape(batch, config.sample_size, config.sample_size, 1);
  const auto images = cast<T>(golden_images("golden:input", shape));
  const auto target = golden_images("golden:target", shape);
  std::vector<float> steps;
  for (i64 t : golden_integers("golden:timesteps", batch, 1000)) steps.push_back(float(t));
  const auto timesteps = Tensor<float, 1>::from(steps, Shape(batch));
  const auto classes = Tensor<i64, 1>::from(golden_integers("golden:class_labels", batch, 11), Shape(batch));

  Tape tape;
  const auto output = net(constant(tape, images), timesteps, classes);
  // The loss in f32, as the script computes it; its gradient 2 (output - target) / size in the output's type.
  Var<float, 1> loss(mse_loss(cast<float>(output.value()), target), tape, true);
  tape.record([slot = output.slot(), ls = loss.slot(), y = cast<float>(output.value()), target] {
    Tensor<float, 4> grad(y.shape());
    mse_loss_backward(grad, ls->gradient(), y, target);
    slot->pass(cast<T>(grad));
  });
  BOOST_TEST(same_bits(net(images, timesteps, classes), output.value()), "the sampler's path computes something else");
  backward(loss);

  Golden golden(name, std::is_same_v<T, float> ? GoldenType::f32 : GoldenType::bf16);
  golden.check("train/output", cast<float>(output.value()).to_vector());  // one channel: NHWC is NCHW
  golden.check("train/loss", loss.value().to_vector());
  golden.check("train/grad/", gradients(net));
  golden.finish();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unet)

BOOST_AUTO_TEST_CASE(small_f32) { check_unet<float>("unet_small"); }
BOOST_AUTO_TEST_CASE(small_bf16) { check_unet<bf16>("unet_small"); }
BOOST_AUTO_TEST_CASE(middle_f32) { check_unet<float>("unet_middle"); }

// attention_head_dim null is one head as wide as its block, here 64 channels in every block that attends.
BOOST_AUTO_TEST_CASE(one_head) {
  const std::string json = read_file(golden_folder + "unet_small.json");
  const auto image = [&](const std::string& size) {
    std::string changed = json;
    changed.replace(changed.find("\"attention_head_dim\": 8"), 23, "\"attention_head_dim\": " + size);
    UNet2DModel<Cpu, Precision<float>> net(parse_unet_config(changed, "config.json"), 1);
    fill_golden(state_items(net, ""), false);
    return net(golden_images("golden:input", {1, 28, 28, 1}), Tensor<float, 1>::from({5}, Shape(1)),
               Tensor<i64, 1>::from({3}, Shape(1)));
  };
  BOOST_TEST(same_bits(image("null"), image("64")));
  BOOST_TEST(!same_bits(image("null"), image("8")));
}

BOOST_AUTO_TEST_CASE(configurations) {
  const UNetConfig small = read_unet_config(golden_folder + "unet_small.json");
  UNetConfig wanted;
  wanted.sample_size = 28, wanted.in_channels = wanted.out_channels = 1;
  wanted.block_out_channels = {32, 64, 64};
  wanted.down_attention = {false, false, true};
  wanted.up_attention = {true, false, false};
  wanted.layers_per_block = 1, wanted.norm_num_groups = 8, wanted.num_class_embeds = 11;
  BOOST_TEST((small == wanted));

  const UNetConfig middle = read_unet_config(golden_folder + "unet_middle.json");
  wanted.sample_size = 32, wanted.block_out_channels = {32, 48, 64};
  wanted.down_attention = wanted.up_attention = {false, true, false};
  wanted.layers_per_block = 2, wanted.norm_num_groups = 16;
  BOOST_TEST((middle == wanted));

  for (const UNetConfig& config : {small, middle}) BOOST_TEST((parse_unet_config(unet_config_json(config), "again") == config));
  // A width that no memory holds is refused by name, not tried.
  BOOST_CHECK_EXCEPTION(parse_unet_config(R"({"block_out_channels": [1000000000000000000, 32, 32, 32]})", "unet/config.json"),
                        Error,
                        [](const Error& e) { return std::string(e.what()).find("unet/config.json") != std::string::npos; });
}

BOOST_AUTO_TEST_SUITE_END()
