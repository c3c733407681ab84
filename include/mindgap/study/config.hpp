// The configuration of a study, a JSON file (data/studies/*.json). Every key has a default; an unknown key, a wrong type
// or a value out of range is an Error that names the file and the key.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace mindgap {

// How a student is trained in one role.
struct RecipeConfig {
  i64 epochs = 8, batch = 128, minimum_steps = 0;
  double rate = 0.1;
};

// How a generator is trained, where the study trains its own.
struct GeneratorConfig {
  i64 steps = 4250, batch = 64, warmup = 200;
  double rate = 1e-3;
  std::vector<i64> channels{32, 64, 64};
  i64 layers = 1, groups = 8, head = 8;
  u64 seed = 0;
};

struct StudyConfig {
  std::string name = "study";
  std::string data = "fashion-mnist";  // real images: as --data
  i64 per_class = 0;                   // training images a class, real and synthetic alike; 0: as many as both have
  i64 test_images = 0;                 // real test images, a stratified subset; 0: all

  // The synthetic set is sampled from the generator in this folder; where it is empty, `train_generator` says how to train
  // one into <out>/generator first.
  std::string generator = "data/generator";
  GeneratorConfig train_generator;
  std::string sampler = "dpmpp_2m";
  i64 sampling_steps = 15;
  double guidance = 1.5;
  u64 sampling_seed = 0;

  std::string model = "resnet18";
  i64 width = 16;
  bool flip = true;
  i64 shift = 2;
  double weight_decay = 5e-4, label_smoothing = 0.1, warmup = 0.1;
  std::string schedule = "cosine";

  std::vector<u64> seeds{1, 2};
  std::vector<std::string> experiments{"E0", "E1", "E2", "E5"};
  bool by_unit = false;                       // splits at every unit, not only at groups
  std::string suffix_start = "reinitialise";  // E1 to E3; or "continue"
  std::string statistics = "frozen";          // of frozen batch norms; or "live", "reestimated"
  std::vector<i64> counts{100, 500};          // real images of E5
  std::vector<std::string> recipes{"fc", "last group", "all", "scratch", "mixed"};  // of E5
  i64 mixed_real = 0;  // E5 "mixed": real images are repeated to this many; 0: to a fifth of the synthetic ones

  RecipeConfig student{8, 128, 0, 0.1};       // E0 to E4, E6, and E5 "mixed"
  RecipeConfig finetune{10, 128, 200, 0.02};  // E5 "fc", "last group", "last two", "all"
  RecipeConfig scratch{20, 128, 400, 0.1};    // E5 "scratch"
};

StudyConfig parse_study_config(const std::string& json, const std::string& file);
StudyConfig read_study_config(const std::filesystem::path& path);
// As run, all keys present.
std::string study_config_json(const StudyConfig& config);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/config.ipp>
#endif
