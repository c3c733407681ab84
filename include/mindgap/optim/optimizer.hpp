// Optimizers and weight averages over a FlatParameters.
//
//   FlatParameters<Cpu> parameters(net, 5e-4f);
//   Sgd sgd(parameters, {.momentum = 0.9f, .nesterov = true});
//   backward(loss);
//   sgd.step(rate);                  updates the network in place and starts fresh gradients
//
// In a step that is replayed the numbers of the host go to the device before it (core/host_input.hpp): sgd.prepare(rate) outside,
// sgd.step() inside. update() is step() for who looks after the gradients himself.
// items() are the optimizer's entries of a state dict: saved and loaded with the network, training goes on exactly.
#pragma once

#include <mindgap/core/host_input.hpp>
#include <mindgap/optim/flat.hpp>

#include <variant>

namespace mindgap {

// Exponential moving average of the parameters: average += (1 - decay) (value - average), in the optimizer's own pass.
// swap() exchanges the averages and the network's values, for evaluation or saving, and back.
template <Device D>
class Ema {
 public:
  explicit Ema(FlatParameters<D>& parameters) : parameters_(parameters), average_(parameters.values().clone()), step_(1) {}

  // The decay of the steps that follow, 0 to 1.
  void prepare(float decay);
  void swap();
  std::vector<StateItem> items() const { return parameters_.items(average_, "ema."); }

  const FlatParameters<D>& parameters() const { return parameters_; }
  float* average() const { return average_.data(); }
  const float* step() const { return step_.data(); }
  // For PackedInputs.
  template <class F>
  void each_input(F&& f) {
    f(step_);
  }

 private:
  FlatParameters<D>& parameters_;
  Tensor<float, 1, D> average_;
  HostInput<float, D> step_;  // 1 - decay
};

// Outside the class: compiled once for programs that link the glue (train/trainer_instances.hpp).
template <Device D>
void Ema<D>::prepare(float decay) {
  detail::check_number("an average's decay", decay, decay >= 0.f && decay <= 1.f, "0 to 1; 0.999 is usual");
  const float step = 1.f - decay;
  step_.set({&step, 1});
}

template <Device D>
void Ema<D>::swap() {
  const Tensor<float, 1, D> values = parameters_.values().clone();
  parameters_.values().copy_from(average_);
  average_.copy_from(values);
  parameters_.refresh();
}

namespace detail {

template <class T, Device D>
kernel::Updated<T> updated(const FlatParameters<D>& parameters, T* working, const Ema<D>* average) {
  return {parameters.values().data(), working, average ? average->average() : nullptr, average ? average->step() : nullptr};
}
template <Device D>
kernel::ScaledGradient scaled_gradient(const FlatParameters<D>& parameters, const GradientScale<D>* scale) {
  return {parameters.gradients().data(), scale ? scale->factor().data() : nullptr};
}

}  // namespace detail

// The step of an optimizer that has prepare() and update(): by the gradients as they lie, which then start afresh. Both take a
// learning rate that is finite and not negative, and a scale and an average of the optimizer's own parameters; they throw for
// others.
template <class Self, Device D>
class OptimizerStep {
 public:
  // scale: what gradients are multiplied by, measured before. average: what follows the values.
  void step(const GradientScale<D>* scale = nullptr, const Ema<D>* average = nullptr, Location at = Location::current()) {
    const Caller caller(at);
    parameters_.complete_gradients();
    static_cast<Self*>(this)->update(scale, average);
    parameters_.forget_gradients();
  }
  void step(float learning_rate, Location at = Location::current()) {
    const Caller caller(at);
    static_cast<Self*>(this)->prepare(learning_rate);
    step();
  }

 protected:
  explicit OptimizerStep(FlatParameters<D>& parameters) : parameters_(parameters) {}

  void check_own(const GradientScale<D>* scale, const Ema<D>* average) const {
    if ((scale && &scale->parameters() != &parameters_) || (average && &average->parameters() != &parameters_))
      throw Error("optimizer: the gradient scale or the average is of other parameters",
                  {{"remedy", "make it of the FlatParameters that the optimizer has"}});
  }

  FlatParameters<D>& parameters_;
};

struct SgdOptions {
  float momentum = 0.9f;
  bool nesterov = false;
};

// Stochastic gradient descent with (Nesterov) momentum, as torch.optim.SGD.
template <Device D>
class Sgd : public OptimizerStep<Sgd<D>, D> {
 public:
  using Options = SgdOptions;
  Sgd(FlatParameters<D>& parameters, Options options)
      : OptimizerStep<Sgd, D>(parameters), options_(options), velocity_(parameters.make()), rate_(1) {
    const float momentum = options.momentum;
    detail::check_number("sgd: a momentum", momentum, momentum >= 0.f && momentum < 1.f, "0 to below 1; 0.9 is usual");
  }

  // The learning rate of the next step.
  void prepare(float learning_rate, Location at = Location::current());
  // For PackedInputs.
  template <class F>
  void each_input(F&& f) {
    f(rate_);
  }

  void update(const GradientScale<D>* scale = nullptr, const Ema<D>* average = nullptr);
  std::vector<StateItem> items() const { return parameters_.items(velocity_, "momentum."); }

