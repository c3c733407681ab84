// Training and evaluating students.
//
// A student is trained from unit `first` on; what comes before is frozen. Where the prefix is the same for every step (no
// random augmentation, statistics not live) it is run once over the data set and its output kept, so that the frozen part costs
// one forward pass in all. The numbers are the same either way. A set that is not resident keeps no such output.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/data/loader.hpp>
#include <mindgap/study/units.hpp>
#include <mindgap/train/evaluate.hpp>
#include <mindgap/train/trainer.hpp>

#include <optional>

namespace mindgap {

struct TrainingOptions {
  i64 epochs = 8, batch = 128;
  i64 minimum_steps = 0;       // small sets: at least so many steps, by more epochs
  double learning_rate = 0.1;  // peak
  double momentum = 0.9;
  double weight_decay = 5e-4;  // of matrices
  double label_smoothing = 0.1;
  double gradient_clip = 0;  // joint norm; 0: none
  Schedule::Kind schedule = Schedule::Kind::cosine;
  std::optional<double> warmup;  // a share of the steps below 1, or a number of steps; by default Schedule::usual_warmup
  u64 seed = 0;                  // of order and augmentation
  Augmentation augmentation;
  Normalisation normalisation;

  double chosen_warmup() const { return warmup.value_or(Schedule::usual_warmup(schedule)); }
  LoaderOptions loader() const { return training_options(batch, seed, augmentation, normalisation); }
};

// What units [first, n) are trained on: images, or the output of a frozen prefix.
template <Device D, class P>
class StudentData {
 public:
  using T = typename P::compute;

  // Batches straight from the images (first = 0, or a prefix that has to run every time).
  StudentData(const Dataset& data, const LoaderOptions& options) : loader_(data, options) {}

  // The output of units [0, first) of `net` for every image, run once; from `shallower` on, the output of fewer units of the same
  // network for the same images, where that is at hand. The net's statistics must not be live.
  StudentData(ResNet<D, P>& net, i64 first, const Dataset& data, const LoaderOptions& options,
              const StudentData* shallower = nullptr);
  // Other batches of the same images or outputs.
  StudentData(const StudentData& other, const LoaderOptions& options)
      : loader_(other.loader_.dataset(), options), first_(other.first_), features_(other.features_) {}

  i64 first() const { return first_; }  // the unit that reads the batches
  i64 steps_per_epoch() const { return loader_.steps_per_epoch(); }
  i64 size() const { return loader_.dataset().size(); }

  // The batch of a step: prepared by the host, read by the device.
  BatchPlan<D> make_plan() const { return loader_.make_plan(); }
  void prepare(BatchPlan<D>& plan, i64 step) const { loader_.prepare(plan, step); }
  Batch<T, D> read(const BatchPlan<D>& plan) const {
    return features_.defined() ? loader_.read(plan, features_) : loader_.read(plan);
  }

