// Loads a student and classifies a few real images.
//
//   classify [FOLDER]     a folder that train_student wrote; without one, a small student is trained first, in a few seconds
#include <mindgap/data/subset.hpp>
#include <mindgap/study/student.hpp>

#include <iostream>
#include <unistd.h>

using namespace mindgap;
using F32 = Precision<float>;

void train_small_student(const std::filesystem::path& folder) {
  const Dataset real = subset(load_dataset("fashion-mnist", "train"), 1500, /*seed*/ 0);
  const auto config = ResNetConfig::make("resnet18", /*width*/ 8, /*channels*/ 1, real.classes(), Stem::small);
  ResNet<Cpu, F32> net(config, /*seed*/ 0);
  TrainingOptions options;
  options.epochs = 3, options.batch = 50;
  const StudentData<Cpu, F32> batches(real, options.loader());
  auto trainer = student_trainer(net, batches, options);
  while (!trainer.finished()) trainer.step();
  save_student(folder, net, {config, real.class_names, options.normalisation});
}

int main(int argc, char** argv) {
  const auto scratch = std::filesystem::temp_directory_path() / ("mindgap-classify-" + std::to_string(getpid()));
  if (argc < 2) train_small_student(scratch);
  const Student<Cpu, F32> student = load_student<Cpu, F32>(argc < 2 ? scratch : argv[1]);
  std::filesystem::remove_all(scratch);

  // Class names travel with the weights: indices mean nothing outside the set that they came from.
  const Dataset test = subset(load_dataset("fashion-mnist", "test"), 200, /*seed*/ 0);
  check_student_data(student.info, test);
  const StudentData<Cpu, F32> batches(test, evaluation_options(100, {}, student.info.normalisation));
  const Evaluation result = evaluate(*student.net, batches);
  for (i64 c = 0; c < test.classes(); ++c) std::cout << test.class_names[c] << ": " << result.confusion[c][c] << " of 20 right\n";
  return result.top1 > 0.2 && std::cout.flush() ? 0 : 1;  // ten classes: guessing is 0.1
}
