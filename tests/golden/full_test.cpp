// Stable Diffusion's networks in their published sizes against diffusers and transformers (scripts/golden_full.py): one U-Net
// step, one text encoding, one encoding and one decoding at 512 pixels, f32; and that one other
// token, timestep or skip would fail. Takes 6 GB and some minutes.
#include <mindgap/models/autoencoder_kl.hpp>
#include <mindgap/models/clip_text.hpp>
#include <mindgap/models/single_file.hpp>
#include <mindgap/models/unet_condition.hpp>
#include <mindgap/ops/concat.hpp>

#include "tests/golden/golden.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

using P = Precision<float>;

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += (double(a[i]) - double(b[i])) * (double(a[i]) - double(b[i])), size += double(a[i]) * double(a[i]);
  return std::sqrt(sum / size);
}

// Of 255.
double deviation_of_pixels(const std::vector<float>& images) {
  double sum = 0, squares = 0;
  for (float v : images) {
    const double pixel = 127.5 * double(std::clamp(v, -1.f, 1.f));
    sum += pixel, squares += pixel * pixel;
  }
  const double mean = sum / double(images.size());
  return std::sqrt(squares / double(images.size()) - mean * mean);
}

// A wrong token, timestep or skip is far outside of what is allowed.
constexpr double wrong = 1e-3;

using UNet = UNet2DConditionModel<Cpu, P>;

// A step of the network, but that two skips of the last image are exchanged: those behind the first two attentions, which the
// last up block takes. A skip is the very tensor that its attention returned, so what is written to it in the middle, when the
// way down has read it, reaches that block alone.
Tensor<float, 4> last_with_skips_exchanged(const UNet& unet, const Tensor<float, 4>& x, const Tensor<float, 1>& timesteps,
                                           const UNet::Text& texts) {
  const auto time = pointwise([](auto t) { return silu(t); }, unet.time_embedding(x, timesteps, unet.config));
  size_t on_the_way_down = 0;
  for (const auto& block : unet.down_blocks) on_the_way_down += block.attentions.size();
  std::vector<Tensor<float, 4>> attended;
  return run_unet(unet, x, time, [&](const auto& attention, const Tensor<float, 4>& h) {
    if (attended.size() == on_the_way_down) {
      const i64 images = x.extent(0);
      const auto a = attended[0].slice(images - 1, images), b = attended[1].slice(images - 1, images);
      std::swap_ranges(a.data(), a.data() + a.size(), b.data());
    }
    return attended.emplace_back(attention(h, texts.at(attended.size())));
  });
}

void check_version(Golden& golden, i64 version) {
  const StableDiffusionConfigs c = published_configs(version);
  {
    CLIPTextModel<Cpu, P> text_encoder(c.text_encoder);
    fill_golden(state_items(text_encoder, ""), false);
    std::vector<i64> ids = golden_integers("golden:ids", 77, 49408);
    const auto hidden = [&] { return text_encoder(Tensor<i64, 2>::from(ids, Shape(1, 77))).to_vector(); };
    const auto right = hidden();
    golden.check(text("text", version, "/hidden"), right);
    ids[40] = (ids[40] + 1) % 49408;
    BOOST_TEST(difference(right, hidden()) > wrong);
  }
  UNet unet(c.unet);
  fill_golden(state_items(unet, ""), false);
  const i64 size = c.unet.sample_size, channels = c.unet.cross_attention_dim;
  const auto latents = golden_images("golden:input", {1, size, size, 4});
  const auto texts =
      unet.cross_keys(Tensor<float, 3>::from(centred("golden:text", 77 * channels, std::sqrt(3.)), Shape(1, 77, channels)));
  const auto right = to_published(unet(latents, Tensor<float, 1>::from({601}, Shape(1)), texts));
  golden.check(text("unet", version, "/output"), right);

  // Three images: that one, one of another timestep, and one with exchanged skips.
  const auto thrice = [](const auto& one) { return concat(concat(one, one, 0), one, 0); };
  auto all_texts = texts;
  for (auto& attention : all_texts)
    for (auto& text : attention) text = {thrice(text.keys), thrice(text.values)};
  const auto images = to_published(
      last_with_skips_exchanged(unet, thrice(latents), Tensor<float, 1>::from({601, 602, 601}, Shape(3)), all_texts));
  const auto image = [&](size_t i) {
    const auto begin = images.begin() + i64(i * right.size());
    return std::vector(begin, begin + i64(right.size()));
  };
  BOOST_TEST((image(0) == right));  // on a CPU no bit depends on what else is in the batch
  BOOST_TEST(difference(right, image(1)) > wrong);
  BOOST_TEST(difference(right, image(2)) > wrong);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(full)

BOOST_AUTO_TEST_CASE(published_sizes) {
  Golden golden("full", GoldenType::f32);
  check_version(golden, 1);
  check_version(golden, 2);
  AutoencoderKL<Cpu, P> vae(published_configs(1).vae);
  fill_golden(state_items(vae, ""), false);
  golden.check("vae/moments", to_published(vae.encode(golden_images("golden:input", {1, 512, 512, 3}))));
  const auto images = to_published(vae.decode(golden_images("golden:latents", {1, 64, 64, 4})));
  golden.check("vae/images", images);
  BOOST_TEST(deviation_of_pixels(images) > 30);
  golden.finish();
}

BOOST_AUTO_TEST_SUITE_END()
