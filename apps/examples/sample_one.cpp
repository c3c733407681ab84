// Samples one image with a generator folder and writes it as a PNG.
//
//   sample_one [FOLDER]     data/generator by default; where there is none, fresh weights, which draw noise
#include <mindgap/data/png.hpp>
#include <mindgap/diffusion/generator.hpp>

#include <iostream>
#include <unistd.h>

using namespace mindgap;
using F32 = Precision<float>;

// What a generator is: a U-Net that is told the class, the noise schedule that it was trained with, and the names of the classes.
// Its class embedding has one row more than there are names: the last means "none", and guidance asks for it.
Generator<Cpu, F32> untrained() {
  Generator<Cpu, F32> out;
  UNetConfig& unet = out.info.unet;
  unet.sample_size = 28, unet.in_channels = unet.out_channels = 1, unet.num_class_embeds = 3;
  unet.block_out_channels = {16, 16}, unet.down_attention = {false, true}, unet.up_attention = {true, false};
  unet.layers_per_block = 1, unet.norm_num_groups = 4;
  out.info.class_names = {"this", "that"};
  out.unet = std::make_unique<UNet2DModel<Cpu, F32>>(unet, /*seed*/ 0);
  return out;
}

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "data/generator";
  const auto generator = std::filesystem::exists(folder) ? load_generator<Cpu, F32>(folder) : untrained();
  SchedulerConfig schedule = generator.info.scheduler;
  schedule.sampler = SamplerKind::dpmpp_2m;
  // Image 0 of class 1 under seed 42: these three numbers, not the batch or the order, decide how it looks.
  GeneratedImages generate(generator, Sampler(schedule, /*steps*/ 15), /*guidance*/ 1.5, /*batch*/ 1);
  const auto images = generate({{.seed = 42, .label = 1, .index = 0}});
  const auto png = std::filesystem::temp_directory_path() / ("mindgap-sample-" + std::to_string(getpid()) + ".png");
  write_file_atomic(png, encode_png(make_grid(images, 1)));
  std::cout << generator.info.class_names[1] << ": " << png.string() << "\n";
  return std::cout.flush() ? 0 : 1;
}
