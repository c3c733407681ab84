// Bodies of generator.hpp.
#pragma once

#include <mindgap/diffusion/generator.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/io/numbers.hpp>

#include <set>
#include <sstream>

namespace mindgap {

MINDGAP_INLINE std::filesystem::path GeneratorFiles::stored_weights() const {
  return mindgap::stored_weights(folder / "unet", weights().stem().string(), "UNet2DModel");
}

MINDGAP_INLINE void GeneratorFiles::check() const {
  std::vector<ErrorLine> lines;
  if (stored_weights().empty()) lines.push_back({"missing", weights().string()});
  for (const auto& file : {unet_config(), scheduler()})
    if (!std::filesystem::exists(file)) lines.push_back({"missing", file.string()});
  if (lines.empty()) return;
  lines.push_back({"remedy", "give the folder that train_generator or diffusers' save_pretrained wrote"});
  throw Error("\"" + folder.string() + "\" is not a generator folder", lines);
}

MINDGAP_INLINE std::string GeneratorFiles::hash() const {
  const std::filesystem::path stored = stored_weights();
  std::vector<std::filesystem::path> files = safetensors_files(stored);
  if (files[0] != stored) files.insert(files.begin(), stored);  // the index
  files.insert(files.end(), {unet_config(), scheduler(), classes()});
  Sha256 hash;
  for (const auto& file : files)
    if (std::filesystem::exists(file)) hash.update(sha256(read_file(file)));
  return hash.hex();
}

MINDGAP_INLINE std::vector<std::string> GeneratorFiles::read_class_names(i64 rows) const {
  std::vector<std::string> names;
  if (!std::filesystem::exists(classes())) {
    for (i64 label = 0; label < rows; ++label) names.push_back(std::to_string(label));
    return names;
  }
  names = read_json<std::vector<std::string>>(classes(), "classes.json",
                                              "it is a list of the classes' names, in the order of the labels");
  const i64 count = i64(names.size());
  if (count < 1 || (count != rows && count != rows - 1))
    throw Error(text("classes.json has ", count, " names, the network's class embedding has ", rows, " rows"),
                {{"file", classes().string()},
                 {"remedy", "give a name for each row, or for each but the last where that was trained as \"no class\""}});
  check_class_names(names, classes());
  return names;
}

MINDGAP_INLINE void GeneratorFiles::write_class_names(const std::vector<std::string>& names) const {
  write_file_atomic(classes(), to_json(names));
}

MINDGAP_INLINE GeneratorOrigin GeneratorFiles::read_origin() const {
  GeneratorOrigin out;
  if (!std::filesystem::exists(training())) return out;
  std::set<std::string> seen;
  std::istringstream lines(read_file(training()));
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    const std::string key = line.substr(0, space), value = space == line.npos ? "" : line.substr(space + 1);
    if (key != "images" && key != "flip") continue;
    if (!seen.insert(key).second)
      throw Error("training.txt: it says " + key + " twice",
                  {{"file", training().string()}, {"remedy", "restore the file as train_generator wrote it"}});
    const auto number = number_in<i64>(value);
    if (!number || *number < 0 || (key == "flip" && *number > 1))
      throw Error("training.txt: " + key + " is \"" + value + "\"", {{"file", training().string()},
                                                                     {"wanted", key == "flip" ? "0 or 1" : "a number of images"},
                                                                     {"remedy", "restore the file as train_generator wrote it"}});
    if (key == "images") out.images = *number;
    else out.flip = *number == 1;
  }
  return out;
}

MINDGAP_INLINE Guidance GeneratorInfo::guidance(Guidance wanted) const {
  if (wanted.unconditional() && classes() == unet.num_class_embeds)
    throw Error(
        text("guidance ", wanted.scale, ": the generator has no \"no class\" to guide away from"),
        {{"classes", text(classes(), ", as many as its class embedding has rows")},
         {"remedy",
          "use guidance 1, or train with --label-dropout above 0; where the last row was trained as \"no class\", write a "
          "classes.json with the names of the others"}});
  return wanted;
}

MINDGAP_INLINE GeneratorInfo read_generator_info(const GeneratorFiles& files, std::optional<SamplerKind> sampler) {
  GeneratorInfo info{read_unet_config(files.unet_config()), read_scheduler_config(files.scheduler(), sampler), {}};
  const auto refuse = [&](const std::string& what) {
    throw Error("this network cannot generate a labelled set: " + what,
                {{"file", files.unet_config().string()},
                 {"remedy", "give a class-conditional UNet2DModel that says its image size, as train_generator writes them"}});
  };
  if (info.unet.num_class_embeds < 1) refuse("it is not conditioned on classes (num_class_embeds)");
  if (info.unet.in_channels != info.unet.out_channels)
    refuse(text("it reads ", info.unet.in_channels, " channels and writes ", info.unet.out_channels));
  if (info.unet.sample_size < 1) refuse("its image size is not said (sample_size)");
  info.class_names = files.read_class_names(info.unet.num_class_embeds);
  return info;
}

MINDGAP_INLINE void write_generator_info(const GeneratorFiles& files, const GeneratorInfo& info) {
  write_file_atomic(files.unet_config(), unet_config_json(info.unet));
  write_scheduler_config(files.scheduler(), info.scheduler);
  files.write_class_names(info.class_names);
}

}  // namespace mindgap
