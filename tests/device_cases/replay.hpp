// Whole jobs that are replayed on a GPU: training a student, training a generator, sampling with one. For the comparison of
// devices.
#pragma once

#include <mindgap/diffusion/generator.hpp>
#include <mindgap/diffusion/trainer.hpp>
#include <mindgap/study/training.hpp>

#include "tests/device_cases/case.hpp"
#include "tests/streamed.hpp"

namespace mindgap::test {

// Grey images of 8 x 8, ten classes.
Dataset small_set(i64 images) {
  const Tensor<u8, 4> pixels(Shape<4>(images, 8, 8, 1));
  for (i64 i = 0; i < pixels.size(); ++i) pixels.data()[i] = u8(Stream(1, "pixels").below(u64(i), 256));
  std::vector<i64> labels;
  for (i64 i = 0; i < images; ++i) labels.push_back(i % 10);
  std::vector<std::string> names;
  for (int k = 0; k < 10; ++k) names.push_back(std::to_string(k));
  return Dataset(pixels, Tensor<i64, 1>::from(labels, Shape<1>(images)), names, "small");
}

struct Trained {
  std::vector<float> losses;
  Outputs state;
  std::vector<double> loss_scale;
};

ResNetConfig small_student() { return ResNetConfig::make("resnet18", 4, 1, 10, Stem::small); }

// Five epochs, 8 images a batch: of 26 images the last batch of each has 2, so two replays live side by side.
TrainingOptions small_training(TrainingOptions options = {}) {
  options.epochs = 5, options.batch = 8, options.learning_rate = 0.02, options.augmentation = {true, 1, 0, 0};
  return options;
}

template <Device D, class T>
Trained train_student(TrainingOptions options = {}, const std::string& freeze_pattern = "", const Dataset& data = small_set(26)) {
  options = small_training(options);
  ResNet<D, Precision<T>> net(small_student(), 3);
  if (!freeze_pattern.empty()) freeze(net, {freeze_pattern});
  const StudentData<D, Precision<T>> batches(data, options.loader());
  Trained out;
  {
    auto trainer = student_trainer(net, batches, options);
    while (!trainer.finished())
      for (const TrainingRecord& record : trainer.step()) out.losses.push_back(record.loss);
    for (const StateItem& item : trainer.items()) {
      if (item.counter) out.state.push_back({double(*item.counter)});
      else {
        const std::vector<float> values = item.get();
        out.state.emplace_back(values.begin(), values.end());
        if (item.name == "loss_scale") out.loss_scale = out.state.back();
      }
    }
  }
  return out;
}

GeneratorTraining small_generator() {
  GeneratorTraining options;
  options.steps = 6, options.batch = 4, options.warmup = 2, options.channels = {8, 16}, options.groups = 4, options.head = 8;
  return options;
}

// The generator's step: noise, timesteps and labels of the step, clipping, AdamW, the average.
template <Device D>
std::vector<double> train_generator(const Dataset& data = small_set(12)) {
  GeneratorTrainer<D, Precision<float>> trainer(small_generator(), data);
  std::vector<double> out;
  while (!trainer.run.finished())
    for (const TrainingRecord& r : trainer.run.step())
      out.insert(out.end(), {double(r.step), double(r.loss), double(r.gradient_norm), r.learning_rate});
  trainer.run.with_average([&] {
    for (const StateItem& item : state_items(trainer.unet()))
      for (float v : item.get()) out.push_back(double(v));
  });
  return out;
}

// Sampling: the step counts itself, and every batch after the first is launches alone. Two sizes of batch.
template <Device D>
Outputs sample_images(SamplerKind kind, Guidance guidance) {
  UNetConfig config;
  config.sample_size = 8;
  config.in_channels = config.out_channels = 1;
  config.block_out_channels = {8, 16};
  config.down_attention = {false, true}, config.up_attention = {true, false};
  config.layers_per_block = 1, config.norm_num_groups = 4, config.attention_head_dim = 8, config.num_class_embeds = 11;
  const UNet2DModel<D, Precision<float>> unet(config, 5);
  SchedulerConfig scheduler;
  scheduler.beta_schedule = BetaSchedule::squaredcos_cap_v2, scheduler.prediction_type = Prediction::v_prediction;
  scheduler.timestep_spacing = TimestepSpacing::trailing, scheduler.sampler = kind;
  // From the cosine schedule's noisiest level Heun's correction is 4,000 times the difference of two answers.
  if (kind == SamplerKind::heun) scheduler.beta_schedule = BetaSchedule::scaled_linear;
  const Sampler sampler(scheduler, 4, kind == SamplerKind::ddim ? 0.5 : 0.);
  ClassSampler<float, D, UNet2DModel<D, Precision<float>>> images(unet, sampler, Shape<3>(8, 8, 1), 10, guidance);
  Outputs out;
  for (const std::vector<i64>& labels : {std::vector<i64>{1, 2, 3}, {4, 5}, {6, 7, 8}, {9, 0}}) {
    std::vector<ImageKey> keys;
    for (i64 label : labels) keys.push_back({4, label, labels[0]});
    out.push_back(doubles(images(keys).template to<Cpu>()));
  }
  return out;
}

}  // namespace mindgap::test
