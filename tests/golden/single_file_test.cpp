// Names of single-file checkpoints against what diffusers' converters make of them (scripts/golden_single_file.py).
#include <mindgap/models/single_file.hpp>

#include "tests/files.hpp"
#include "tests/golden/golden.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

using Names = std::map<std::string, std::set<std::string>>;  // by original name, those in a folder

Names names_of(const std::string& version) {
  Names out;
  std::istringstream file(read_file(golden_folder + "single_file.names.txt"));
  for (std::string which, original, ours; file >> which >> original >> ours;)
    if (which == version) out[original].insert(ours);
  return out;
}

// A file's entries, each of three rows.
struct File {
  std::vector<float> numbers{1, 2, 3};
  Weights weights;

  explicit File(const Names& names) {
    weights.path = "model.safetensors";
    for (const auto& [name, ours] : names) add(name);
  }
  void add(const std::string& name, std::vector<i64> shape = {3}) {
    weights.entries.push_back({name, "F32", std::move(shape), std::as_bytes(std::span(numbers)), "model.safetensors"});
  }
};

StableDiffusionConfigs configs(i64 text_channels) {
  File file({});
  file.add("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", {320, text_channels});
  file.add("model.diffusion_model.input_blocks.0.0.weight", {320, 4, 3, 3});
  return single_file_configs(file.weights);
}

const auto said = [](const std::string& what) {
  return [what](const Error& error) { return std::string(error.what()).find(what) != std::string::npos; };
};

}  // namespace

BOOST_AUTO_TEST_SUITE(single_file)

BOOST_AUTO_TEST_CASE(names) {
  for (const auto& [version, channels] : {std::pair("1", 768), {"2", 1024}}) {
    const Names names = names_of(version);
    BOOST_TEST_REQUIRE(names.size() > 20);
    const File file(names);
    const StableDiffusionWeights parts = split_single_file(file.weights, configs(channels));
    std::set<std::string> ours, wanted;
    for (const Weights* part : {&parts.text_encoder, &parts.unet, &parts.vae})
      for (const SafetensorsEntry& entry : part->entries) BOOST_TEST(ours.insert(entry.name).second, "twice: " << entry.name);
    for (const auto& [original, several] : names) wanted.insert(several.begin(), several.end());
    for (const std::string& name : wanted) BOOST_TEST(ours.contains(name), "missing: " << name);
    for (const std::string& name : ours) BOOST_TEST(wanted.contains(name), "unexpected: " << name);
  }
}

BOOST_AUTO_TEST_CASE(fused_projections_are_thirds) {
  const File file(names_of("2"));
  const StableDiffusionWeights parts = split_single_file(file.weights, configs(1024));
  for (const auto& [name, number] : {std::pair("q_proj", 1.f), {"k_proj", 2.f}, {"v_proj", 3.f}})
    for (const char* what : {".weight", ".bias"}) {
      const auto& entries = parts.text_encoder.entries;
      const auto at =
          std::ranges::find(entries, text("text_model.encoder.layers.1.self_attn.", name, what), &SafetensorsEntry::name);
      BOOST_TEST_REQUIRE((at != entries.end()));
      BOOST_TEST(at->shape == std::vector<i64>{1}, boost::test_tools::per_element());
      float first;
      std::memcpy(&first, at->bytes.data(), sizeof first);
      BOOST_TEST(first == number);
      BOOST_TEST(at->bytes.size() == 4u);
    }
}

// What training left in a file, and the layer that version 2 does not use.
BOOST_AUTO_TEST_CASE(left_out) {
  File file(names_of("1"));
  const size_t before = file.weights.entries.size();
  for (const char* name :
       {"model_ema.diffusion_modelinput_blocks00weight", "model_ema.decay", "alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod", "betas", "posterior_mean_coef1", "cond_stage_model.model.logit_scale",
        "cond_stage_model.model.text_projection", "scale_factor", "cond_stage_model.model.transformer.resblocks.23.ln_1.weight"})
    file.add(name);
  const StableDiffusionWeights parts = split_single_file(file.weights, configs(1024));
  BOOST_TEST(parts.text_encoder.entries.size() + parts.unet.entries.size() + parts.vae.entries.size() == before);
  // What is no weight of a network the network knows.
  file.add("cond_stage_model.transformer.text_model.embeddings.position_ids");
  const Weights text_encoder = split_single_file(file.weights, configs(1024)).text_encoder;
  BOOST_TEST(text_encoder.entries.back().name == "text_model.embeddings.position_ids");
}

BOOST_AUTO_TEST_CASE(misuse) {
  BOOST_CHECK_EXCEPTION(configs(2048), Error, said("attends to 2048 channels"));
  BOOST_CHECK_EXCEPTION(single_file_configs(File({}).weights), Error, said("no U-Net in the original naming"));
  for (const char* name :
       {"a_stranger", "model.diffusion_model.input_blocks.x.0.in_layers.0.weight", "model.diffusion_model.middle_block.3.norm",
        "first_stage_model.encoder.down", "cond_stage_model.model.transformer.resblocks.0.attn.other",
        "model.diffusion_model.input_blocks.1.0.in_layers.7.weight"}) {
    File file(names_of("1"));
    file.add(name);
    BOOST_CHECK_EXCEPTION(split_single_file(file.weights, configs(768)), Error, said(name));
  }
  File file(names_of("2"));
  file.add("cond_stage_model.model.transformer.resblocks.5.attn.in_proj_bias", {1});
  BOOST_CHECK_EXCEPTION(split_single_file(file.weights, configs(1024)), Error, said("has no three parts"));
}

BOOST_AUTO_TEST_SUITE_END()
