// Stable Diffusion 1.5 in its published sizes, as a folder that sample takes, with made-up weights (f32, 4.3 GB): what is timed
// where the published weights are not. Its images show nothing.
//
//   bench/made_up_model FOLDER TOKENIZER      TOKENIZER: a folder tokenizer/, which is copied
#include <mindgap/io/file.hpp>
#include <mindgap/nn/state_dict.hpp>

#include "stable_diffusion.hpp"
#include <cstdio>
#include <filesystem>

using namespace mindgap;
using namespace mindgap::bench;
namespace fs = std::filesystem;

namespace {

using P = Precision<bf16>;

template <class Net, class Config>
void write_network(const fs::path& folder, const std::string& weights, const Config& config, const std::string& json) {
  Net net(config);
  fill_weights(net);
  make_folder(folder);
  write_file_atomic(folder / "config.json", json);
  save(net, folder / weights);
}

void write_model(const fs::path& folder, const fs::path& tokenizer) {
  const StableDiffusionConfigs configs = published_configs(1);
  const std::string weights = "diffusion_pytorch_model.safetensors";
  write_network<UNet2DConditionModel<Cpu, P>>(folder / "unet", weights, configs.unet,
                                              R"({"sample_size": 64, "cross_attention_dim": 768})");
  write_network<AutoencoderKL<Cpu, P>>(folder / "vae", weights, configs.vae, R"({"sample_size": 512, "layers_per_block": 2,
 "block_out_channels": [128, 256, 512, 512],
 "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
 "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})");
  write_network<CLIPTextModel<Cpu, P>>(folder / "text_encoder", "model.safetensors", configs.text_encoder,
                                       R"({"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
 "num_attention_heads": 12})");
  make_folder(folder / "scheduler");
  write_file_atomic(
      folder / "scheduler" / "scheduler_config.json",
      R"({"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
 "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1})");
  make_folder(folder / "tokenizer");
  for (const auto& file : fs::directory_iterator(tokenizer))
    fs::copy_file(file, folder / "tokenizer" / file.path().filename(), fs::copy_options::overwrite_existing);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "made_up_model FOLDER TOKENIZER\n");
    return 2;
  }
  try {
    write_model(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