 private:
  Loader<T, D> loader_;
  i64 first_ = 0;
  Tensor<T, 4, D> features_;
};

template <Device D, class P>
StudentData<D, P>::StudentData(ResNet<D, P>& net, i64 first, const Dataset& data, const LoaderOptions& options,
                               const StudentData* shallower)
    : loader_(data, options), first_(first) {
  LoaderOptions in_order = options;
  in_order.shuffle = in_order.augment = false;
  in_order.last = LastBatch::keep;
  const StudentData plain = shallower ? StudentData(*shallower, in_order) : StudentData(data, in_order);
  auto plan = plain.make_plan();
  for (i64 step = 0; step < plain.steps_per_epoch(); ++step) {
    StopHook::ask();
    plain.prepare(plan, step);
    const Tensor<T, 4, D> part = net.run(plain.read(plan).images, plain.first(), first);
    if (!features_.defined()) {
      Shape<4> all = part.shape();
      all[0] = data.size();
      features_ = Tensor<T, 4, D>(all);
    }
    const i64 begin = step * options.batch;
    features_.slice(begin, begin + part.extent(0)).copy_from(part);
  }
}

// Replaces the statistics of the batch norms that the patterns match by the plain average over one unaugmented pass of the
// set, as torch's update_bn does with momentum None. No weight changes, and no other statistics.
template <Device D, class P>
void reestimate_statistics(ResNet<D, P>& net, const std::vector<std::string>& patterns, const Dataset& data,
                           LoaderOptions options) {
  const auto each_norm = [&](auto&& set) {
    for_each_module(net, [&](const std::string& name, auto& module) {
      if constexpr (requires { module.cumulative; })
        if (matches_any(patterns, name)) set(module);
    });
  };
  set_training(net, false);
  each_norm([](auto& norm) {
    norm.reset_statistics();
    norm.cumulative = norm.training = true;
    norm.frozen_statistics = false;
  });
  options.shuffle = options.augment = false;
  options.last = LastBatch::keep_unless_one;
  const Loader<typename P::compute, D> loader(data, options);
  for (i64 step = 0; step < loader.steps_per_epoch(); ++step) {
    StopHook::ask();
    net.run(loader.batch(0, step).images, 0, net.unit_count() - 1);
  }
  each_norm([](auto& norm) { norm.cumulative = false; });
}

// Patterns in which "stem" stands for the stem's layers.
template <Device D, class P>
std::vector<std::string> patterns_of(const ResNet<D, P>&, const std::vector<std::string>& given) {
  std::vector<std::string> out;
  for (const std::string& pattern : given)
    for (const std::string& layer : ResNet<D, P>::patterns(pattern)) out.push_back(layer);
  return out;
}

// Freezes the layers that the patterns name, anywhere in the network, and sets their statistics by the policy; `target` is
// the set that the rest will be trained on. Returns the first unit with a trained layer: before it lies a frozen prefix.
template <Device D, class P>
i64 freeze_units(ResNet<D, P>& net, const std::vector<std::string>& given, StatisticsPolicy policy, const Dataset& target,
                 const LoaderOptions& options) {
  const auto patterns = patterns_of(net, given);
  if (patterns.empty()) return 0;
  freeze(net, patterns);
  if (policy != StatisticsPolicy::live) {
    // A frozen classifier has no batch norm; only what matches one counts.
    std::vector<std::string> norms;
    for_each_module(net, [&](const std::string& name, auto& module) {
      if constexpr (requires { module.frozen_statistics; })
        if (matches_any(patterns, name)) norms.push_back(name);
    });
    if (policy == StatisticsPolicy::reestimated) reestimate_statistics(net, norms, target, options);
    freeze_statistics(net, norms);
  }
  i64 first = 0;
  for (const i64 units = net.unit_count(); first < units; ++first) {
    bool trained = false;
    for (const std::string& pattern : patterns_of(net, first, first + 1))
      for_each_parameter(net, [&](const std::string& name, auto& p) { trained |= p.requires_grad() && matches(pattern, name); });
    if (trained) break;
  }
  return first;
}

// The batches that units [first, n) are trained on. The frozen prefix is run once where every step would see the same.
template <Device D, class P>
StudentData<D, P> student_data(ResNet<D, P>& net, i64 first, const Dataset& set, const LoaderOptions& options,
                               StatisticsPolicy policy) {
  const bool random = options.augmentation.random(set.shape()[0], set.shape()[1]);
  if (first == 0 || random || !set.resident() || policy == StatisticsPolicy::live) return StudentData<D, P>(set, options);
  set_training(net, false);
  return StudentData<D, P>(net, std::min(first, net.unit_count() - 1), set, options);
}

// Trains a student on such batches, by cross-entropy. Freeze before; the network and the batches must outlive the run.
template <Device D, class P>
Trainer<D> student_trainer(ResNet<D, P>& net, const StudentData<D, P>& data, const TrainingOptions& options) {
  const i64 steps = std::max(options.epochs * data.steps_per_epoch(), options.minimum_steps);
  TrainerOptions o;
  o.schedule = {options.schedule, steps, warmup_steps(options.chosen_warmup(), steps)};
  if (options.warmup == 1)
    throw Error("student: a warm-up of 1, which once was all steps", {{"remedy", "a share below 1, or 2 steps or more"}});
  o.optimizer = SgdOptions{float(options.momentum), true};
  o.learning_rate = options.learning_rate;
  o.weight_decay = options.weight_decay;
  o.gradient_clip = options.gradient_clip;
  o.loss_scale = std::is_same_v<typename P::compute, f16>;
  auto plan = data.make_plan();
  const auto prepare = [&data, plan](i64 batch) mutable {
    data.prepare(plan, batch);
    return plan.size();
  };
  const auto loss = [&net, &data, plan, smoothing = float(options.label_smoothing)](Tape& tape) {
    const auto batch = data.read(plan);
    const auto logits = net.classify(net.run(constant(tape, batch.images), data.first(), net.unit_count() - 1));
    return cross_entropy(logits, batch.labels, smoothing);
  };
  return Trainer<D>(net, {prepare, loss}, o, plan);
}

// The student on a set, from unit data.first() on, in evaluation mode.
template <Device D, class P>
Evaluation evaluate(ResNet<D, P>& net, const StudentData<D, P>& data) {
  set_training(net, false);
  auto plan = data.make_plan();
  return evaluate_classifier(net.config.classes, data.steps_per_epoch(), [&](i64 step) {
    data.prepare(plan, step);
    const auto batch = data.read(plan);
    auto features = batch.images;
    for (i64 unit = data.first(); unit < net.unit_count() - 1; ++unit) {
      StopHook::ask();  // a batch may be the whole set
      features = net.run(features, unit, unit + 1);
    }
    return std::pair(net.classify(features), batch.labels);
  });
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/study/training_instances.hpp>
#endif
