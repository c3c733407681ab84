// The work that the anchors of the CPU and of the GPU time. The same seeds give the same networks and the same inputs on both.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/models/resnet_folded.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/optim/optimizer.hpp>

#include "timing.hpp"
#include <cstdio>

namespace mindgap::bench {

// A training step of a ResNet on one batch of noise: forward, loss, backward, SGD with momentum 0.9 and weight decay 1e-4; in f16
// with a loss scale.
template <Device D, class P>
struct ResNetTraining {
  using T = typename P::compute;
  static constexpr bool scaled = std::is_same_v<T, f16>;

  ResNet<D, P> net;
  FlatParameters<D> parameters;
  Sgd<D> sgd;
  GradientScale<D> scale;
  Tensor<T, 4, D> images;
  Tensor<i64, 1, D> labels;
  Tape tape;
  float smoothing;

  ResNetTraining(const ResNetConfig& config, Shape<4> shape, float label_smoothing)
      : net(config, 1),
        parameters(net, 1e-4f),
        sgd(parameters, {0.9f, false}),
        scale(parameters, {0, scaled}),
        images(normals<T, D>(shape)),
        smoothing(label_smoothing) {
    std::vector<i64> classes;
    for (i64 i = 0; i < shape[0]; ++i) classes.push_back(i % config.classes);
    labels = Tensor<i64, 1, D>::from(classes, Shape<1>(shape[0]));
    sgd.prepare(0.01f);
  }

  void operator()() {
    backward(cross_entropy(net(constant(tape, images)), labels, smoothing), scale.seed());
    if (scaled) scale.measure();
    sgd.step(scaled ? &scale : nullptr);
  }
};

// The classifier of published ResNet-50 weights, batch norms folded away.
template <Device D, class P>
struct ResNet50Inference {
  using T = typename P::compute;

  ResNet<D, P> trained;
  FoldedResNet<D, P> net;
  Tensor<T, 4, D> images;

  explicit ResNet50Inference(i64 batch)
      : trained(ResNetConfig::make("resnet50", 64, 3, 1000, Stem::large), 1),
        net(trained),
        images(normals<T, D>(Shape<4>(batch, 224, 224, 3))) {}

  void operator()() { net(images); }
};

// The U-Net of the demo (data/generator), 1.1 million parameters, on images of 28 pixels.
template <Device D, class P>
struct DemoUNet {
  using T = typename P::compute;

  UNet2DModel<D, P> net;
  Tensor<T, 4, D> images, goal;
  Tensor<float, 1, D> times;
  Tensor<i64, 1, D> classes;
  Tape tape;

  static UNetConfig config() {
    UNetConfig c;
    c.in_channels = c.out_channels = 1;
    c.block_out_channels = {32, 64, 64};
    c.down_attention = {false, false, true};
    c.up_attention = {true, false, false};
    c.layers_per_block = 1;
    c.norm_num_groups = 8;
    c.num_class_embeds = 11;
    return c;
  }

  explicit DemoUNet(i64 batch)
      : net(config(), 1),
        images(normals<T, D>(Shape<4>(batch, 28, 28, 1))),
        goal(Tensor<T, 4, D>::zeros(images.shape())),
        times(Tensor<float, 1, D>::full(Shape<1>(batch), 500.f)),
        classes(Tensor<i64, 1, D>::full(Shape<1>(batch), 3)) {}

  void forward() const { net(images, times, classes); }
  void forward_and_backward() { backward(mse_loss(net(constant(tape, images), times, classes), goal)); }
};

}  // namespace mindgap::bench
