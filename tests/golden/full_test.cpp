// Stable Diffusion's networks in their published sizes against diffusers and transformers (scripts/golden_full.py): one U-Net
// step, one text encoding, one encoding and one decoding at 512 pixels, f32. Takes 6 GB and some minutes.
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

// A wrong token, timestep or text is far outside of what is allowed.
constexpr double wrong = 1e-3;

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
  UNet2DConditionModel<Cpu, P> unet(c.unet);
  fill_golden(state_items(unet, ""), false);
  const i64 size = c.unet.sample_size, channels = c.unet.cross_attention_dim;
  const auto latents = golden_images("golden:input", {1, size, size, 4});
  const auto texts =
      unet.cross_keys(Tensor<float, 3>::from(centred("golden:text", 77 * channels, std::sqrt(3.)), Shape(1, 77, channels)));
  const auto answer = [&](float timestep) {
    return to_published(unet(latents, Tensor<float, 1>::from({timestep}, Shape(1)), texts));
  };
  const auto right = answer(601);
  if (version == 1) {  // on a CPU no bit depends on what else is in the batch
    const auto twice = [](const auto& one) { return concat(one, one, 0); };
    auto both = texts;
    for (auto& attention : both)
      for (auto& text : attention) text = {twice(text.keys), twice(text.values)};
    const auto images = to_published(unet(twice(latents), Tensor<float, 1>::from({601, 17}, Shape(2)), both));
    BOOST_TEST((std::vector(images.begin(), images.begin() + i64(right.size())) == right));
  }
  golden.check(text("unet", version, "/output"), right);
  BOOST_TEST(difference(right, answer(602)) > wrong);
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
  golden.check("vae/images", to_published(vae.decode(golden_images("golden:latents", {1, 64, 64, 4}))));
  golden.finish();
}

BOOST_AUTO_TEST_SUITE_END()
