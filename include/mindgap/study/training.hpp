// Training and evaluating students.
//
// A student is trained from unit `first` on; what comes before is frozen. Where the prefix is the same for every step (no
// random augmentation, statistics not live) it is run once over the data set and its output kept, so that the frozen part costs
// one forward pass in all. The numbers are the same either way.
//
// A run is a function of (data, options): step s uses batch s of the loader, which knows nothing of earlier steps, so that
// a run can go on from a saved state at any step. A step is replayed (core/replay.hpp), and on a GPU the host runs ahead of it:
// losses are read in batches, a NaN is noticed some steps late.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/core/replay.hpp>
#include <mindgap/data/loader.hpp>
#include <mindgap/optim/optimizer.hpp>
#include <mindgap/optim/schedule.hpp>
#include <mindgap/study/units.hpp>

#include <map>

namespace mindgap {

struct TrainingOptions {
  i64 epochs = 8, batch = 128;
  i64 minimum_steps = 0;  // small sets: at least so many steps, by more epochs
  double rate = 0.1;      // peak
  double momentum = 0.9;
  double weight_decay = 5e-4;  // of matrices
  double label_smoothing = 0.1;
  double gradient_clip = 0;  // joint norm; 0: none
  Schedule::Kind schedule = Schedule::Kind::cosine;
  double warmup = 0.1;  // fraction of the steps
  u64 seed = 0;         // of order and augmentation
  Augmentation augmentation;
  Normalisation normalisation;

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

  // The batch of a step: planned by the host, read by the device.
  BatchPlan<D> make_plan() const { return loader_.make_plan(); }
  std::vector<PlannedImage> plan(i64 step) const {
    const Position at = loader_.position(step);
    return loader_.plan(at.epoch, at.step);
  }
  Batch<T, D> read(const BatchPlan<D>& plan) const {
    return features_.defined() ? loader_.read(plan, features_) : loader_.read(plan);
  }
  Batch<T, D> batch(i64 step) const { return read(BatchPlan<D>(plan(step))); }

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
  for (i64 step = 0; step < plain.steps_per_epoch(); ++step) {
    const Tensor<T, 4, D> part = net.run(plain.batch(step).images, plain.first(), first);
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
  for (i64 step = 0; step < loader.steps_per_epoch(); ++step) net.run(loader.batch(0, step).images, 0, net.unit_count() - 1);
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
      for_each_parameter(net, [&](const std::string& name, auto& p) { trained |= p.requires_grad && matches(pattern, name); });
    if (trained) break;
  }
  return first;
}

// The batches that units [first, n) are trained on. The frozen prefix is run once where every step would see the same.
template <Device D, class P>
StudentData<D, P> student_data(ResNet<D, P>& net, i64 first, const Dataset& set, const LoaderOptions& options,
                               StatisticsPolicy policy) {
  const bool random = options.augmentation.random(set.images.extent(1), set.images.extent(2));
  if (first == 0 || random || policy == StatisticsPolicy::live) return StudentData<D, P>(set, options);
  set_training(net, false);
  return StudentData<D, P>(net, std::min(first, net.unit_count() - 1), set, options);
}

// A training run, step by step; state() is everything that a resumed run needs.
template <Device D, class P>
class StudentRun {
 public:
  // Freeze before. `first`: the unit that reads the data's batches.
  StudentRun(ResNet<D, P>& net, const StudentData<D, P>& data, const TrainingOptions& options);

  i64 steps() const { return steps_; }
  i64 done() const { return done_.value; }
  double rate(i64 step) const { return options_.rate * schedule_.at(step); }

  // One step. Returns the losses, each before its step, that became known: this step's on the CPU; on a GPU, which is not waited
  // for, none or those of the last few dozen steps. Throws when a loss is NaN or infinite.
  std::vector<float> step();
  // The losses that are not known yet; waits.
  std::vector<float> wait();

  // The network, the momentum and the position, for write_state and read_state.
  std::vector<StateItem> state();

 private:
  using T = typename P::compute;
  static constexpr i64 steps_ahead = Runtime<D>::asynchronous ? 64 : 1;  // that the host may be
  static constexpr bool has_loss_scale = std::is_same_v<T, f16>;

  void train();

