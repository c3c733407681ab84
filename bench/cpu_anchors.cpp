// The figures of a PyTorch reference on this CPU, from mindgap: training of narrow ResNet-18 students and the small U-Net,
// forward and backward. One JSON line a figure, medians of several steps; the names are those that a PyTorch script with
// the same models prints, so that the lines can be put side by side.
//
//   bench/cpu_anchors [r18] [unet] [r50]
#include <mindgap/autograd/loss.hpp>
#include <mindgap/models/resnet.hpp>
#include <mindgap/models/unet.hpp>
#include <mindgap/optim/optimizer.hpp>

#include <chrono>
#include <cstdio>

using namespace mindgap;

namespace {

// Seconds of one call, the median.
template <class F>
double time_it(F&& f, int warm, int count) {
  for (int i = 0; i < warm; ++i) f();
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

template <int N>
Tensor<float, N> normals(Shape<N> shape) {
  Tensor<float, N> x(shape);
  const Stream stream(0, "bench");
  for (i64 i = 0; i < x.size(); ++i) x.data()[i] = stream.normal(u64(i));
  return x;
}

template <class P>
void train_resnet(const char* what, const ResNetConfig& config, Shape<4> shape, int warm, int count) {
  using T = typename P::compute;
  ResNet<Cpu, P> net(config, 1);
  FlatParameters<Cpu> parameters(net, 1e-4f);
  Sgd<Cpu> sgd(parameters, {0.9f, false});
  const auto x = cast<T>(normals(shape));
  Tensor<i64, 1> labels{Shape<1>(shape[0])};
  for (i64 i = 0; i < shape[0]; ++i) labels.data()[i] = i % config.classes;
  Tape tape;
  const double s = time_it(
      [&] {
        backward(cross_entropy(net(constant(tape, x)), labels));
        sgd.step(0.01f);
      },
      warm, count);
  std::printf("{\"what\": \"%s\", \"dt\": \"%s\", \"bs\": %lld, \"img_s\": %.2f, \"ms\": %.2f}\n", what, name(dtype_of<T>),
              static_cast<long long>(shape[0]), double(shape[0]) / s, 1e3 * s);
}

template <class P>
void classify_with_resnet50() {
  using T = typename P::compute;
  ResNet<Cpu, P> net(ResNetConfig::make("resnet50", 64, 3, 1000, Stem::large), 1);
  set_training(net, false);
  const auto x = cast<T>(normals(Shape<4>(16, 224, 224, 3)));
  const double s = time_it([&] { net(x); }, 1, 3);
  std::printf("{\"what\": \"resnet50 224 infer\", \"dt\": \"%s\", \"img_s\": %.2f}\n", name(dtype_of<T>), 16 / s);
}

template <class P>
void unet() {
  using T = typename P::compute;
  UNetConfig c;
  c.in_channels = c.out_channels = 1;
  c.block_out_channels = {32, 64, 64};
  c.down_attention = {false, false, true};
  c.up_attention = {true, false, false};
  c.layers_per_block = 1;
  c.norm_num_groups = 8;
  c.num_class_embeds = 11;
  const UNet2DModel<Cpu, P> net(c, 1);
  const i64 batch = 64;
  const auto x = cast<T>(normals(Shape<4>(batch, 28, 28, 1)));
  const auto zeros = Tensor<T, 4>::zeros(x.shape());
  const auto times = Tensor<float, 1>::full(Shape<1>(batch), 500.f);
  const auto classes = Tensor<i64, 1>::full(Shape<1>(batch), 3);
  Tape tape;
  const double forward = time_it([&] { net(x, times, classes); }, 2, 5);
  const double both = time_it([&] { backward(mse_loss(net(constant(tape, x), times, classes), zeros)); }, 2, 5);
  std::printf("{\"what\": \"small unet fwd\", \"dt\": \"%s\", \"img_s\": %.2f}\n", name(dtype_of<T>), double(batch) / forward);
  std::printf("{\"what\": \"small unet fwd+bwd\", \"dt\": \"%s\", \"img_s\": %.2f}\n", name(dtype_of<T>), double(batch) / both);
}

template <class P>
void all(const std::vector<std::string>& which) {
  const auto wanted = [&](const std::string& part) { return std::find(which.begin(), which.end(), part) != which.end(); };
  if (wanted("r18"))
    for (i64 width : {16, 32, 64}) {
      const std::string what = "resnet18-w" + std::to_string(width) + " 28x28 train";
      train_resnet<P>(what.c_str(), ResNetConfig::make("resnet18", width, 1, 10, Stem::small), Shape<4>(128, 28, 28, 1), 2, 5);
    }
  if (wanted("r50")) {
    train_resnet<P>("resnet50 224 train", ResNetConfig::make("resnet50", 64, 3, 1000, Stem::large), Shape<4>(16, 224, 224, 3), 1,
                    3);
    classify_with_resnet50<P>();
  }
  if (wanted("unet")) unet<P>();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> which(argv + 1, argv + argc);
  if (which.empty()) which = {"r18", "unet"};
  all<Precision<float>>(which);
  if (cpu::has_bf16()) all<Precision<bf16>>(which);
}
