// A network and a step of training with the headers alone, whose templates must not trip over this project's warnings.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/library.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/optim/optimizer.hpp>

struct Net {
  mindgap::Linear<mindgap::Cpu, mindgap::Precision<float>> first{3, 4}, second{4, 2};
  mindgap::BatchNorm2d<mindgap::Cpu, mindgap::Precision<float>> norm{4};
  MINDGAP_MODULE(first, second, norm)

  template <class X>
  auto operator()(const X& x) {
    return second(norm(first(x), mindgap::epilogues::relu));
  }
};

int main() {
  const auto x = mindgap::Tensor<float, 2>::full({2, 3}, 1.5f);
  Net net;
  mindgap::initialise(net, 1);
  mindgap::FlatParameters<mindgap::Cpu> parameters(net);
  mindgap::Sgd<mindgap::Cpu> sgd(parameters, {});
  mindgap::Tape tape;
  backward(mindgap::cross_entropy(net(mindgap::constant(tape, x)), mindgap::Tensor<mindgap::i64, 1>::full({2}, 1)));
  const float before = net.second.bias.value.data()[0];
  sgd.step(0.1f);
  return net.second.bias.value.data()[0] != before ? 0 : 1;
}
