// Stable Diffusion 1.5 and 2.1 of the published sizes as one file in the original naming (names: scripts/golden_single_file.py),
// against the same weights in a folder: f16 on the disk, f32 in memory, which has every bit of it. Takes up to 2.6 GB of disk and
// 6 GB of memory.
#include <mindgap/diffusion/stable_diffusion.hpp>
#include <mindgap/io/hash.hpp>

#include "bench/model_files.hpp"
#include "tests/files.hpp"
#include "tests/golden/golden.hpp"
#include <sys/resource.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

using P = Precision<float>;
using Model = StableDiffusion<Cpu, P>;

// The weights of a version. Each tensor begins at another place of one array of random numbers: no two are alike, and the array
// is no larger than the largest of them.
class MadeUpWeights {
 public:
  explicit MadeUpWeights(i64 version) : version_(version) {
    std::istringstream file(read_file(golden_folder + "single_file.names.txt"));
    for (std::string which, original, ours; file >> which >> original >> ours;) original_names_[ours] = original;
    const StableDiffusionConfigs configs = published_configs(version);
    add<CLIPTextModel<Cpu, P>>("text_encoder/model.safetensors", configs.text_encoder);
    add<UNet2DConditionModel<Cpu, P>>("unet/diffusion_pytorch_model.safetensors", configs.unet);
    add<AutoencoderKL<Cpu, P>>("vae/diffusion_pytorch_model.safetensors", configs.vae);
    size_t end = 0;
    for (const Part& part : parts_) end = std::max(end, part.begin + part.size);
    numbers_.resize(end);
    for (size_t i = 0; i < end; ++i) numbers_[i] = u32(mix64(i)) & 0xbfff;  // as f16 between -2 and 2
  }

  void write_folder(const fs::path& folder) const {
    bench::write_model_files(folder, version_, golden_folder + "pipeline/tokenizer");
    std::map<std::string, std::vector<SafetensorsSource>> files;
    for (const Part& part : parts_) files[part.file].push_back(source(part.name, part.shape, part));
    for (auto& [file, sources] : files) write_safetensors(folder / file, std::move(sources));
  }

  void write_file(const fs::path& file) const {
    std::vector<SafetensorsSource> sources;
    for (const Part& part : parts_) {
      std::vector<i64> shape = part.shape;
      if (part.original.find(".mid.attn_1.") != std::string::npos && shape.size() == 2) shape = {shape[0], shape[1], 1, 1};
      if (fused(part)) shape[0] *= 3;
      if (!third(part)) sources.push_back(source(part.original, shape, part));
    }
    write_safetensors(file, std::move(sources));
  }

 private:
  struct Part {
    std::string file, name, original;
    std::vector<i64> shape;
    size_t begin, size;
  };

  // Of OpenCLIP's fused projection: 0, 1, 2 for what makes queries, keys, values.
  static size_t third(const Part& part) {
    if (!fused(part)) return 0;
    return part.name.find(".q_proj.") != std::string::npos ? 0 : part.name.find(".k_proj.") != std::string::npos ? 1 : 2;
  }
  static bool fused(const Part& part) { return part.original.find(".in_proj_") != std::string::npos; }

  // The list has the first layers of OpenCLIP alone.
  std::string original_name(const std::string& name) const {
    if (!name.starts_with("text_model.")) return original_names_.at(name);
    if (version_ == 1) return "cond_stage_model.transformer." + name;
    const std::string start = "text_model.encoder.layers.";
    if (!name.starts_with(start)) return original_names_.at(name);
    const size_t end = name.find('.', start.size());
    std::string first = original_names_.at(start + "0" + name.substr(end));
    return first.replace(first.find(".0."), 3, "." + name.substr(start.size(), end - start.size()) + ".");
  }

  template <class Net, class Config>
  void add(const std::string& file, const Config& config) {
    Net net(config);
    for (const StateItem& item : state_items(net)) {
      Part part{file, item.name, original_name(item.name), item.shape, 0, 1};
      for (i64 extent : item.shape) part.size *= size_t(extent);
      const size_t number = numbers_of_.emplace(part.original, numbers_of_.size()).first->second;
      part.begin = 97 * number + third(part) * part.size;
      parts_.push_back(part);
    }
  }

  SafetensorsSource source(const std::string& name, const std::vector<i64>& shape, const Part& part) const {
    size_t size = 1;
    for (i64 extent : shape) size *= size_t(extent);
    return {name, DType::f16, shape, std::as_bytes(std::span(numbers_).subspan(part.begin, size))};
  }

  i64 version_;
  std::map<std::string, std::string> original_names_;
  std::map<std::string, size_t> numbers_of_;
  std::vector<Part> parts_;
  std::vector<std::uint16_t> numbers_;
};

// What came out of a folder or file.
struct Loaded {
  StableDiffusionConfigs configs;
  std::map<std::string, std::string> hashes;  // of each tensor
  double bytes = 0;

  Loaded(const fs::path& path, Prediction prediction) {
    {
      const Model model = load_stable_diffusion<Cpu, P>(read_stable_diffusion_info(path, {}, prediction));
      configs = model.info.configs;
      add(*model.text_encoder), add(*model.unet), add(*model.vae);
    }
    Pool<Cpu>::common().trim();
  }
  template <class Net>
  void add(Net& net) {
    for (const StateItem& item : state_items(net)) {
      const std::vector<float> values = item.get();
      const std::string_view as_text(reinterpret_cast<const char*>(values.data()), 4 * values.size());
      BOOST_TEST(hashes.emplace(item.name, sha256(as_text)).second, "twice: " << item.name);
      bytes += double(as_text.size());
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(full_file)

BOOST_AUTO_TEST_CASE(same_bits_as_a_folder) {
  double most = 0;
  for (const auto& [version, prediction, tensors] :
       {std::tuple(1, Prediction::epsilon, 1130), {2, Prediction::v_prediction, 1306}}) {
    const MadeUpWeights weights(version);
    const Folder temporary;
    weights.write_folder(temporary / "model");
    const Loaded folder(temporary / "model", prediction);
    fs::remove_all(temporary / "model");
    weights.write_file(temporary / "model.safetensors");
    const Loaded file(temporary / "model.safetensors", prediction);

    BOOST_TEST((file.configs.text_encoder == folder.configs.text_encoder));
    BOOST_TEST((file.configs.unet == folder.configs.unet));
    BOOST_TEST((file.configs.vae == folder.configs.vae));
    BOOST_TEST(file.hashes.size() == size_t(tensors));
    std::set<std::string> different;
    for (const auto& [name, hash] : folder.hashes) {
      BOOST_TEST(file.hashes.at(name) == hash, name);
      BOOST_TEST(different.insert(hash).second, "the weights of " << name << " are another's, too");
    }
    most = std::max(most, file.bytes);
  }
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  BOOST_TEST(1024. * double(usage.ru_maxrss) < 1.25 * most);  // the weights once; a file's pages would be half as much again
}

BOOST_AUTO_TEST_SUITE_END()