  ResNet<D, P>& net_;
  const StudentData<D, P>& data_;
  TrainingOptions options_;
  i64 steps_;
  Schedule schedule_;
  FlatParameters<D> parameters_;
  Sgd<D> optimizer_;
  GradientScale<D> scale_;
  BatchPlan<D> plan_;
  PackedInputs<D> inputs_;
  Tape tape_;
  Counter done_;
  Tensor<float, 1, D> loss_, losses_;  // of the step, and of the last `pending_` ones
  i64 pending_ = 0;                    // steps whose losses are not known
  std::map<i64, Replay<D>> replays_;   // by the images of a batch
};

template <Device D, class P>
StudentRun<D, P>::StudentRun(ResNet<D, P>& net, const StudentData<D, P>& data, const TrainingOptions& options)
    : net_(net),
      data_(data),
      options_(options),
      steps_(std::max(options.epochs * data.steps_per_epoch(), options.minimum_steps)),
      schedule_{options.schedule, steps_, i64(options.warmup * double(steps_)), 0.0, 0.1},
      parameters_(net, float(options.weight_decay)),
      optimizer_(parameters_, {float(options.momentum), true}),
      scale_(parameters_, {float(options.gradient_clip), has_loss_scale}),
      plan_(data.make_plan()),
      inputs_(plan_, optimizer_),
      loss_(Shape<1>(1)),
      losses_(Shape<1>(steps_ahead)) {
  set_training(net_, true);
}

template <Device D, class P>
std::vector<float> StudentRun<D, P>::step() {
  plan_.set(data_.plan(done_.value));
  optimizer_.prepare(float(rate(done_.value)));
  inputs_.send();
  replays_.try_emplace(plan_.size(), "training step").first->second.run([this] { train(); });
  losses_.slice(pending_, pending_ + 1).copy_from(loss_);
  ++done_.value;
  return ++pending_ == steps_ahead || done_.value == steps_ ? wait() : std::vector<float>();
}

// What a step does on the device.
template <Device D, class P>
void StudentRun<D, P>::train() {
  const auto batch = data_.read(plan_);
  const auto logits = net_.classify(net_.run(constant(tape_, batch.images), data_.first(), net_.unit_count() - 1));
  const auto loss = cross_entropy(logits, batch.labels, float(options_.label_smoothing));
  loss_.copy_from(loss.value());
  backward(loss, scale_.seed());
  const bool scales = has_loss_scale || options_.gradient_clip > 0;
  if (scales) scale_.measure();
  optimizer_.step(scales ? &scale_ : nullptr);
}

template <Device D, class P>
std::vector<float> StudentRun<D, P>::wait() {
  const i64 first = done_.value - pending_;
  std::vector<float> losses = losses_.slice(0, std::exchange(pending_, 0)).to_vector();
  for (size_t i = 0; i < losses.size(); ++i)
    if (!std::isfinite(losses[i]))
      throw Error(text("training: the loss is ", losses[i], " at step ", first + i64(i), " of ", steps_),
                  {{"remedy", text("lower the rate (", options_.rate, ")")}});
  return losses;
}

template <Device D, class P>
std::vector<StateItem> StudentRun<D, P>::state() {
  std::vector<StateItem> items = state_items(net_, "model.");
  for (const auto& more : {optimizer_.items(), scale_.items()}) items.insert(items.end(), more.begin(), more.end());
  items.push_back(state_item("done", done_));
  return items;
}

struct Evaluation {
  i64 images = 0;
  double top1 = 0, top5 = 0;                // fractions
  double loss = 0;                          // mean cross-entropy, nats
  std::vector<std::vector<i64>> confusion;  // [true class][answer]
};

// The student on a set, from unit data.first() on, in evaluation mode.
template <Device D, class P>
Evaluation evaluate(ResNet<D, P>& net, const StudentData<D, P>& data) {
  set_training(net, false);
  const i64 classes = net.config.classes;
  Evaluation out;
  out.confusion.assign(size_t(classes), std::vector<i64>(size_t(classes), 0));
  i64 first_right = 0, fifth_right = 0;
  for (i64 step = 0; step < data.steps_per_epoch(); ++step) {
    const auto batch = data.batch(step);
    const auto logits = cast<float>(net.classify(net.run(batch.images, data.first(), net.unit_count() - 1)));
    const std::vector<float> losses = cross_entropy_rows(logits, batch.labels).rows.to_vector();
    const std::vector<i64> labels = batch.labels.to_vector(), answers = argmax(logits).to_vector();
    const std::vector<i32> ranks = label_ranks(logits, batch.labels).to_vector();
    for (size_t i = 0; i < labels.size(); ++i) {
      out.loss += losses[i];
      first_right += ranks[i] == 0;
      fifth_right += ranks[i] < 5;
      ++out.confusion[size_t(labels[i])][size_t(answers[i])];
      ++out.images;
    }
  }
  out.loss /= double(out.images);
  if (!std::isfinite(out.loss))
    throw Error("evaluate: the student's answers are NaN or infinite", {{"remedy", "it diverged: train it with a lower rate"}});
  out.top1 = double(first_right) / double(out.images);
  out.top5 = double(fifth_right) / double(out.images);
  return out;
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/study/training_instances.hpp>
#endif
