// Optimizers and weight averages over a FlatParameters.
//
//   FlatParameters<Cpu> parameters(net, 5e-4f);
//   Sgd sgd(parameters, {.momentum = 0.9f, .nesterov = true});
//   backward(loss);
//   sgd.step(rate);                  updates the network in place and starts fresh gradients
//
// items() are the optimizer's entries of a state dict: saved and loaded with the network, training goes on exactly.
#pragma once

#include <mindgap/optim/flat.hpp>

namespace mindgap {

// Stochastic gradient descent with (Nesterov) momentum, as torch.optim.SGD.
template <Device D>
class Sgd {
 public:
  struct Options {
    float momentum = 0.9f;
    bool nesterov = false;
  };
  Sgd(FlatParameters<D>& parameters, Options options)
      : parameters_(parameters), options_(options), velocity_(parameters.make()) {}

  void step(float learning_rate) {
    parameters_.begin_step();
    Runtime<D>::launch(parameters_.grid(), SgdStep{parameters_.values().data(), velocity_.data(), parameters_.gradients().data(),
                                                   parameters_.groups(), learning_rate, options_.momentum, options_.nesterov});
    parameters_.end_step();
  }
  std::vector<StateItem> items() const { return parameters_.items(velocity_, "momentum."); }

 private:
  FlatParameters<D>& parameters_;
  Options options_;
  Tensor<float, 1, D> velocity_;
};

// Adam with decoupled weight decay, as torch.optim.AdamW.
template <Device D>
class AdamW {
 public:
  struct Options {
    float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
  };
  AdamW(FlatParameters<D>& parameters, Options options)
      : parameters_(parameters), options_(options), first_(parameters.make()), second_(parameters.make()) {}

  void step(float learning_rate) {
    parameters_.begin_step();
    ++steps_.value;
    const auto correction = [this](float beta) { return float(1. - std::pow(double(beta), double(steps_.value))); };
    Runtime<D>::launch(parameters_.grid(),
                       AdamWStep{parameters_.values().data(), first_.data(), second_.data(), parameters_.gradients().data(),
                                 parameters_.groups(), learning_rate, options_.beta1, options_.beta2, options_.epsilon,
                                 correction(options_.beta1), correction(options_.beta2)});
    parameters_.end_step();
  }
  std::vector<StateItem> items() {
    std::vector<StateItem> out = parameters_.items(first_, "exp_avg.");
    for (StateItem& item : parameters_.items(second_, "exp_avg_sq.")) out.push_back(std::move(item));
    out.push_back(state_item("steps", steps_));
    return out;
  }

 private:
  FlatParameters<D>& parameters_;
  Options options_;
  Tensor<float, 1, D> first_, second_;
  Counter steps_;
};

// Exponential moving average of the parameters: average += (1 - decay) (value - average). swap() exchanges the averages
// and the network's values, for evaluation or saving, and back.
template <Device D>
class Ema {
 public:
  explicit Ema(FlatParameters<D>& parameters) : parameters_(parameters), average_(parameters.values().clone()) {}

  void update(float decay) {
    Runtime<D>::launch(parameters_.grid(), EmaStep{average_.data(), parameters_.values().data(), parameters_.size(), decay});
  }
  void swap() {
    const Tensor<float, 1, D> values = parameters_.values().clone();
    parameters_.values().copy_from(average_);
    average_.copy_from(values);
    parameters_.end_step();
  }
  std::vector<StateItem> items() const { return parameters_.items(average_, "ema."); }

 private:
  FlatParameters<D>& parameters_;
  Tensor<float, 1, D> average_;
};

}  // namespace mindgap
