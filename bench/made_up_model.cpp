// Stable Diffusion 1.5 in its published sizes, as a folder that sample takes, with made-up weights (f32, 4.3 GB): what is timed
// where the published weights are not. Its images show nothing.
//
//   bench/made_up_model FOLDER TOKENIZER      TOKENIZER: a folder tokenizer/, which is copied
#include <mindgap/nn/state_dict.hpp>

#include "model_files.hpp"
#include "stable_diffusion.hpp"
#include <cstdio>

using namespace mindgap;
using namespace mindgap::bench;
namespace fs = std::filesystem;

namespace {

using P = Precision<bf16>;

template <class Net, class Config>
void write_weights(const fs::path& file, const Config& config) {
  Net net(config);
  fill_weights(net);
  save(net, file);
}

void write_model(const fs::path& folder, const fs::path& tokenizer) {
  write_model_files(folder, 1, tokenizer);
  const StableDiffusionConfigs configs = published_configs(1);
  const std::string weights = "diffusion_pytorch_model.safetensors";
  write_weights<UNet2DConditionModel<Cpu, P>>(folder / "unet" / weights, configs.unet);
  write_weights<AutoencoderKL<Cpu, P>>(folder / "vae" / weights, configs.vae);
  write_weights<CLIPTextModel<Cpu, P>>(folder / "text_encoder" / "model.safetensors", configs.text_encoder);
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
