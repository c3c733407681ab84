// ResNet-18, 34, 50, 101 and 152 (He et al., "Deep residual learning", 2015; stride in the 3x3 convolution, as torchvision),
// under torchvision's state-dict names, with a width and a choice of stem.
//
// Units are what the study freezes and swaps: the stem, each residual block, the classifier. run(x, begin, end) runs a
// range of them, so that a frozen prefix can be run once and its output kept. Groups are the stem, a stage or the classifier.
#pragma once

#include <mindgap/autograd/pool.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>

namespace mindgap {

enum class Stem {
  large,  // 7x7 convolution of stride 2, then 3x3 max-pool of stride 2: photographs
  small   // 3x3 convolution of stride 1: images of 28 or 32 pixels
};

struct ResNetConfig {
  std::string name = "resnet18";
  std::array<i64, 4> depths{2, 2, 2, 2};
  bool bottleneck = false;
  i64 width = 64;  // channels of the stem and the first stage
  i64 channels = 3, classes = 1000;
  Stem stem = Stem::large;

  static const std::vector<std::string>& names();
  // Throws for an unknown name and for counts below one.
  static ResNetConfig make(const std::string& name, i64 width, i64 channels, i64 classes, Stem stem);
};

// relu(f(x) + shortcut(x)), f being two 3x3 convolutions or 1x1, 3x3, 1x1 with four times the channels at the end.
template <Device D, class P>
struct ResidualBlock {
  struct Downsample {
    Conv2d<D, P> conv;
    BatchNorm2d<D, P> norm;
    template <class F>
    void visit(F&& f) {
      f("0", conv);
      f("1", norm);
    }
  };

  Conv2d<D, P> conv1;
  BatchNorm2d<D, P> bn1;
  Conv2d<D, P> conv2;
  BatchNorm2d<D, P> bn2;
  std::optional<Conv2d<D, P>> conv3;
  std::optional<BatchNorm2d<D, P>> bn3;
  std::optional<Downsample> downsample;
  MINDGAP_MODULE(conv1, bn1, conv2, bn2, conv3, bn3, downsample)

  ResidualBlock(i64 in, i64 planes, i64 stride, bool bottleneck) {
    const i64 out = bottleneck ? 4 * planes : planes;
    const auto conv = [](i64 i, i64 o, i64 kernel, i64 s) { return Conv2d<D, P>(i, o, kernel, {s, kernel / 2}, false); };
    conv1 = bottleneck ? conv(in, planes, 1, 1) : conv(in, planes, 3, stride);
    bn1 = BatchNorm2d<D, P>(planes);
    conv2 = bottleneck ? conv(planes, planes, 3, stride) : conv(planes, planes, 3, 1);
    bn2 = BatchNorm2d<D, P>(planes);
    if (bottleneck) conv3 = conv(planes, out, 1, 1), bn3 = BatchNorm2d<D, P>(out);
    if (stride != 1 || in != out) downsample = Downsample{conv(in, out, 1, stride), BatchNorm2d<D, P>(out)};
  }

  template <class X>
  X operator()(const X& x) {
    X z = bn1.after(conv1, x, epilogues::relu);
    if (conv3) z = bn2.after(conv2, z, epilogues::relu);
    // After them, so that its gradient is the first that x receives: conv1, of 1x1 in a bottleneck, adds its own in the product.
    const X shortcut = downsample ? downsample->norm.after(downsample->conv, x) : x;
    return conv3 ? bn3->after(*conv3, z, relu_add, shortcut) : bn2.after(conv2, z, relu_add, shortcut);
  }
};

// "layer1" of the unit "layer1.0"; a group is its own.
inline std::string unit_group(const std::string& unit) { return unit.substr(0, unit.find('.')); }

template <Device D, class P>
struct ResNet {
  using Block = ResidualBlock<D, P>;

  Conv2d<D, P> conv1;
  BatchNorm2d<D, P> bn1;
  std::vector<Block> layer1, layer2, layer3, layer4;
  Linear<D, P> fc;
  ResNetConfig config;
  MINDGAP_MODULE(conv1, bn1, layer1, layer2, layer3, layer4, fc)

