// A student on disk, and what the apps need around training: a folder with model.safetensors (published names) and
// student.json (architecture, class names, normalisation).
#pragma once

#include <mindgap/io/file.hpp>
#include <mindgap/study/training.hpp>

namespace mindgap {

struct StudentInfo {
  ResNetConfig config;
  std::vector<std::string> class_names;
  Normalisation normalisation;
  std::string plans = "";  // on a GPU: the hash of the plans that it was trained with
};

StudentInfo read_student_info(const std::filesystem::path& folder);
void write_student_info(const std::filesystem::path& folder, const StudentInfo& info);

// Throws when the set's images or classes are not what the student was trained for.
void check_student_data(const StudentInfo& info, const Dataset& data);

// {"images", "top1", "top5", "loss", "per_class": {name: accuracy}, "confusion": [[...]], "classes": [...]}
std::string evaluation_json(const Evaluation& evaluation, const std::vector<std::string>& class_names);

template <Device D, class P>
struct Student {
  StudentInfo info;
  std::unique_ptr<ResNet<D, P>> net;
};

template <Device D, class P>
void save_student(const std::filesystem::path& folder, ResNet<D, P>& net, const StudentInfo& info) {
  make_folder(folder);
  write_student_info(folder, info);
  save(net, folder / "model.safetensors");
}
template <Device D, class P>
Student<D, P> load_student(const std::filesystem::path& folder) {
  Student<D, P> out{read_student_info(folder), nullptr};
  out.net = std::make_unique<ResNet<D, P>>(out.info.config);
  load(*out.net, folder / "model.safetensors");
  return out;
}

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/study/student.ipp>
#endif
