// What a Stable Diffusion folder of the published sizes has beside its weights.
#pragma once

#include <mindgap/io/file.hpp>

namespace mindgap::bench {

// Writes the configuration of each network and of the schedule. version: 1 (1.5) or 2 (2.1). tokenizer: a folder, which is
// copied.
inline void write_model_files(const std::filesystem::path& folder, i64 version, const std::filesystem::path& tokenizer) {
  const auto write = [&](const char* part, const char* name, const char* json) {
    make_folder(folder / part);
    write_file_atomic(folder / part / name, json);
  };
  write("unet", "config.json",
        version == 1 ? R"({"sample_size": 64, "cross_attention_dim": 768})"
                     : R"({"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
 "use_linear_projection": true, "upcast_attention": true})");
  write("vae", "config.json", R"({"sample_size": 512, "layers_per_block": 2, "block_out_channels": [128, 256, 512, 512],
 "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
 "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})");
  write("text_encoder", "config.json",
        version == 1 ? R"({"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
 "num_attention_heads": 12})"
                     : R"({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
 "num_attention_heads": 16, "hidden_act": "gelu"})");
  write("scheduler", "scheduler_config.json",
        version == 1 ? R"({"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
 "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true,
 "steps_offset": 1})"
                     : R"({"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
 "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": false, "clip_sample": false,
 "steps_offset": 1, "prediction_type": "v_prediction"})");
  make_folder(folder / "tokenizer");
  for (const auto& file : std::filesystem::directory_iterator(tokenizer))
    std::filesystem::copy_file(file, folder / "tokenizer" / file.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
}

}  // namespace mindgap::bench
