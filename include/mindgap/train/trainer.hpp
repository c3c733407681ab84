// Trains a network by a loss, step by step: any network, any loss, SGD or AdamW.
//
//   auto plan = loader.make_plan();                                  what the host tells a step (core/host_input.hpp)
//   Trainer<Cpu> trainer(net,
//                        {[&](i64 batch) { return loader.prepare(plan, batch), plan.size(); },
//                         [&](Tape& tape) { return loss_of(net, tape, loader.read(plan)); }},
//                        {.schedule = {.steps = 1000}, .optimizer = SgdOptions{}, .learning_rate = 0.1}, plan);
//   while (!trainer.finished())
//     for (const TrainingRecord& record : trainer.step()) ...
//
// A step is two replays (core/replay.hpp): the gradient, one for each shape of a batch, and the update. Between them all
// gradients lie in one buffer, for whoever adds up those of several devices (before_update).
//
// The run is a function of the network, the task and the options: batch b is what the task makes of b, whatever ran before. So a
// run that goes on from a checkpoint ends with the bits of one that never stopped. On a GPU the host runs ahead: losses are read
// in batches, and one that is not finite is noticed some steps late.
#pragma once

#include <mindgap/autograd/pointwise.hpp>
#include <mindgap/core/replay.hpp>
#include <mindgap/optim/optimizer.hpp>
#include <mindgap/optim/schedule.hpp>

#include <map>

