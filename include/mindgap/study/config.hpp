// The configuration of a study, a JSON file (data/studies/*.json). Every key has a default; an unknown key, a wrong type
// or a value out of range is an Error that names the file and the key.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace mindgap {

// How a student is trained in one role.
struct RecipeConfig {
  i64 epochs = 8, batch = 128, minimum_steps = 0;
  double learning_rate = 0.1;

  // Of the optimizer, on so many images (a last batch of a single image is left out, as the loader does).
  i64 steps(i64 images) const { return std::max(epochs * (images / batch + (images % batch > 1)), minimum_steps); }
};

// How a generator is trained, where the study trains its own.
struct GeneratorConfig {
  i64 steps = 4250, batch = 64;
  double warmup = 200;
  double learning_rate = 1e-3;
  std::vector<i64> channels{32, 64, 64};
  i64 layers = 1, groups = 8, head = 8;
  u64 seed = 0;
  std::string images = "pool";  // all real training images that are not held out; or "real", those of R ("same data")
};

// E10: every combination of these; an empty list stands for the study's own value.
struct SettingsConfig {
  std::vector<std::string> sampler;
  std::vector<i64> sampling_steps;
  std::vector<double> guidance;
  std::vector<i64> per_class;
};

struct StudyConfig {
  std::string name = "study";
  std::string data = "fashion-mnist";  // real images: as --data
  bool held_out = false;  // keep a stratified tenth of the training split out of everything but E10 (data/subset.hpp)
  i64 per_class = 0;      // training images a class, real and synthetic alike; 0: as many as both have
  i64 test_images = 0;    // real test images, a stratified subset; 0: all

  // Ready synthetic sets: shard folders as sample writes them, one a draw, which differ in their seeds alone. Student i uses set
  // i modulo their number. Beside them the keys from here to `settings` are refused: nothing is generated, and there is no E10.
  std::vector<std::string> synthetic;

  // The synthetic set is sampled from the generator in this folder; where it is empty, `train_generator` says how to train
  // one into <out>/generator first, with the students' flips. Both together are refused.
  std::string generator = "data/generator";
  GeneratorConfig train_generator;
  std::string sampler = "dpmpp_2m";
  i64 sampling_steps = 15;
  double guidance = 1.5;
  u64 sampling_seed = 0;
  i64 synthetic_sets = 1;                // drawn with sampling_seed, sampling_seed + 1, ...; student i uses set i modulo these
  std::vector<SettingsConfig> settings;  // of E10

  std::string model = "resnet18";
  i64 width = 16;
  bool flip = true;
  i64 shift = 2;
  double weight_decay = 5e-4, label_smoothing = 0.1;
  std::string schedule = "cosine";
  std::optional<double> warmup;  // as --warmup of train_student; where a file has none, the reader puts the schedule's usual one

  std::vector<u64> seeds{1, 2};
  std::vector<std::string> experiments{"E0", "E1", "E3", "E3 twice", "E2", "E5"};
  std::map<std::string, i64> seeds_of;        // experiments that take the first so many seeds only
  bool by_unit = false;                       // splits at every unit, not only at groups
  std::vector<std::string> splits;            // E1 to E3: those after these units or groups only; empty: all
  std::string suffix_start = "reinitialise";  // E1 to E3; or "continue"
  std::string statistics = "frozen";          // of frozen batch norms; or "live", "reestimated"
  std::vector<i64> counts{100, 500};          // real images of E5
  std::vector<std::string> recipes{"fc", "last group", "all", "scratch", "mixed"};  // of E5
  i64 mixed_real = 0;  // E5 "mixed": real images are repeated to this many; 0: to a fifth of the synthetic ones

  RecipeConfig student{8, 128, 0, 0.1};       // E0 to E3, E6, E10
  RecipeConfig finetune{10, 128, 200, 0.02};  // E5 "fc", "last group", "last two", "all"
  // E5 "scratch". Where it is absent, "scratch" and "mixed" have the steps that S and its fine-tuning have together, at the
  // learning rate of `student`; where it is given, "scratch" has these and "mixed" the epochs of `student`.
  std::optional<RecipeConfig> scratch;
};

StudyConfig parse_study_config(const std::string& json, const std::string& file);
StudyConfig read_study_config(const std::filesystem::path& path);
// As run, all keys present.
std::string study_config_json(const StudyConfig& config);
// The same, a setting a line, as "student.epochs 8": what check_same_settings (nn/state_dict.hpp) compares.
std::string study_settings(const StudyConfig& config);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/config.ipp>
#endif
