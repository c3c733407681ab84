// The study in small: a network that learned on the wrong images is repaired with few right ones, by its last layers alone.
//
// The wrong images are negatives here, in place of generated ones. Everything before `layer4` is frozen, weights and batch
// norm statistics: the layers that say what an image consists of stay as they are, the layers that name it learn again.
#include <mindgap/data/subset.hpp>
#include <mindgap/study/training.hpp>

#include <iostream>

using namespace mindgap;
using F32 = Precision<float>;
using Net = ResNet<Cpu, F32>;

double accuracy(Net& net, const Dataset& set) { return evaluate(net, StudentData<Cpu, F32>(set, evaluation_options(100))).top1; }
void train(Net& net, i64 first, const Dataset& set, const TrainingOptions& options) {
  // A frozen prefix that sees the same images in every epoch is run once, and its output kept.
  const auto data = student_data(net, first, set, options.loader(), StatisticsPolicy::frozen);
  auto trainer = student_trainer(net, data, options);
  while (!trainer.finished()) trainer.step();
}

int main() {
  const Dataset all = load_dataset("fashion-mnist", "train"), test = subset(load_dataset("fashion-mnist", "test"), 500, 0);
  const Dataset few = subset(all, 200, /*seed*/ 1), right = subset(all, 1500, /*seed*/ 0);
  const auto negatives = all_images(right);
  for (i64 i = 0; i < negatives.size(); ++i) negatives.data()[i] = u8(255 - negatives.data()[i]);
  const Dataset wrong(negatives, Tensor<i64, 1>::from(all_labels(right), Shape<1>(right.size())), right.class_names);

  Net net(ResNetConfig::make("resnet18", /*width*/ 8, /*channels*/ 1, all.classes(), Stem::small), /*seed*/ 0);
  TrainingOptions options;
  options.epochs = 3, options.batch = 50;
  train(net, 0, wrong, options);
  const double before = accuracy(net, test);
  options.epochs = 10, options.learning_rate = 0.02;
  const i64 first = freeze_units(net, {"stem", "layer1", "layer2", "layer3"}, StatisticsPolicy::frozen, few, options.loader());
  train(net, first, few, options);
  const double after = accuracy(net, test);
  std::cout << "after 1500 negatives " << before << ", after 200 images for units " << first << " and up " << after << "\n";
  return after > before && std::cout.flush() ? 0 : 1;
}
