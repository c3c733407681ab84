// io/json.hpp, and every file of settings that the project reads: each key of a valid file is made wrong in each way, and the
// Error must name the file, the key and the value. What diffusers writes, null where it has a meaning included, is read as it is
// meant.
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/data/image_folder.hpp>
#include <mindgap/data/shards.hpp>
#include <mindgap/diffusion/generator.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/study/config.hpp>
#include <mindgap/study/student.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

using namespace mindgap;
using namespace mindgap::test;
using nlohmann::ordered_json;

namespace {

struct ConfigurationFile {
  std::string file;   // its name
  std::string valid;  // with all its keys
  std::function<void(const fs::path& folder)> read;
  std::set<std::string> whole, real;  // keys of numbers
  std::set<std::string> needed;       // keys without a default
  std::set<std::string> null;         // keys that may be null
};

const std::vector<ConfigurationFile>& configuration_files() {
  static const std::vector<ConfigurationFile> all{
      {"study.json",
       R"({"name": "a", "data": "fashion-mnist", "held_out": true, "per_class": 10, "test_images": 0, "generator": "",
           "train_generator": {"steps": 3, "learning_rate": 0.5, "channels": [32, 64], "images": "pool"}, "sampler": "ddim",
           "sampling_steps": 3, "guidance": 1, "sampling_seed": 18446744073709551615, "synthetic_sets": 1,
           "settings": [{"sampler": ["ddim"], "guidance": [1, 2.5]}], "model": "resnet18", "width": 8, "flip": false, "shift": 0,
           "weight_decay": 0.1, "label_smoothing": 0, "warmup": 0.5, "schedule": "step", "seeds": [1, 2],
           "experiments": ["E0", "E1", "E10"], "seeds_of": {"E1": 1}, "by_unit": false, "splits": [], "suffix_start": "continue",
           "statistics": "live", "counts": [2], "recipes": ["fc"], "mixed_real": 0, "student": {"epochs": 3, "learning_rate": 0.1},
           "finetune": {"batch": 8}, "scratch": {"minimum_steps": 3}})",
       [](const fs::path& folder) { read_study_config(folder / "study.json"); },
       {"per_class", "test_images", "sampling_steps", "sampling_seed", "synthetic_sets", "width", "shift", "mixed_real"},
       {"guidance", "weight_decay", "label_smoothing", "warmup"},
       {},
       {}},
      {"config.json",
       R"({"_class_name": "UNet2DModel", "_diffusers_version": "0.42.1", "sample_size": 28, "in_channels": 1, "out_channels": 1,
           "center_input_sample": false, "time_embedding_type": "positional", "freq_shift": 0, "flip_sin_to_cos": true,
           "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
           "block_out_channels": [32, 64], "layers_per_block": 1, "downsample_padding": 1, "act_fn": "silu",
           "attention_head_dim": 8, "add_attention": true, "norm_num_groups": 8, "norm_eps": 1e-05,
           "resnet_time_scale_shift": "default", "class_embed_type": null, "num_class_embeds": 11, "dropout": 0.0,
           "mid_block_scale_factor": 1, "time_embedding_dim": null, "attn_norm_num_groups": null})",
       [](const fs::path& folder) { read_unet_config(folder / "config.json"); },
       {"sample_size", "in_channels", "out_channels", "freq_shift", "layers_per_block", "downsample_padding",
        "attention_head_dim", "norm_num_groups", "num_class_embeds"},
       {"norm_eps", "dropout", "mid_block_scale_factor"},
       {},
       {"sample_size", "attention_head_dim", "num_class_embeds", "class_embed_type", "time_embedding_dim",
        "attn_norm_num_groups"}},
      {"scheduler_config.json",
       R"({"_class_name": "DDIMScheduler", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "clip_sample": true,
           "clip_sample_range": 1.0, "num_train_timesteps": 1000, "prediction_type": "sample", "set_alpha_to_one": true,
           "steps_offset": 0, "timestep_spacing": "trailing", "thresholding": false, "trained_betas": null})",
       [](const fs::path& folder) { read_scheduler_config(folder / "scheduler_config.json"); },
       {"num_train_timesteps", "steps_offset"},
       {"beta_end", "beta_start", "clip_sample_range"},
       {"_class_name"},
       {"thresholding", "trained_betas"}},
      {"student.json",
       R"({"model": "resnet18", "width": 8, "channels": 1, "stem": "small", "classes": ["a", "b"], "mean": [0.5], "std": [1],
           "plans": "0123"})",
       [](const fs::path& folder) { read_student_info(folder); },
       {"width", "channels"},
       {},
       {"model", "width", "channels", "stem", "classes", "mean", "std"},
       {}},
      {"dataset.json",
       R"({"chunk_rule": "position p is image p / classes of class p % classes; chunk k holds positions k * chunk_size to (k + 1) * chunk_size - 1",
           "chunk_size": 128, "chunks": 1, "class_names": ["a", "b"], "format": "mindgap shards 1", "generator": "0123",
           "guidance": 1.0, "image": [28, 28, 1], "images_per_class": 5, "precision": "f32", "program_version": "0.1.0",
           "sampler": "ddim", "seed": 0, "steps": 10})",
       [](const fs::path& folder) { read_shard_manifest(folder); },
       {"chunk_size", "images_per_class", "seed", "steps"},
       {"guidance"},
       {"chunk_size", "class_names", "format", "generator", "guidance", "image", "images_per_class", "precision",
        "program_version", "sampler", "seed", "steps"},
       {}},
      {"dataset.json",
       R"({"format": "mindgap image folder 1",
           "layout": "image i of a class is images/<folder>/<i, six digits>.<png or jpg>; its line is in manifest/<folder>/<i / 20, five digits>.jsonl",
           "images_per_class": 5, "jpeg_quality": 95, "settings": {"seed": 18446744073709551615, "guidance": 2.0, "zero_snr": true},
           "classes": [{"id": "n02123045", "name": "tabby", "folder": "n02123045"}]})",
       [](const fs::path& folder) { read_image_folder_manifest(folder); },
       {"images_per_class", "jpeg_quality"},
       {},
       {"format", "images_per_class", "settings", "classes"},
       {}},
      {"classes.json",
       R"(["a", "b"])",
       [](const fs::path& folder) { GeneratorFiles{folder}.read_class_names(2); },
       {},
       {},
       {},
       {}},
  };
  return all;
}

