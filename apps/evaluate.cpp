// Evaluates a student on a split of a data set; prints JSON on standard output.
//
//   evaluate --model DIR --data fashion-mnist --split test [--out DIR]        DIR receives evaluation.json as well
#include <mindgap/io/file.hpp>
#include <mindgap/study/student.hpp>

#include "common.hpp"

using namespace mindgap;

int main(int argc, char** argv) {
  std::filesystem::path model;
  std::string data, split = "test";
  i64 batch = 250;
  return run_app(
      argc, argv, "evaluate", "Top-1, top-5, loss, accuracy of each class and confusion matrix of a student, as JSON.",
      [&](Flags& flags) {
        flags.add("model", &model, "a folder of train_student");
        flags.add("data", &data, "fashion-mnist, an IDX folder or a shard folder");
        flags.add("split", &split, "train, fit, held-out (the tenth of train that fit leaves out) or test");
        flags.add("batch", &batch, "images at a time; changes no result", {1, 1 << 16});
        for (const char* needed : {"model", "data"}) flags.require(needed);
      },
      [&](const CommonOptions& common) {
        if (split != "train" && split != "fit" && split != "held-out" && split != "test")
          throw UsageError("bad value for --split: \"" + split + "\"", {{"wanted", "train, fit, held-out or test"}});
        with_types(common, [&]<class D, class P>(D, P) {
          const auto student = load_student<D, P>(model);
          const Dataset set = load_dataset(data, split);
          check_student_data(student.info, set);
          const StudentData<D, P> batches(set, evaluation_options(batch, {}, student.info.normalisation));
          const StopHook hook([] {
            if (interrupted()) stop_interrupted("nothing was written");
          });
          const Evaluation answers =
              naming_file((model / "model.safetensors").string(), [&] { return evaluate(*student.net, batches); });
          const std::string json = evaluation_json(answers, set.class_names);
          if (!common.out.empty()) {
            const ResultFolder folder(common.out);
            write_file_atomic(common.out / "evaluation.json", json);
          }
          print(json);
        });
      });
}
