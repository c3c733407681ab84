// Loading a network of the size of Stable Diffusion's U-Net: its speed beside that of a copy, and the memory that is in use after
// it and one forward pass.
//
//   bench/load_weights [FOLDER]     where a file of 1.8 GB is written, and removed again; the system's folder for temporary files
//
// The network is UNet2DModel with Stable Diffusion's channels, three layers a block instead of two with transformers: 879 million
// parameters, in bf16 in the file and in memory. The file is read from the page cache. Each figure is the best of five.
#include <mindgap/models/unet.hpp>

#include "timing.hpp"
#include <cstdio>
#include <fstream>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::bench;

namespace {

using Net = UNet2DModel<Cpu, Precision<bf16>>;

UNetConfig config() {
  UNetConfig c;
  c.in_channels = c.out_channels = 4;
  c.block_out_channels = {320, 640, 1280, 1280};
  c.down_attention = {false, false, true, true}, c.up_attention = {true, true, false, false};
  c.layers_per_block = 3;
  c.num_class_embeds = 1001;
  return c;
}

// Bytes that /proc/self/FILE gives in kB under keys that begin with `key`, added up.
double system_bytes(const char* file, const std::string& key) {
  std::ifstream lines(std::string("/proc/self/") + file);
  double kilobytes = 0;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key)) kilobytes += std::stod(line.substr(line.find(':') + 1));
  return 1024 * kilobytes;
}

// Entries that share the memory of one buffer: the file is as large as the network, the buffer as its largest entry.
void write_file(const std::filesystem::path& file) {
  Net net(config());
  std::vector<i64> sizes;
  for (const StateItem& item : state_items(net)) {
    i64& size = sizes.emplace_back(1);
    for (i64 extent : item.shape) size *= extent;
  }
  std::vector<bf16> values(size_t(*std::max_element(sizes.begin(), sizes.end())));
  for (size_t i = 0; i < values.size(); ++i) values[i] = bf16(0.02f * (float(i * 2654435761u % 1024) / 512 - 1));
  std::vector<SafetensorsSource> sources;
  for (const StateItem& item : state_items(net))
    sources.push_back(
        {item.name, DType::bf16, item.shape, std::as_bytes(std::span(values.data(), size_t(sizes[sources.size()])))});
  write_safetensors(file, std::move(sources));
}

void copy(std::byte* to, const std::byte* from, i64 size) {
  const i64 part = i64(4) << 20;
#pragma omp parallel for
  for (i64 begin = 0; begin < size; begin += part) std::memcpy(to + begin, from + begin, size_t(std::min(part, size - begin)));
}

// The best of five, in bytes a second. prepare(): before each, not timed.
template <class Prepare, class F>
double rate(double bytes, Prepare&& prepare, F&& f) {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    prepare();
    best = std::max(best, bytes / seconds_of<Cpu>(f));
  }
  return best;
}

void measure(const std::filesystem::path& file) {
  write_file(file);
  const auto fresh = [] { Pool<Cpu>::common().trim(); };  // memory that the system has not handed out yet
  fresh();
  // First, as a program does that samples: what it has then. VmHWM: the largest that it had, with the pages of the file.
  std::unique_ptr<Net> net;
  double bytes = 0, after_load = 0, after_forward = 0, first = 0;
  {
    std::ofstream("/proc/self/clear_refs") << 5;  // forgets VmHWM
    first = seconds_of<Cpu>([&] {
      net = std::make_unique<Net>(config());
      load(*net, file);
    });
    for_each_parameter(*net, [&](const std::string&, auto& p) { bytes += double(p.value.bytes()); });
    after_load = system_bytes("smaps_rollup", "Private_");
    const double peak = system_bytes("status", "VmHWM");
    const double forward = seconds_of<Cpu>([&] {
      (*net)(normals<bf16, Cpu>(Shape<4>(1, 32, 32, 4)), Tensor<float, 1>::full(Shape(1), 500.f),
             Tensor<i64, 1>::full(Shape(1), 7));
    });
    after_forward = system_bytes("smaps_rollup", "Private_");
    std::printf(
        "{\"parameters\": %lld, \"bytes\": %.0f, \"private after loading\": %.4f, \"and a forward pass\": %.4f, \"resident at "
        "most while loading\": %.3f, \"forward s\": %.2f}\n",
        static_cast<long long>(count_parameters(*net)), bytes, after_load / bytes, after_forward / bytes, peak / bytes, forward);
  }
  const double loads = rate(
      bytes, [&] { net.reset(), fresh(); },
      [&] {
        net = std::make_unique<Net>(config());
        load(*net, file);
      });
  net.reset();
  fresh();
  double copies = 0, warm = 0;
  {
    const Safetensors mapped(file);
    const std::byte* from = mapped.entries()[0].bytes.data();
    i64 size = 0;
    for (const SafetensorsEntry& entry : mapped.entries())
      from = std::min(from, entry.bytes.data()), size += i64(entry.bytes.size());
    Tensor<u8, 1> to;
    const auto copied = [&] {
      if (!to.defined()) to = Tensor<u8, 1>(Shape<1>(size));
      copy(reinterpret_cast<std::byte*>(to.data()), from, size);
    };
    copies = rate(
        bytes, [&] { to = {}, fresh(); }, copied);
    warm = rate(
        bytes, [] {}, copied);
  }
  std::printf(
      "{\"load GB/s\": %.2f, \"first load s\": %.2f, \"copy to new memory GB/s\": %.2f, \"copy to used memory GB/s\": %.2f, "
      "\"load to copy\": %.2f, \"to the quicker copy\": %.2f}\n",
      1e-9 * loads, first, 1e-9 * copies, 1e-9 * warm, loads / copies, loads / std::max(copies, warm));
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : std::filesystem::temp_directory_path();
  const std::filesystem::path file = folder / ("mindgap-load-" + std::to_string(getpid()) + ".safetensors");
  try {
    measure(file);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::filesystem::remove(file);
    return 1;
  }
  std::filesystem::remove(file);
}
