// Bodies of generator.hpp.
#pragma once

#include <mindgap/diffusion/generator.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>
#include <mindgap/io/json.hpp>

#include <charconv>
#include <sstream>

namespace mindgap {

MINDGAP_INLINE void GeneratorFiles::check() const {
  std::vector<ErrorLine> lines;
  for (const auto& file : {weights(), unet_config(), scheduler()})
    if (!std::filesystem::exists(file)) lines.push_back({"missing", file.string()});
  if (lines.empty()) return;
  lines.push_back({"remedy", "give the folder that train_generator or diffusers' save_pretrained wrote"});
  throw Error("\"" + folder.string() + "\" is not a generator folder", lines);
}

MINDGAP_INLINE std::string GeneratorFiles::hash() const {
  Sha256 hash;
  for (const auto& file : {weights(), unet_config(), scheduler(), classes()})
    if (std::filesystem::exists(file)) hash.update(sha256(read_file(file)));
  return hash.hex();
}

MINDGAP_INLINE std::vector<std::string> GeneratorFiles::read_class_names(i64 count) const {
  std::vector<std::string> names;
  if (!std::filesystem::exists(classes())) {
    for (i64 label = 0; label < count; ++label) names.push_back(std::to_string(label));
    return names;
  }
  names = read_json<std::vector<std::string>>(classes(), "classes.json",
                                              "it is a list of the classes' names, in the order of the labels");
  if (i64(names.size()) != count)
    throw Error(
        text("classes.json has ", names.size(), " names, the network has ", count, " classes and one row for \"no class\""),
        {{"file", classes().string()}});
  return names;
}

MINDGAP_INLINE void GeneratorFiles::write_class_names(const std::vector<std::string>& names) const {
  write_file_atomic(classes(), to_json(names));
}

MINDGAP_INLINE GeneratorOrigin GeneratorFiles::read_origin() const {
  GeneratorOrigin out;
  if (!std::filesystem::exists(training())) return out;
  std::istringstream lines(read_file(training()));
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.find(' ');
    const std::string key = line.substr(0, space), value = space == line.npos ? "" : line.substr(space + 1);
    if (key != "images" && key != "flip") continue;
    i64 number = -1;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (code != std::errc() || end != value.data() + value.size() || number < 0 || (key == "flip" && number > 1))
      throw Error("training.txt: " + key + " is \"" + value + "\"",
                  {{"file", training().string()}, {"wanted", key == "flip" ? "0 or 1" : "a number of images"}});
    if (key == "images") out.images = number;
    else out.flip = number == 1;
  }
  return out;
}

MINDGAP_INLINE GeneratorInfo read_generator_info(const GeneratorFiles& files, std::optional<SamplerKind> sampler) {
  GeneratorInfo info{read_unet_config(files.unet_config()), read_scheduler_config(files.scheduler(), sampler), {}};
  const auto refuse = [&](const std::string& what) {
    throw Error("this network cannot generate a labelled set: " + what, {{"file", files.unet_config().string()}});
  };
  if (info.unet.num_class_embeds < 2) refuse("it is not conditioned on classes (num_class_embeds)");
  if (info.unet.in_channels != info.unet.out_channels)
    refuse(text("it reads ", info.unet.in_channels, " channels and writes ", info.unet.out_channels));
  if (info.unet.sample_size < 1) refuse("its image size is not said (sample_size)");
  info.class_names = files.read_class_names(info.unet.null_class());
  return info;
}

MINDGAP_INLINE void write_generator_info(const GeneratorFiles& files, const GeneratorInfo& info) {
  write_file_atomic(files.unet_config(), unet_config_json(info.unet));
  write_scheduler_config(files.scheduler(), info.scheduler);
  files.write_class_names(info.class_names);
}

}  // namespace mindgap
