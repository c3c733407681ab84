// A network of one's own, with a loss of one's own, in the trainer: an autoencoder of clothes through 16 numbers.
//
// The trainer knows nothing of it but its parameters. What a step is trained on is told in two halves: the host says which images
// come, the device makes the loss of them.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/data/loader.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/train/trainer.hpp>

#include <iostream>
#include <unistd.h>

using namespace mindgap;
using F32 = Precision<float>;

struct Autoencoder {
  Linear<Cpu, F32> encode{784, 16}, widen{16, 128}, decode{128, 784};
  MINDGAP_MODULE(encode, widen, decode)

  template <class X>
  auto operator()(const X& images) {
    const auto flat = reshape(images, Shape<2>(images.extent(0), 784));
    return decode(pointwise([](auto x) { return silu(x); }, widen(encode(flat))));
  }
};

int main() {
  const Loader<float> loader(subset(load_dataset("fashion-mnist", "train"), 2000, /*seed*/ 0), training_options(50, /*seed*/ 0));
  Autoencoder net;
  initialise(net, /*seed*/ 0);
  auto plan = loader.make_plan();  // which images a batch has, where a step reads it
  const auto prepare = [&](i64 batch) {
    loader.prepare(plan, batch);
    return plan.size();
  };
  const auto loss = [&](Tape& tape) {
    const auto images = loader.read(plan).images;
    return mse_loss(net(constant(tape, images)), images.reshape(Shape<2>(plan.size(), 784)));
  };
  TrainerOptions options;
  options.schedule.steps = 300, options.optimizer = AdamWOptions{}, options.learning_rate = 2e-3;
  Trainer<Cpu> trainer(net, {prepare, loss}, options, plan);
  float first = 0, last = 0;
  while (!trainer.finished())
    for (const TrainingRecord& record : trainer.step()) (record.step ? last : first) = record.loss;

  const auto file = std::filesystem::temp_directory_path() / ("mindgap-autoencoder-" + std::to_string(getpid()) + ".safetensors");
  save(net, file);
  Autoencoder loaded;
  load(loaded, file);
  std::filesystem::remove(file);
  const auto images = loader.batch(0).images;
  const bool same = same_bits(net(images), loaded(images));
  std::cout << "mean squared error " << first << " before, " << last << " after; loaded the same: " << (same ? "yes\n" : "no\n");
  return same && last < 0.5f * first && std::cout.flush() ? 0 : 1;
}
