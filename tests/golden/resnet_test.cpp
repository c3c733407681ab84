// ResNets against torchvision: names, forward in both modes, every gradient, steps of SGD, running statistics; f32 and bf16.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/optim/optimizer.hpp>

#include "tests/golden/golden.hpp"
#include "tests/state.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

// What a golden file was made of; `steps` of SGD, the gradient in eval mode where `eval_gradient`.
struct Case {
  std::string name;
  ResNetConfig config;
  Shape<4> images;
  int steps;
  bool eval_gradient;
};
const Case resnet18{"resnet18", ResNetConfig::make("resnet18", 64, 3, 1000, Stem::large), {4, 64, 64, 3}, 1, false};
const Case resnet50{"resnet50", ResNetConfig::make("resnet50", 64, 3, 1000, Stem::large), {4, 64, 64, 3}, 1, false};
const Case narrow{"resnet18_w16", ResNetConfig::make("resnet18", 16, 1, 10, Stem::small), {4, 28, 28, 1}, 3, true};

std::vector<float> widened(const auto& tensor) {
  std::vector<float> out;
  for (auto value : tensor.to_vector()) out.push_back(float(value));
  return out;
}

template <Real T>
void check_resnet(const Case& c) {
  constexpr GoldenType type = std::is_same_v<T, float> ? GoldenType::f32 : GoldenType::bf16;
  // Steps after the first are chaos in bf16, where no two implementations agree.
  const int steps = type == GoldenType::f32 ? c.steps : 1;
  ResNet<Cpu, Precision<T>> net(c.config, 1);
  check_names(c.name, state_items(net, ""));
  fill_golden(state_items(net, ""), true);
  Golden golden(c.name, type);

  const auto images = cast<T>(golden_images("golden:input", c.images));
  const auto labels =
      Tensor<i64, 1>::from(golden_integers("golden:labels", c.images[0], u32(c.config.classes)), Shape(c.images[0]));
  FlatParameters<Cpu> parameters(net, 5e-4f);
  Sgd<Cpu> sgd(parameters, {.momentum = 0.9f, .nesterov = true});
  const State start = state_of(net);

  Tape tape;
  set_training(net, false);
  auto logits = net(constant(tape, images));
  auto loss = cross_entropy(logits, labels);
  golden.check("eval/logits", widened(logits.value()));
  golden.check("eval/loss", widened(loss.value()));
  if (c.eval_gradient) {
    backward(loss);
    golden.check("eval/grad/", gradients(net));
    parameters.forget_gradients();
  }
  tape.clear();

  set_training(net, true);
  std::vector<float> losses;
  for (int step = 1; step <= steps; ++step) {
    logits = net(constant(tape, images));
    loss = cross_entropy(logits, labels);
    losses.push_back(loss.value().item());
    backward(loss);
    if (step == 1) {
      golden.check("train/logits", widened(logits.value()));
      golden.check("train/grad/", gradients(net));
    }
    sgd.step(0.1f);
    if (step > 1 && step < steps) continue;
    const std::string number = std::to_string(step);
    for (auto& [name, values] : state_of(net)) {
      if (name.ends_with("num_batches_tracked")) {
        BOOST_TEST(values[0] == float(step), name);
      } else if (name.find("running_") != std::string::npos) {
        golden.check("train/running" + number + "/" + name, values);
      } else {
        const std::vector<float>& before = start.at(name);
        for (size_t i = 0; i < values.size(); ++i) values[i] -= before[i];
        golden.check("train/step" + number + "/" + name, values);
      }
    }
  }
  if (steps == c.steps) golden.check("train/loss", losses);
  golden.finish([&](const std::string& key) {
    return steps < c.steps && (key == "train/loss" || key.starts_with("train/step3/") || key.starts_with("train/running3/"));
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resnet)

BOOST_AUTO_TEST_CASE(narrow_f32) { check_resnet<float>(narrow); }
BOOST_AUTO_TEST_CASE(narrow_bf16) { check_resnet<bf16>(narrow); }
BOOST_AUTO_TEST_CASE(resnet18_f32) { check_resnet<float>(resnet18); }
BOOST_AUTO_TEST_CASE(resnet50_f32) { check_resnet<float>(resnet50); }

BOOST_AUTO_TEST_SUITE_END()
