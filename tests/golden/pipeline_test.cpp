// A tiny Stable Diffusion in the published format against StableDiffusionPipeline: tokens, text, every sampler's last latents and
// image; the same from older names and from a single file's parts.
#include <mindgap/diffusion/prompt_images.hpp>

#include "tests/files.hpp"
#include "tests/golden/golden.hpp"
#include "tests/weights.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

using P = Precision<float>;

const std::filesystem::path folder = golden_folder + "pipeline";
constexpr const char *prompt = "a photo of a tabby cat, on the old grey wall", *negative = "blurry";
constexpr double guidance = 3;
constexpr i64 steps = 6, seed = 7, index_in_class = 3;

// The image's streams, as scripts/golden_pipeline.py makes them.
ImageStreams streams(const Sampler& sampler) {
  const u64 id = hash64("n02123045");
  ImageStreams out{Stream(seed, "latent", id, index_in_class), {}};
  for (i64 k = 0; sampler.draws() && k < sampler.steps(); ++k) out.noise.emplace_back(seed, "noise", id, index_in_class, u64(k));
  return out;
}

PromptSettings settings(double scale = guidance) {
  PromptSettings out;
  out.guidance.scale = scale, out.negative = negative, out.height = out.width = 16;
  return out;
}

struct Pipeline {
  StableDiffusionInfo info;
  StableDiffusion<Cpu, P> model;

  explicit Pipeline(const std::filesystem::path& path = folder, const std::string& sampler = "ddim")
      : info(read_stable_diffusion_info(path, sampler_by_name(sampler))), model(load_stable_diffusion<Cpu, P>(info)) {}
  Sampler sampler() const { return Sampler(info.scheduler, steps); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(pipeline)

BOOST_AUTO_TEST_CASE(every_sampler) {
  Golden golden("pipeline", GoldenType::f32);
  for (const char* name : {"ddpm", "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
    const Pipeline p(folder, name);
    const Sampler sampler = p.sampler();
    TextCache<Cpu, P> texts(p.model, 1 << 20);
    TextDenoiser<Cpu, P> denoise(*p.model.unet, 2);
    denoise.set(0, texts(negative));
    denoise.set(1, texts(prompt));
    const auto latents =
        sample<float, Cpu>(Guided<TextDenoiser<Cpu, P>>{denoise, {guidance}}, sampler, Shape<3>(8, 8, 4), {streams(sampler)});
    golden.check(text(name, "/latents"), to_published(latents));
    PromptSampler<Cpu, P> images(p.model, sampler, settings());
    golden.check(text(name, "/image"), to_published(images({{prompt, streams(sampler)}})));
  }
  golden.finish();
}

// An image does not depend on those that are made with it, nor on the memory of texts.
BOOST_AUTO_TEST_CASE(images_are_independent) {
  const Pipeline p;
  PromptSettings small = settings();
  small.text_bytes = 1;
  const ImageStreams one = streams(p.sampler());
  ImageStreams other = one;
  other.latent = Stream(1, "latent");
  const auto alone = PromptSampler<Cpu, P>(p.model, p.sampler(), settings())({{prompt, one}}).to_vector();
  PromptSampler<Cpu, P> several(p.model, p.sampler(), small);
  for (int round = 0; round < 2; ++round) {
    const auto all = several({{"the wall", other}, {prompt, one}, {"a cat", other}}).to_vector();
    for (size_t i = 0; i < alone.size(); ++i) BOOST_TEST_REQUIRE(all[alone.size() + i] == alone[i]);
  }
}

// Without guidance the negative prompt is of no concern; with it the prompt is.
BOOST_AUTO_TEST_CASE(texts_matter) {
  const Pipeline p;
  const auto image = [&](const std::string& with, const std::string& without, double scale) {
    PromptSettings s = settings(scale);
    s.negative = without;
    return PromptSampler<Cpu, P>(p.model, p.sampler(), s)({{with, streams(p.sampler())}}).to_vector();
  };
  BOOST_TEST(image("a cat", "", 1) == image("a cat", "grey", 1));
  BOOST_TEST(image("a cat", "", 3) != image("a cat", "grey", 3));
  BOOST_TEST(image("a cat", "", 3) != image("a wall", "", 3));
  BOOST_TEST(image("a cat", "grey", 0) == image("a wall", "grey", 0));
}

// An image that overflows in bf16 is made in f32, to the same bytes, and says so; those beside it are left alone.
BOOST_AUTO_TEST_CASE(overflow_is_redone) {
  const Folder temporary;
  const std::filesystem::path changed = temporary / "changed";
  std::filesystem::copy(folder, changed, std::filesystem::copy_options::recursive);
  // The word z has a number between the largest bf16 and the largest f32, of which a layer norm makes 0.
  const i64 z = CLIPTokenizer::read(folder / "tokenizer").encode("z").at(0);
  change_weights(changed / "text_encoder" / "model.safetensors", "embeddings.token_embedding.weight",
                 [&](std::vector<float>& v) { v[size_t(z * 32)] = 3.4e38f; });
  const auto made = [&]<class Q>(Q, const std::vector<ImageNumber>& numbers) {
    const StableDiffusionInfo info = read_stable_diffusion_info(changed, SamplerKind::ddim);
    const PromptSetSettings set{{{"n1", {"cat"}, "", ""}, {"n2", {"z"}, "", ""}}, PromptSet::read("name"), settings(), seed};
    PromptImages<Cpu, Q> images(info, Sampler(info.scheduler, 2), set, 5, [](const std::string&) {});
    return images(numbers);
  };
  const auto mixed = made(Precision<bf16>(), {{0, 0}, {1, 4}, {0, 9}, {1, 2}}), wide = made(P(), {{1, 4}, {1, 2}}),
             narrow = made(Precision<bf16>(), {{0, 0}, {0, 9}});
  for (size_t i : {0, 1}) {
    const PromptedImage &kept = mixed[2 * i], &redone = mixed[2 * i + 1];
    BOOST_TEST(!kept.fields.contains("redone_in"));
    BOOST_TEST(kept.pixels.to_vector() == narrow[i].pixels.to_vector());
    BOOST_TEST(std::get<std::string>(redone.fields.at("redone_in")) == "f32");
    BOOST_TEST(redone.pixels.to_vector() == wide[i].pixels.to_vector());
    BOOST_TEST(!wide[i].fields.contains("redone_in"));
  }
}

BOOST_AUTO_TEST_CASE(misuse) {
  const Pipeline p;
  const auto said = [](const std::string& what) {
    return [what](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; };
  };
  PromptSettings s = settings();
  s.height = 18;
  BOOST_CHECK_EXCEPTION((PromptSampler<Cpu, P>(p.model, p.sampler(), s)), Error, said("sides are multiples of 4"));
  BOOST_CHECK_EXCEPTION(read_stable_diffusion_info(folder / "no"), Error, said("no such model"));
  BOOST_CHECK_EXCEPTION(read_stable_diffusion_info(folder / "unet"), Error, said("not a whole Stable Diffusion folder"));
  BOOST_CHECK_EXCEPTION(read_stable_diffusion_info(folder, {}, Prediction::v_prediction), Error, said("predicts epsilon"));
}

BOOST_AUTO_TEST_SUITE_END()
