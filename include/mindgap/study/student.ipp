// Bodies of study/student.hpp.
#pragma once

#include <mindgap/io/file.hpp>
#include <mindgap/io/json.hpp>
#include <mindgap/study/student.hpp>

namespace mindgap {

template <class V>
void visit_fields(V& visit, StudentInfo& info) {
  visit.need("model", info.config.name);
  visit.need("width", info.config.width, {1, 4096});
  visit.need("channels", info.config.channels, {1, 4096});
  visit.need("stem", info.config.stem, {.one_of = {"large", "small"}});
  visit.need("classes", info.class_names);
  // Of values from 0 to 1: far from them the network sees constants, or infinities.
  visit.need("mean", info.normalisation.mean, {-1e4, 1e4});
  visit.need("std", info.normalisation.std, {.least = 1e-4, .most = 1e4, .alias = "deviation"});
  auto plans = info.plans.empty() ? std::nullopt : std::optional(info.plans);
  visit("plans", plans);
  info.plans = plans.value_or("");
}

MINDGAP_INLINE StudentInfo read_student_info(const std::filesystem::path& folder) {
  const auto file = folder / "student.json";
  if (!std::filesystem::exists(file))
    throw Error("this is no student's folder: student.json is missing",
                {{"folder", folder.string()}, {"remedy", "give the --out of train_student"}});
  auto info = read_json<StudentInfo>(file, "student.json", "restore it as train_student wrote it, or train again");
  check_class_names(info.class_names, file);
  const ResNetConfig& c = info.config;
  info.config = naming_file(
      file.string(), [&] { return ResNetConfig::make(c.name, c.width, c.channels, i64(info.class_names.size()), c.stem); });
  naming_file(file.string(), [&] { normalisation_table<float>(info.normalisation, c.channels); });  // throws for another number
  return info;
}

MINDGAP_INLINE void write_student_info(const std::filesystem::path& folder, const StudentInfo& info) {
  write_file_atomic(folder / "student.json", to_json(info));
}

MINDGAP_INLINE void check_student_data(const StudentInfo& info, const Dataset& data) {
  if (data.shape()[2] != info.config.channels)
    throw Error(text("the images have ", data.shape()[2], " channels, the student wants ", info.config.channels),
                {{"set", data.name}, {"remedy", "give images of the kind that the student was trained on"}});
  check_same_classes("the set has other classes than the student, or the same in another order", "set " + data.name,
                     data.class_names, "student", info.class_names);
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