// Reads the file with these bytes.
std::string said(const ConfigurationFile& kind, const std::string& bytes) {
  Folder folder;
  folder.write(kind.file, bytes);
  return error_of([&] { kind.read(folder.path); });
}

// A block that names the file and `part`, gives a remedy and repeats nothing of the JSON library's.
void refused(const ConfigurationFile& kind, const std::string& bytes, const std::string& part) {
  const std::string block = said(kind, bytes);
  for (const std::string& wanted : {std::string("mindgap: "), kind.file, part, std::string("remedy")})
    BOOST_TEST(block.find(wanted) != block.npos,
               kind.file << ": " << bytes.substr(0, 300) << "\nsaid: " << block << "\nwanted: " << wanted);
  for (const char* raw : {"json.exception", "parse error", "parse_error", "type_error", "terminate"})
    BOOST_TEST(block.find(raw) == block.npos, block);
  BOOST_TEST(block.size() < 5000u);
}

// The valid file with the bytes `value` for the key.
std::string with(const ConfigurationFile& kind, const std::string& key, const std::string& value) {
  auto json = ordered_json::parse(kind.valid);
  json[key] = "@@";
  std::string text = json.dump(2);
  return text.replace(text.find("\"@@\""), 4, value);
}

std::vector<std::string> keys(const ConfigurationFile& kind) {
  std::vector<std::string> out;
  const auto json = ordered_json::parse(kind.valid);
  if (json.is_object())
    for (const auto& [key, value] : json.items()) out.push_back(key);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(configuration)

BOOST_AUTO_TEST_CASE(valid_files) {
  for (const auto& kind : configuration_files()) BOOST_TEST(said(kind, kind.valid) == "no error");
}

BOOST_AUTO_TEST_CASE(wrong_values) {
  const std::string deep = std::string(50'000, '[') + std::string(50'000, ']');
  for (const auto& kind : configuration_files())
    for (const std::string& key : keys(kind)) {
      BOOST_TEST_CONTEXT(kind.file << ": " << key) {
        if (kind.null.contains(key)) BOOST_TEST(said(kind, with(kind, key, "null")) == "no error");
        else refused(kind, with(kind, key, "null"), key + " is null");
        refused(kind, with(kind, key, R"({"x": [1]})"), key);
        refused(kind, with(kind, key, "[[true]]"), key);
        for (const char* word : {"NaN", "-Infinity", "Infinity"})
          refused(kind, with(kind, key, word), key + ": NaN and Infinity");
        refused(kind, with(kind, key, "1e999"), key + " is a number beyond the range");
        refused(kind, with(kind, key, deep), "deeper than 64");
        refused(kind, with(kind, key, std::string(50'000, '{')), key);
        const bool whole = kind.whole.contains(key), real = kind.real.contains(key);
        for (const char* value : {"true", "[true]", "\"8\"", "{}"})
          if (whole || real) refused(kind, with(kind, key, value), key + " is " + value);
        for (const char* value : {"28.9", "8.0", "1e300", "-1e300"})
          if (whole) refused(kind, with(kind, key, value), key + " is ");
        for (const char* value : {"99999999999999999999", "-9223372036854775809", "-1"})
          if (whole && !(key == "steps_offset" || key == "freq_shift")) refused(kind, with(kind, key, value), key + " is ");
      }
    }
}

BOOST_AUTO_TEST_CASE(wrong_keys) {
  for (const auto& kind : configuration_files())
    for (const std::string& key : keys(kind)) {
      auto json = ordered_json::parse(kind.valid);
      const auto value = json[key].dump();
      refused(kind, "{\"" + key + "\": " + value + ", " + json.dump().substr(1), "the key '" + key + "' is there twice");
      json.erase(key);
      if (kind.needed.contains(key)) refused(kind, json.dump(), key + " is missing");
      if (key[0] == '_') continue;
      json[key + "z"] = 1;
      refused(kind, json.dump(), "there is no key '" + key + "z'; the nearest is '" + key + "'");
    }
}

BOOST_AUTO_TEST_CASE(wrong_files) {
  for (const auto& kind : configuration_files()) {
    refused(kind, "", "the file is empty");
    refused(kind, " \n", "too early");
    for (const char* text :
         {"hello", "<!DOCTYPE html>\n<html>", "version https://git-lfs.github.com/spec/v1\n", "{'a': 1}", "PK\x03\x04"})
      refused(kind, text, "not JSON at line 1, column");
    refused(kind, kind.valid + "}", "not JSON at line");
    refused(kind, kind.valid + "\n{}", "not JSON at line");
    for (const char* text : {"null", "3", "\"a\"", "true"}) refused(kind, text, std::string("the file is ") + text);
    refused(kind, kind.valid[0] == '{' ? "[]" : "{}", "the file is ");
    refused(kind, "{\"\xff\": 1}", "not JSON at line 1, column 3");
    refused(kind, std::string(100'000, '['), "deeper than 64");
    std::string nested;
    for (int i = 0; i < 50'000; ++i) nested += "{\"a\":";
    refused(kind, nested, "deeper than 64");
    for (size_t bytes = 1; bytes < kind.valid.size(); ++bytes) {
      const std::string block = said(kind, kind.valid.substr(0, bytes));
      BOOST_TEST((block.find("too early") != block.npos && block.find(kind.file) != block.npos), bytes << " bytes: " << block);
    }
    const std::string large = said(kind, kind.valid + std::string(size_t(17) << 20, ' '));
    BOOST_TEST(large.find("more than 16777216 bytes") != large.npos, large);
    Folder folder;
    fs::create_directory(folder / kind.file);
    const std::string directory = error_of([&] { kind.read(folder.path); });
    BOOST_TEST(directory.find("Is a directory") != directory.npos, directory);
    BOOST_TEST(directory.find(kind.file) != directory.npos, directory);
  }
}

BOOST_AUTO_TEST_CASE(paths_and_ranges) {
  const auto study = [](const std::string& json, const std::string& part) {
    REFUSED(parse_study_config(json, "study.json"), part);
  };
  study(R"({"student": {"epochs": 28.9}})", "student.epochs is 28.9, wanted a whole number from 1 to 1000000");
  study(R"({"student": {"epoch": 1}})", "there is no key 'student.epoch'; the nearest is 'epochs'");
  study(R"({"student": {"epochs": 1, "epochs": 2}})", "student: the key 'epochs' is there twice");
  study(R"({"student": {"learning_rate": 0.1, "rate": 0.1}})", "student.learning_rate is there as 'rate' too");
  study(R"({"student": {"learning_rate": NaN}})", "student.learning_rate: NaN");
  study(R"({"warmup": 1})", "warmup is 1, which once was all steps");
  study(R"({"warmup": 0.2, "schedule": "one_cycle"})", "warmup is 0.2, and the schedule one_cycle has a warm-up of its own");
  study(R"({"warmup": 0.1, "schedule": "one_cycle"})", "warmup is 0.1, and the schedule one_cycle has a warm-up of its own");
  for (const auto& [json, warmup] : {std::pair(R"({"schedule": "one_cycle"})", 0.), {"{}", 0.1}, {R"({"warmup": 0})", 0.}}) {
    const std::string as_run = study_config_json(parse_study_config(json, "study.json"));
    BOOST_TEST(*parse_study_config(as_run, "study.json").warmup == warmup);
    BOOST_TEST(as_run.find("\"warmup\"") != as_run.npos);
  }
  study(R"({"counts": [2, 1]})", "counts[1] is 1, wanted a whole number of at least 2");
  study(R"({"counts": [2, Infinity]})", "counts[1]: NaN and Infinity");
  study(R"({"settings": [{}, {"guidance": [1, -1]}]})", "settings[1].guidance[1] is -1, wanted a number from 0 to 1000000");
  study(R"({"seeds_of": {"E1": 0}})", "seeds_of.E1 is 0, wanted a whole number of at least 1");
  study(R"({"seeds": [18446744073709551616]})", "seeds[0] is 1.8446744073709552e+19, wanted a whole number");
  study(R"({"schedule": "sometimes"})", "wanted one of cosine, constant, step, one_cycle");
  study(R"({"label_smoothing": 1.5})", "label_smoothing is 1.5, wanted a number from 0 to 1");
  study("{\"a\\u001b[31m\": 1}", "'a\\x1b[31m'");
  study(R"({"width": 0, "shift": null, "sead": 1})", "also    shift is null");
  study(R"({"width": 0, "shift": null, "sead": 1})", "there is no key 'sead'; the nearest is 'seeds'");
  study("{\"name\": \"a\",\n  \"data\" 3}", "data: this is not JSON at line 2, column 10");
  study("{a: 1}", "study configuration: this is not JSON at line 1, column 2");
  study("{", "study configuration: the text ends too early");
  study("1e999", "study configuration: the file is a number beyond the range of a double");
  study(R"({"weight_decay": 1e300})", "weight_decay is 1e+300, wanted a number from 0 to 10");
  std::string many = "{";
  for (int i = 0; i < 1000; ++i) many += text(i ? ", " : "", "\"unknown", i, "\": 0");
  BOOST_TEST(error_of([&] { parse_study_config(many + "}", "x"); }).size() < 2000u);
  REFUSED(parse_unet_config(R"({"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]})", "c"),
          "down_block_types[1] is \"CrossAttnDownBlock2D\", wanted one of DownBlock2D, AttnDownBlock2D");
  REFUSED(from_json<std::vector<float>>("[1, 1e300]", {"x", "x", "x"}), "[1] is 1e+300, wanted a number that fits a float");
  REFUSED(parse_unet_config(R"({"_class_name": "UNet2DConditionModel"})", "c"), "wanted \"UNet2DModel\"");
  REFUSED(parse_unet_config(R"({"attention_head_dim": 0})", "c"), "attention_head_dim is 0, wanted a whole number of at least 1");
  REFUSED(parse_unet_config(R"({"cross_attention_dim": 768})", "c"), "there is no key 'cross_attention_dim'");
}

// What a field holds: whole numbers of its type, and of kinds in one place the one that fits.
BOOST_AUTO_TEST_CASE(types_of_fields) {
  using Either = std::variant<std::array<int, 2>, std::vector<int>, u8>;
  const auto read = [](const std::string& json) {
    return from_json<std::map<std::string, Either>>(json, {"values", "values.json", "correct it"}).at("v");
  };
  BOOST_TEST((std::get<0>(read(R"({"v": [1, 2]})")) == std::array{1, 2}));
  BOOST_TEST((std::get<1>(read(R"({"v": [1, 2, 3]})")) == std::vector{1, 2, 3}));
  BOOST_TEST(std::get<2>(read(R"({"v": 255})")) == 255);
  REFUSED(read(R"({"v": 256})"), "v is 256, wanted a list of 2 or a number");
  REFUSED(read(R"({"v": [1, 2147483648]})"), "v[1] is 2147483648, wanted a whole number from -2147483648 to 2147483647");
  using Pair = std::map<std::string, std::variant<std::string, std::array<std::string, 2>>>;
  REFUSED(from_json<Pair>(R"({"v": ["a"]})", {"values", "values.json", "correct it"}), "wanted a string or a list of 2");
}

BOOST_AUTO_TEST_CASE(what_diffusers_means) {
  // google/ddpm-cifar10-32's keys, with the padding that we have.
  const UNetConfig one_head = parse_unet_config(
      R"({"_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "act_fn": "silu", "attention_head_dim": null,
      "block_out_channels": [128, 256], "center_input_sample": false, "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
      "downsample_padding": 1, "flip_sin_to_cos": false, "freq_shift": 1, "in_channels": 3, "layers_per_block": 2,
      "mid_block_scale_factor": 1, "norm_eps": 1e-06, "norm_num_groups": 32, "out_channels": 3, "sample_size": 32,
      "time_embedding_type": "positional", "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "num_train_timesteps": null})",
      "config.json");
  BOOST_TEST(one_head.heads(256) == 1);
  BOOST_TEST(one_head.norm_eps == 1e-6f);
  BOOST_TEST((parse_unet_config(unet_config_json(one_head), "again") == one_head));
  BOOST_TEST(parse_unet_config(R"({"num_class_embeds": null, "sample_size": null})", "c").num_class_embeds == 0);

  const auto scheduler = [](const std::string& keys, SamplerKind kind) {
    return parse_scheduler_config(R"({"_class_name": "DDIMScheduler", )" + keys + "}", "scheduler_config.json", kind);
  };
  // A file of one class serves the others: its own keys do not concern them, whatever their values.
  const std::string dpm =
      R"("algorithm_type": "sde-dpmsolver++", "solver_order": 3, "use_karras_sigmas": true, "variance_type": null,
      "lambda_min_clipped" :
      -Infinity, "euler_at_final": true)";
  BOOST_TEST(!scheduler(dpm, SamplerKind::ddpm).fixed_large);
  BOOST_TEST(scheduler(R"("variance_type": "fixed_large")", SamplerKind::ddpm).fixed_large);
  REFUSED(scheduler(R"("variance_type": "learned")", SamplerKind::ddpm), "variance_type is \"learned\"");
  REFUSED(scheduler(dpm, SamplerKind::dpmpp_2m), "solver_order is 3, wanted 2");
  REFUSED(scheduler(R"("algorithm_type": "sde-dpmsolver")", SamplerKind::dpmpp_2m),
          "algorithm_type is \"sde-dpmsolver\", wanted one of");
  // Which of its two forms it is the name of the sampler says.
  BOOST_TEST(name(scheduler(R"("algorithm_type": "sde-dpmsolver++")", SamplerKind::dpmpp_2m).sampler) == "dpmpp_2m");
  BOOST_TEST(name(scheduler(R"("algorithm_type": "dpmsolver++")", SamplerKind::dpmpp_2m_sde).sampler) == "dpmpp_2m_sde");
  for (const char* bound : {"-Infinity", "null"})
    BOOST_TEST(std::isinf(scheduler(text(R"("lambda_min_clipped": )", bound), SamplerKind::dpmpp_2m).lambda_min_clipped));
  BOOST_TEST(scheduler(R"("lambda_min_clipped": -5.1)", SamplerKind::dpmpp_2m).lambda_min_clipped == -5.1);
  REFUSED(scheduler(R"("lambda_min_clipped": NaN)", SamplerKind::dpmpp_2m), "lambda_min_clipped: NaN");
  REFUSED(scheduler(R"("beta_end": -Infinity)", SamplerKind::dpmpp_2m), "beta_end: NaN and Infinity");
  REFUSED(scheduler(R"("timestep_spacing": null)", SamplerKind::ddim), "timestep_spacing is null");
  REFUSED(scheduler(R"("shift": 3.0, "base_shift": 0.5)", SamplerKind::euler), "there is no key 'shift'");  // flow matching
  REFUSED(scheduler(R"("predict_epsilon": false)", SamplerKind::ddpm), "predict_epsilon is false, wanted true");
}

BOOST_AUTO_TEST_CASE(written_files_are_read) {
  Folder folder;
  StudentInfo info;
  info.config = ResNetConfig::make("resnet50", 4, 3, 2, Stem::small);
  info.class_names = {"a \"quoted\"", "\xc3\xa4"};
  info.normalisation = {{0.1f, 0.2f, 0.3f}, {1, 2, 3}};
  write_student_info(folder.path, info);
  const StudentInfo read = read_student_info(folder.path);
  BOOST_TEST(read.config.name == "resnet50");
  BOOST_TEST(read.config.depths[2] == 6);
  BOOST_TEST((read.class_names == info.class_names));
  BOOST_TEST(read.normalisation.mean[0] == 0.1f);
  BOOST_TEST(read.plans.empty());
  BOOST_TEST(read_file(folder / "student.json").starts_with("{\n  \"model\": \"resnet50\",\n  \"width\": 4,\n"));
  info.class_names = {"\xff", "b"};
  REFUSED(write_student_info(folder.path, info), "UTF-8");
  for (const char* name : {"demo", "full", "parity", "reference", "settings"}) {
    const std::string written = study_config_json(read_study_config(text(MINDGAP_SOURCE_DIR "/data/studies/", name, ".json")));
    BOOST_TEST(study_config_json(parse_study_config(written, "again")) == written);
  }
  const fs::path shipped = MINDGAP_SOURCE_DIR "/data/generator";
  BOOST_TEST(unet_config_json(read_unet_config(shipped / "unet/config.json")) == read_file(shipped / "unet/config.json"));
  BOOST_TEST(scheduler_config_json(read_scheduler_config(shipped / "scheduler/scheduler_config.json")) ==
             read_file(shipped / "scheduler/scheduler_config.json"));
  GeneratorFiles{folder.path}.write_class_names(GeneratorFiles{shipped}.read_class_names(10));
  BOOST_TEST(read_file(folder / "classes.json") == read_file(shipped / "classes.json"));
}

BOOST_AUTO_TEST_SUITE_END()