namespace mindgap {

// Other rates for the parameters that a pattern matches.
struct ParameterGroup {
  std::string pattern;
  double learning_rate = 1;  // a factor
  double weight_decay = 0;
};

struct TrainerOptions {
  Schedule schedule;  // its steps are the run's
  OptimizerOptions optimizer;
  double learning_rate = 0.1;  // peak
  double weight_decay = 0;     // of matrices
  std::vector<ParameterGroup> groups;
  double gradient_clip = 0;  // joint norm; 0: none
  double ema_decay = 0;      // of the weights' average; 0: none is kept. Step s has min(ema_decay, (1 + s) / (10 + s))
  bool loss_scale = false;   // for f16
  i64 accumulation = 1;      // batches whose mean gradient makes a step
};

// What a network is trained on and for.
template <Device D>
struct TrainingTask {
  // By the host: tells the inputs which batch comes. Returns what tells one shape of a batch from another, its images, say.
  std::function<i64(i64 batch)> prepare;
  // By the device, from inputs and tensors that stay: the loss, one element.
  std::function<Var<float, 1, D>(Tape&)> loss;
};

struct TrainingRecord {
  i64 step;
  float loss;           // before the step
  float gradient_norm;  // before clipping; NaN where it was not needed
  double learning_rate;
};

template <Device D>
class Trainer {
 public:
  // inputs: HostInputs and parts that have some, which task.prepare sets. All must outlive the trainer, and the network stay
  // where it is: save() and resume() go over it. What is frozen or unfrozen between steps takes effect, but what was frozen
  // before the trainer was made stays so. Throws for options that make no sense.
  template <Module M, class... Inputs>
  Trainer(M& net, TrainingTask<D> task, const TrainerOptions& options, Inputs&... inputs)
      : task_(std::move(task)),
        options_(checked(options)),
        net_items_([&net] { return state_items(net, "model."); }),
        parameters_(net, float(options.weight_decay)),
        optimizer_(parameters_, options.optimizer),
        scale_(parameters_, {float(options.gradient_clip), options.loss_scale}),
        average_(options.ema_decay > 0 ? std::make_unique<Ema<D>>(parameters_) : nullptr),
        inputs_(inputs..., *this),
        measured_(Tensor<float, 2, D>::zeros(Shape<2>(1, 2))),
        records_(Shape<2>(steps_ahead, 2)) {
    for (const ParameterGroup& group : options.groups)
      parameters_.set_group(group.pattern, float(group.learning_rate), float(group.weight_decay));
    set_training(net, true);
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  i64 steps() const { return options_.schedule.steps; }
  i64 done() const { return done_; }
  bool finished() const { return done_ >= steps(); }
  double learning_rate(i64 step) const { return options_.learning_rate * options_.schedule.at(step); }

  // Called between gradient and update with all gradients, f32: to add up those of several devices.
  std::function<void(const Tensor<float, 1, D>&)> before_update;

  // One step. Returns the records that became known: this step's on the CPU; on a GPU, which is not waited for, none or those of
  // the last few dozen steps. Throws when a loss is NaN or infinite, and when all steps are made.
  std::vector<TrainingRecord> step();

  // The records that are not known yet; waits.
  std::vector<TrainingRecord> wait();

  // f() while the network has the averaged weights.
  template <class F>
  auto with_average(F&& f) {
    struct Swapped {
      Ema<D>* average;
      ~Swapped() {
        try {
          if (average) average->swap();
        } catch (...) {  // a device that has failed says so at the next call
        }
      }
    };
    if (average_) average_->swap();
    const Swapped back{average_.get()};
    return f();
  }

  // Writes all that a resumed run needs, atomically. settings: a line each, what such a run must agree with.
  void save(const std::filesystem::path& checkpoint, const std::string& settings) const;
  // Throws for a checkpoint of a run with other settings.
  void resume(const std::filesystem::path& checkpoint, const std::string& settings);

  // The entries of a checkpoint: the network, and the states of optimizer, average and loss scale.
  std::vector<StateItem> items() const;

  // For PackedInputs.
  template <class F>
  void each_input(F&& f) {
    optimizer_.each_input(f);
    if (average_) average_->each_input(f);
  }

 private:
  static constexpr i64 steps_ahead = Runtime<D>::asynchronous ? 64 : 1;  // that the host may be

  static const TrainerOptions& checked(const TrainerOptions& options);
  bool scales() const { return options_.loss_scale || options_.gradient_clip > 0; }

  void gradient(bool first);
  void update();

  TrainingTask<D> task_;
  TrainerOptions options_;
  std::function<std::vector<StateItem>()> net_items_;
  FlatParameters<D> parameters_;
  mutable Optimizer<D> optimizer_;
  GradientScale<D> scale_;
  std::unique_ptr<Ema<D>> average_;
  PackedInputs<D> inputs_;
  Tape tape_;
  Tensor<float, 2, D> measured_;  // [1, 2]: loss and norm of the step
  Tensor<float, 2, D> records_;   // the same of the last `pending_` steps
  i64 done_ = 0, pending_ = 0;
  std::map<std::pair<i64, bool>, Replay<D>> gradients_;  // by the shape of a batch, and whether they are added to others
  Replay<D> update_{"update"};
};

// Outside the class: compiled once for programs that link the glue (train/trainer_instances.hpp).
template <Device D>
const TrainerOptions& Trainer<D>::checked(const TrainerOptions& options) {
  if (options.accumulation < 1)
    throw Error(text("trainer: steps of ", options.accumulation, " batches"), {{"remedy", "1 or more"}});
  options.schedule.check();
  detail::check_learning_rate(options.learning_rate);
  const double decay = options.ema_decay;
  detail::check_number("an average's decay", decay, decay >= 0 && decay < 1, "0, for none, to below 1; 0.999 is usual");
  return options;
}

template <Device D>
std::vector<TrainingRecord> Trainer<D>::step() {
  if (finished())
    throw Error(text("trainer: all ", steps(), " steps are made"),
                {{"remedy", "ask finished() before a step; the schedule says how many there are"}});
  if (parameters_.follow_freezing()) {  // recorded steps have other gradients
    Runtime<D>::synchronize();
    gradients_.clear();
  }
  optimizer_.prepare(float(learning_rate(done_)));
  if (average_) average_->prepare(float(std::min(options_.ema_decay, double(1 + done_) / double(10 + done_))));
  for (i64 part = 0; part < options_.accumulation; ++part) {
    const i64 shape = task_.prepare(done_ * options_.accumulation + part);
    inputs_.send();
    gradients_.try_emplace({shape, part > 0}, "gradient").first->second.run([&] { gradient(part == 0); });
  }
  if (before_update) before_update(parameters_.gradients());
  update_.run([&] { update(); });
  records_.slice(pending_, pending_ + 1).copy_from(measured_);
  ++done_;
  return ++pending_ == steps_ahead || finished() ? wait() : std::vector<TrainingRecord>();
}

template <Device D>
std::vector<TrainingRecord> Trainer<D>::wait() {
  std::vector<TrainingRecord> out;
  const i64 first = done_ - pending_;
  const std::vector<float> values = records_.slice(0, std::exchange(pending_, 0)).to_vector();
  for (size_t i = 0; 2 * i < values.size(); ++i) {
    const i64 step = first + i64(i);
    out.push_back({step, values[2 * i], scales() ? values[2 * i + 1] : NAN, learning_rate(step)});
    if (!std::isfinite(values[2 * i]))
      throw Error(text("training diverged: the loss is ", std::isnan(values[2 * i]) ? "NaN" : "infinite", " at step ", step,
                       " of ", steps()),
                  {{"remedy", text("use a lower learning rate than ", options_.learning_rate)}});
  }
  return out;
}

template <Device D>
void Trainer<D>::save(const std::filesystem::path& checkpoint, const std::string& settings) const {
  write_state(checkpoint, items(), {{"step", std::to_string(done_)}, {"settings", settings}});
}

template <Device D>
void Trainer<D>::resume(const std::filesystem::path& checkpoint, const std::string& settings) {
  const Safetensors file(checkpoint);
  verify_contents(file);  // before what it says is believed
  check_same_settings(file, settings);
  const i64 step = file.metadata_number("step", 0, steps(), "remove the checkpoint to start afresh");
  for (const StateItem& item : optimizer_.items())
    if (item.counter && file.tensor<i64, 0>(item.name).item() != step)
      throw Error(text("the checkpoint is of step ", step, ", its optimizer of step ", file.tensor<i64, 0>(item.name).item()),
                  {{"file", checkpoint.string()}, {"remedy", "remove the checkpoint to start afresh"}});
  read_state(checkpoint, items());
  done_ = step;
}

template <Device D>
std::vector<StateItem> Trainer<D>::items() const {
  std::vector<StateItem> out = net_items_();
  const auto has = [&](const std::string& name) {
    return std::any_of(out.begin(), out.end(), [&](const StateItem& item) { return item.name == "model." + name; });
  };
  if (!has(parameters_.segments().front().name))
    throw Error("trainer: the network has no parameters any more: it was moved away",
                {{"remedy", "let the network stay where it was when the trainer was made"}});
  for (auto& more : {optimizer_.items(), scale_.items(), average_ ? average_->items() : std::vector<StateItem>()})
    out.insert(out.end(), more.begin(), more.end());
  return out;
}

template <Device D>
void Trainer<D>::gradient(bool first) {
  if (first) parameters_.forget_gradients();
  auto loss = task_.loss(tape_);
  if (options_.accumulation > 1) {
    constexpr auto share = [](auto all, auto part) { return all * part; };
    loss = pointwise(share, loss, value(1.f / float(options_.accumulation)));
  }
  constexpr auto sum = [](auto a, auto b) { return a + b; };
  const auto total = measured_.reshape(Shape<1>(2)).slice(0, 1);
  if (first) total.copy_from(loss.value());
  else pointwise_into(total, sum, total, loss.value());
  backward(loss, scale_.seed());
  parameters_.complete_gradients();
}

template <Device D>
void Trainer<D>::update() {
  if (scales()) {
    scale_.measure();
    measured_.reshape(Shape<1>(2)).slice(1, 2).copy_from(scale_.norm());
  }
  optimizer_.update(scales() ? &scale_ : nullptr, average_.get());
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/train/trainer_instances.hpp>
#endif