  // Without weights, to be loaded.
  explicit ResNet(const ResNetConfig& c);
  // Initialised from `seed` as torchvision does, to be trained: normal convolutions by fan-out, norms 1 and 0.
  ResNet(const ResNetConfig& c, u64 seed) : ResNet(c) { initialise(*this, seed); }
  // Layers hold handles: a copy would share weights unseen.
  ResNet(const ResNet&) = delete;
  ResNet& operator=(const ResNet&) = delete;

  // The stem, the blocks and the classifier.
  i64 unit_count() const { return 2 + config.depths[0] + config.depths[1] + config.depths[2] + config.depths[3]; }
  // "stem", "layer1.0", ..., "fc"
  std::vector<std::string> units() const {
    std::vector<std::string> names{"stem"};
    for (int s = 0; s < 4; ++s)
      for (i64 b = 0; b < config.depths[size_t(s)]; ++b)
        names.push_back("layer" + std::to_string(s + 1) + "." + std::to_string(b));
    names.push_back("fc");
    return names;
  }
  static std::vector<std::string> groups() { return {"stem", "layer1", "layer2", "layer3", "layer4", "fc"}; }
  // The patterns of a unit's or group's layers.
  static std::vector<std::string> patterns(const std::string& unit) {
    if (unit == "stem") return {"conv1", "bn1"};
    return {unit};
  }

  // Units [begin, end) without the classifier; x is what unit `begin` reads.
  template <class X>
  X run(const X& x, i64 begin, i64 end);
  // The classifier unit: average over positions, then logits [N, classes].
  template <class X>
  auto classify(const X& features) {
    return fc(global_avg_pool(features));
  }
  // x [N, H, W, channels] -> logits [N, classes]
  template <class X>
  auto operator()(const X& x, Location at = Location::current()) {
    const Caller caller(at);
    return classify(run(x, 0, unit_count() - 1));
  }

 private:
  std::vector<Block>& stage(int s) { return s == 0 ? layer1 : s == 1 ? layer2 : s == 2 ? layer3 : layer4; }
};

// Defined outside the class so that explicit instances are possible: g++ instantiates what is inline in any case.
template <Device D, class P>
ResNet<D, P>::ResNet(const ResNetConfig& c) : config(c) {
  const bool large = c.stem == Stem::large;
  conv1 = Conv2d<D, P>(c.channels, c.width, large ? 7 : 3, {large ? 2 : 1, large ? 3 : 1}, false);
  bn1 = BatchNorm2d<D, P>(c.width);
  i64 in = c.width;
  for (int s = 0; s < 4; ++s)
    for (i64 b = 0; b < c.depths[size_t(s)]; ++b) {
      const i64 planes = c.width << s;
      stage(s).emplace_back(in, planes, s > 0 && b == 0 ? 2 : 1, c.bottleneck);
      in = c.bottleneck ? 4 * planes : planes;
    }
  fc = Linear<D, P>(in, c.classes);
  assign_paths(*this);
  for_each_module(*this, [](const std::string&, auto& module) {
    if constexpr (requires { module.initial; }) module.initial = Conv2d<D, P>::Init::kaiming_normal_fan_out;
  });
}

template <Device D, class P>
template <class X>
X ResNet<D, P>::run(const X& x, i64 begin, i64 end) {
  X y = x;
  i64 unit = 0;
  const auto due = [&] { return unit >= begin && unit < end; };
  if (due()) {
    y = bn1.after(conv1, y, epilogues::relu);
    if (config.stem == Stem::large) y = max_pool2d(y, 3, 2, 1);
  }
  ++unit;
  for (int s = 0; s < 4; ++s)
    for (Block& block : stage(s)) {
      if (due()) y = block(y);
      ++unit;
    }
  return y;
}

}  // namespace mindgap

#if defined(MINDGAP_GLUE) && !defined(MINDGAP_NO_INSTANCES)
#include <mindgap/models/resnet_instances.hpp>
#endif

#if !defined(MINDGAP_GLUE)
#include <mindgap/models/resnet.ipp>
#endif
