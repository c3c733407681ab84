// Bodies of study/student.hpp.
#pragma once

#include <mindgap/io/file.hpp>
#include <mindgap/study/student.hpp>

#include <nlohmann/json.hpp>

namespace mindgap {

MINDGAP_INLINE StudentInfo read_student_info(const std::filesystem::path& folder) {
  const auto file = folder / "student.json";
  if (!std::filesystem::exists(file))
    throw Error("this is no student's folder: student.json is missing",
                {{"folder", folder.string()}, {"remedy", "give the --out of train_student"}});
  const auto parsed = nlohmann::json::parse(read_file(file), nullptr, false);
  try {
    if (!parsed.is_object()) throw Error("student.json is no JSON object", {{"file", file.string()}});
    StudentInfo info;
    const std::string stem = parsed.at("stem").get<std::string>();
    for (const char* key : {"width", "channels"})
      if (!parsed.at(key).is_number_integer())
        throw Error(text("student.json: ", key, " is ", parsed.at(key).dump(), ", wanted a whole number"),
                    {{"file", file.string()}});
    if (stem != "large" && stem != "small")
      throw Error("student.json: stem is \"" + stem + "\", wanted large or small", {{"file", file.string()}});
    info.class_names = parsed.at("classes").get<std::vector<std::string>>();
    info.config = naming_file(file.string(), [&] {
      return ResNetConfig::make(parsed.at("model").get<std::string>(), parsed.at("width").get<i64>(),
                                parsed.at("channels").get<i64>(), i64(info.class_names.size()),
                                stem == "large" ? Stem::large : Stem::small);
    });
    info.normalisation.mean = parsed.at("mean").get<std::vector<float>>();
    info.normalisation.deviation = parsed.at("deviation").get<std::vector<float>>();
    for (const auto* list : {&info.normalisation.mean, &info.normalisation.deviation})
      for (float v : *list)
        if (!std::isfinite(v)) throw Error("student.json: mean and deviation must be finite", {{"file", file.string()}});
    info.plans = parsed.value("plans", "");
    return info;
  } catch (const nlohmann::json::exception& error) {
    throw Error(std::string("student.json: ") + error.what(), {{"file", file.string()}});
  }
}

MINDGAP_INLINE void write_student_info(const std::filesystem::path& folder, const StudentInfo& info) {
  nlohmann::ordered_json j;
  j["model"] = info.config.name;
  j["width"] = info.config.width;
  j["channels"] = info.config.channels;
  j["stem"] = info.config.stem == Stem::large ? "large" : "small";
  j["classes"] = info.class_names;
  j["mean"] = info.normalisation.mean;
  j["deviation"] = info.normalisation.deviation;
  if (!info.plans.empty()) j["plans"] = info.plans;
  write_file_atomic(folder / "student.json", j.dump(2) + "\n");
}

MINDGAP_INLINE void check_student_data(const StudentInfo& info, const Dataset& data) {
  if (data.images.extent(3) != info.config.channels)
    throw Error(text("the images have ", data.images.extent(3), " channels, the student wants ", info.config.channels),
                {{"set", data.name}});
  if (data.class_names != info.class_names)
    throw Error("the set has other classes than the student, or the same in another order",
                {{"set", data.name}, {"classes", text(data.classes(), "; the student has ", info.class_names.size())}});
}

MINDGAP_INLINE std::string evaluation_json(const Evaluation& evaluation, const std::vector<std::string>& class_names) {
  nlohmann::ordered_json j;
  j["images"] = evaluation.images;
  j["top1"] = evaluation.top1;
  j["top5"] = evaluation.top5;
  j["loss"] = evaluation.loss;
  for (size_t c = 0; c < class_names.size(); ++c) {
    i64 images = 0;
    for (i64 count : evaluation.confusion[c]) images += count;
    j["per_class"][class_names[c]] =
        images ? nlohmann::ordered_json(double(evaluation.confusion[c][c]) / double(images)) : nlohmann::ordered_json(nullptr);
  }
  j["classes"] = class_names;
  j["confusion"] = evaluation.confusion;
  return j.dump(2) + "\n";
}

}  // namespace mindgap