 private:
  using OptimizerStep<Sgd, D>::parameters_;
  Options options_;
  Tensor<float, 1, D> velocity_;
  HostInput<float, D> rate_;
};

template <Device D>
void Sgd<D>::prepare(float learning_rate, Location at) {
  const Caller caller(at);
  detail::check_learning_rate(learning_rate);
  parameters_.follow_freezing();
  rate_.set({&learning_rate, 1});
}

template <Device D>
void Sgd<D>::update(const GradientScale<D>* scale, const Ema<D>* average) {
  const Op<D> op("sgd");
  this->check_own(scale, average);
  parameters_.written();
  op.moves(parameters_.values(), parameters_.values(), velocity_, velocity_, parameters_.gradients());
  parameters_.with_working_copies([&]<class T>(T* working) {
    Runtime<D>::launch(parameters_.grid(), kernel::SgdStep<T>{detail::updated(parameters_, working, average), velocity_.data(),
                                                              detail::scaled_gradient(parameters_, scale), rate_.data(),
                                                              parameters_.groups(), options_.momentum, options_.nesterov});
  });
}

struct AdamWOptions {
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
};

// Adam with decoupled weight decay, as torch.optim.AdamW. A step that a loss scale leaves out counts as a step.
template <Device D>
class AdamW : public OptimizerStep<AdamW<D>, D> {
 public:
  using Options = AdamWOptions;
  AdamW(FlatParameters<D>& parameters, Options options)
      : OptimizerStep<AdamW, D>(parameters),
        options_(options),
        first_(parameters.make()),
        second_(parameters.make()),
        schedule_(3) {
    for (float beta : {options.beta1, options.beta2})
      detail::check_number("adamw: a beta", beta, beta >= 0.f && beta < 1.f, "0 to below 1; 0.9 and 0.999 are usual");
    detail::check_number("adamw: an epsilon", options.epsilon, options.epsilon >= 0.f, "0 or more; 1e-8 is usual");
  }

  // The learning rate of the next step, and that it is one step later.
  void prepare(float learning_rate, Location at = Location::current());
  // For PackedInputs.
  template <class F>
  void each_input(F&& f) {
    f(schedule_);
  }
  void update(const GradientScale<D>* scale = nullptr, const Ema<D>* average = nullptr);
  std::vector<StateItem> items();

 private:
  using OptimizerStep<AdamW, D>::parameters_;
  Options options_;
  Tensor<float, 1, D> first_, second_;
  HostInput<float, D> schedule_;  // rate, corrections of both moments
  Counter steps_;
};

template <Device D>
void AdamW<D>::prepare(float learning_rate, Location at) {
  const Caller caller(at);
  detail::check_learning_rate(learning_rate);
  parameters_.follow_freezing();
  ++steps_.value;
  const auto correction = [this](float beta) { return float(1. - std::pow(double(beta), double(steps_.value))); };
  const float schedule[] = {learning_rate, correction(options_.beta1), correction(options_.beta2)};
  schedule_.set(schedule);
}

template <Device D>
void AdamW<D>::update(const GradientScale<D>* scale, const Ema<D>* average) {
  const Op<D> op("adamw");
  this->check_own(scale, average);
  parameters_.written();
  op.moves(parameters_.values(), parameters_.values(), first_, first_, second_, second_, parameters_.gradients());
  parameters_.with_working_copies([&]<class T>(T* working) {
    Runtime<D>::launch(parameters_.grid(),
                       kernel::AdamWStep<T>{detail::updated(parameters_, working, average), first_.data(), second_.data(),
                                            detail::scaled_gradient(parameters_, scale), schedule_.data(), parameters_.groups(),
                                            options_.beta1, options_.beta2, options_.epsilon});
  });
}

template <Device D>
std::vector<StateItem> AdamW<D>::items() {
  std::vector<StateItem> out = parameters_.items(first_, "exp_avg.");
  for (StateItem& item : parameters_.items(second_, "exp_avg_sq.")) out.push_back(std::move(item));
  out.push_back(state_item("steps", steps_));
  return out;
}

// One of them, by its options.
using OptimizerOptions = std::variant<SgdOptions, AdamWOptions>;

// The usual ones of a name, "sgd" (Nesterov momentum 0.9) or "adamw".
inline OptimizerOptions optimizer_options(const std::string& name) {
  if (name == "sgd") return SgdOptions{0.9f, true};
  if (name == "adamw") return AdamWOptions{};
  throw Error("there is no optimizer '" + name + "'", {{"remedy", "use sgd or adamw"}});
}

template <Device D>
class Optimizer {
 public:
  Optimizer(FlatParameters<D>& parameters, const OptimizerOptions& options)
      : one_(std::visit([&](const auto& o) { return made(parameters, o); }, options)) {}

  void prepare(float learning_rate);
  void update(const GradientScale<D>* scale, const Ema<D>* average);
  std::vector<StateItem> items();
  template <class F>
  void each_input(F&& f) {
    std::visit([&](auto& one) { one.each_input(f); }, one_);
  }

 private:
  using One = std::variant<Sgd<D>, AdamW<D>>;
  static One made(FlatParameters<D>& p, const SgdOptions& o) { return One(std::in_place_type<Sgd<D>>, p, o); }
  static One made(FlatParameters<D>& p, const AdamWOptions& o) { return One(std::in_place_type<AdamW<D>>, p, o); }

  One one_;
};

template <Device D>
void Optimizer<D>::prepare(float learning_rate) {
  std::visit([&](auto& one) { one.prepare(learning_rate); }, one_);
}

template <Device D>
void Optimizer<D>::update(const GradientScale<D>* scale, const Ema<D>* average) {
  std::visit([&](auto& one) { one.update(scale, average); }, one_);
}

template <Device D>
std::vector<StateItem> Optimizer<D>::items() {
  return std::visit([](auto& one) { return one.items(); }, one_);
}

}  // namespace mindgap
