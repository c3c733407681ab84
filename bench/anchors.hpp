// What the anchors of the CPU and of the GPU share: a timer for each device, random inputs, and the work that is timed. The same
// seeds give the same networks and the same inputs on both.
#pragma once

#include <mindgap/autograd/loss.hpp>
#include <mindgap/models/resnet_folded.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/optim/optimizer.hpp>

#include <cstdio>

namespace mindgap::bench {

// Seconds of one call.
struct Times {
  double median, least, greatest;
};

// Seconds of one call: of the host's clock, or between two events around what was queued on the GPU.
template <Device D, class F>
double seconds_of(F&& f) {
  typename Runtime<D>::Event begin, end;
  begin.record();
  f();
  end.record();
  return 1e-3 * end.since(begin);
}

template <Device D, class F>
Times time_it(F&& f, int warm, int count) {
  for (int i = 0; i < warm; ++i) f();
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) seconds.push_back(seconds_of<D>(f));
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

// y[i] = normal i of a stream                                    one block does `per_block` elements, a thread four at a time
template <class T>
struct Normals {
  static constexpr i64 per_block = 4096;

  T* y;  // [n]
  i64 n;
  Stream stream;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, end = begin + per_block < n ? begin + per_block : n;
    for (i64 i = begin + 4 * block.rank(); i < end; i += 4 * block.size()) {
      float z[4];
      stream.normals(u64(i / 4), z);
      for (i64 j = i; j < i + 4 && j < end; ++j) y[j] = T(z[j - i]);
    }
  }
};

template <class T, Device D, int N>
Tensor<T, N, D> normals(Shape<N> shape) {
  Tensor<T, N, D> x(shape);
  Runtime<D>::launch(Grid{(x.size() + Normals<T>::per_block - 1) / Normals<T>::per_block},
                     Normals<T>{x.data(), x.size(), Stream(0, "bench")});
  return x;
}

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
