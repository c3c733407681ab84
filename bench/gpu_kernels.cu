// How near the kernels that only move memory come to a plain copy, on this GPU: a line each with milliseconds, GB/s and the share
// of the rate of a device-to-device copy of 1 GiB that is measured in the same run.
//
//   bench/gpu_kernels [PART...]     only the lines whose name contains one of the parts, "lab" or "norm" for example
//
// Bytes are those that an operation must move, each tensor counted once a pass as the header of its kernel says; what a second
// pass finds in the second-level cache makes an operation faster than its bytes say, never slower. Sizes are those of the models:
// ResNet-50 at batch 256, Stable Diffusion's U-Net at batch 16, the small U-Net at batch 512. Best of several runs of several
// calls, timed by events; operations of a few microseconds show the time of their launches.
#include <mindgap/cuda/library.hpp>
#include <mindgap/cuda/runtime.hpp>
#include <mindgap/diffusion/image_sampler.hpp>
#include <mindgap/kernels/lab/moments.hpp>
#include <mindgap/kernels/lab/product.hpp>
#include <mindgap/kernels/lab/softmax.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/ops/conv_moments.hpp>
#include <mindgap/ops/dropout.hpp>
#include <mindgap/ops/gather.hpp>
#include <mindgap/ops/group_norm.hpp>
#include <mindgap/ops/layer_norm.hpp>
#include <mindgap/ops/loss.hpp>
#include <mindgap/ops/pool.hpp>
#include <mindgap/ops/reduce.hpp>
#include <mindgap/ops/softmax.hpp>
#include <mindgap/optim/optimizer.hpp>

#include "timing.hpp"
#include <cstdio>

using namespace mindgap;

namespace {

// Random numbers: zeros would flatter a GPU that draws less power for them.
template <class T, int N>
Tensor<T, N, Cuda> noise(Shape<N> shape) {
  return bench::normals<T, Cuda>(shape);
}

class Bench {
 public:
  explicit Bench(std::vector<std::string> parts) : parts_(std::move(parts)) {
    cudaDeviceProp properties;
    cudaGetDeviceProperties(&properties, 0);
    const i64 bytes = i64(1) << 30;
    const Tensor<u8, 1, Cuda> from = Tensor<u8, 1, Cuda>::zeros(Shape(bytes)), to(Shape{bytes});
    copy_rate_ = 2. * double(bytes) / seconds([&] { to.copy_from(from); });
    std::printf("%s, copy of 1 GiB: %.0f GB/s, read and written\n", properties.name, 1e-9 * copy_rate_);
    std::printf("%-62s %10s %8s %8s\n", "", "ms", "GB/s", "of copy");
  }

  // One line. bytes: what f must move.
  template <class F>
  void operator()(const std::string& name, i64 bytes, F&& f) {
    if (!wanted(name)) return;
    const double s = seconds(f);
    const double rate = double(bytes) / s;
    std::printf("%-62s %10.4f %8.0f %7.1f%%\n", name.c_str(), 1e3 * s, 1e-9 * rate, 100 * rate / copy_rate_);
  }

  // One line of something else than moving memory: f makes so many operations.
  template <class F>
  void products(const std::string& name, double operations, F&& f) {
    if (!wanted(name)) return;
    const double s = seconds(f);
    std::printf("%-62s %10.4f %8.1f TFLOP/s\n", name.c_str(), 1e3 * s, 1e-12 * operations / s);
  }

  // Whether a line whose name begins like this may be printed, so that its tensors are worth making.
  bool wanted(const std::string& name) const {
    return parts_.empty() || std::any_of(parts_.begin(), parts_.end(),
                                         [&](const std::string& part) { return name.find(part) != std::string::npos; });
  }

 private:
  template <class F>
  double seconds(F&& f) {
    constexpr int runs = 8, calls = 5;
    const auto several = [&] {
      for (int call = 0; call < calls; ++call) f();
    };
    const double best = bench::time_it<Cuda>(several, 1, runs).least;
    Runtime<Cuda>::synchronize();  // throws what a kernel did wrong
    return best / calls;
  }

  std::vector<std::string> parts_;
  double copy_rate_ = 0;
};

template <template <class> class Kernel>
void lab_softmax(Bench& bench, const char* name) {
  const auto x = noise<bf16>(Shape<2>(1 << 18, 512)), y = x.clone();
  const Kernel<bf16> kernel{y.data(), x.data(), x.rows(), x.cols()};
  bench(name, 4 * x.size(), [&] { Runtime<Cuda>::launch(kernel.grid(), kernel); });
}
template <template <class> class Kernel>
void lab_moments(Bench& bench, const char* name) {
  const auto x = noise<bf16>(Shape<2>(256 * 56 * 56, 64));
  const i64 rows_per_chunk = 512, chunks = x.rows() / rows_per_chunk;
  const Tensor<float, 2, Cuda> mean({chunks, x.cols()}), m2(mean.shape());
  const Kernel<bf16> kernel{kernel::lab::Moments<bf16>{mean.data(), m2.data(), x.data(), x.rows(), x.cols(), rows_per_chunk}};
  bench(name, 2 * x.size(), [&] { Runtime<Cuda>::launch(kernel.grid(), kernel); });
}
template <template <class> class Kernel>
void lab_product(Bench& bench, const char* name) {
  const i64 n = 4096;
  const auto a = noise<bf16>(Shape<2>(n, n)), b = noise<bf16>(a.shape()), c = a.clone();
  const kernel::lab::Product<bf16> product{c.data(), a.data(), b.data(), n, n, n};
  const auto run = [&](const auto& kernel) {
    bench.products(name, 2. * double(n) * double(n) * double(n), [&] { Runtime<Cuda>::launch(kernel.grid(), kernel); });
  };
  if constexpr (std::constructible_from<Kernel<bf16>, const kernel::lab::Product<bf16>&, float*, float*>) {
    const Tensor<float, 2, Cuda> mean({n / 128, n}), m2(mean.shape());
    run(Kernel<bf16>{product, mean.data(), m2.data()});
  } else {
    run(Kernel<bf16>{product});
  }
}
void lab_versions(Bench& bench) {
  lab_softmax<kernel::lab::SoftmaxPlain>(bench, "lab softmax v1, plain");
  lab_softmax<kernel::lab::SoftmaxCoalesced>(bench, "lab softmax v2, coalesced");
  lab_softmax<kernel::lab::SoftmaxVectorised>(bench, "lab softmax v3, vectorised");
  lab_softmax<kernel::lab::SoftmaxRegisters>(bench, "lab softmax v4, registers");
  lab_moments<kernel::lab::MomentsPlain>(bench, "lab moments v1, plain");
  lab_moments<kernel::lab::MomentsCoalesced>(bench, "lab moments v2, coalesced");
  lab_moments<kernel::lab::MomentsVectorised>(bench, "lab moments v3, vectorised");
  lab_moments<kernel::lab::MomentsOnePass>(bench, "lab moments v4, one pass");
  lab_product<kernel::lab::ProductPlain>(bench, "lab product v1, plain");
  lab_product<kernel::lab::ProductTiles>(bench, "lab product v2, tiles");
  lab_product<kernel::lab::ProductTensorCores>(bench, "lab product v3, tensor cores");
  lab_product<kernel::lab::ProductRing>(bench, "lab product v4, a ring");
}

void pointwise_ops(Bench& bench) {
  constexpr auto add_relu = [](auto a, auto b) { return relu(a + b); };
  const auto a = noise<bf16>(Shape<4>(256, 56, 56, 256)), b = a.clone(), y = a.clone();
  bench("pointwise relu(a + b), 256x56x56x256", 6 * a.size(), [&] { pointwise_into(y, add_relu, a, b); });
}

void batch_norms(Bench& bench, Shape<4> shape) {
  const std::string at = text(", ", shape.str());
  if (!bench.wanted("batch norm")) return;
  const auto x = noise<bf16>(shape), residual = x.clone(), grad_y = x.clone();
  const Shape<1> channels{x.cols()};
  const auto gamma = Tensor<float, 1, Cuda>::full(channels, 1.f), beta = Tensor<float, 1, Cuda>::zeros(channels);
  const i64 n = x.size();
  bench("batch norm statistics" + at, 2 * n, [&] { batch_statistics(x, 1e-5f); });
  const auto s = batch_statistics(x, 1e-5f);
  const auto apply = [&] { return batch_norm_with_signs(relu_add, x, s.mean, s.rstd, gamma, beta, residual); };
  bench("batch norm apply, residual and relu" + at, 6 * n + n / 8, apply);
  const auto [y, signs] = apply();
  const BatchNormInputs<bf16, 4, Cuda, 1> in{x, y, {}, s.mean, s.rstd, gamma, beta, true, signs};
  const BatchNormGradients<bf16, 4, Cuda, 1> grads{
      Tensor<bf16, 4, Cuda>(shape), gamma.clone(), beta.clone(), {Tensor<bf16, 4, Cuda>(shape)}};
  bench("batch norm backward, both passes" + at, 12 * n + n / 8, [&] { batch_norm_backward(relu_add, grad_y, in, grads); });
}

// Convolutions with the moments of what they write: of one kernel, and by the library's and a pass.
void convolutions(Bench& bench, Shape<4> shape, i64 c_out, i64 kernel) {
  const std::string at = text(", ", shape.str(), " to ", c_out, ", ", kernel, "x", kernel);
  if (!bench.wanted("conv")) return;
  const auto x = noise<bf16>(shape), w = noise<bf16>(Shape<4>(c_out, kernel, kernel, shape[3]));
  const ConvGeometry g = detail::conv_geometry(x.shape(), w.shape(), {1, kernel / 2});
  const Tensor<bf16, 4, Cuda> y({g.n, g.out_h(), g.out_w(), c_out});
  const i64 bytes = x.bytes() + w.bytes() + y.bytes();
  bench("conv with moments" + at, bytes, [&] { detail::gather_moments(g, y, x, w); });
  if (detail::moments_by_window(g, y, x, w).defined())
    bench("conv by a window" + at, bytes, [&] { detail::moments_by_window(g, y, x, w); });
  bench("conv of the library, moments" + at, bytes + y.bytes(), [&] {
    Library<Cuda>::conv2d(g, y.data(), x.data(), w.data(), nullptr);
    detail::column_moments(y, 1e-5f);
  });
}

void group_norms(Bench& bench, Shape<4> shape, i64 groups) {
  const std::string at = text(", ", shape.str());
  if (!bench.wanted("group norm")) return;
  const GroupNormInput<bf16, 4, Cuda> in{noise<bf16>(shape)};
  const Shape<1> channels{shape[3]};
  const auto gamma = Tensor<float, 1, Cuda>::full(channels, 1.f), beta = Tensor<float, 1, Cuda>::zeros(channels);
  const i64 n = in.x.size();
  bench("group norm and silu" + at, 6 * n, [&] { group_norm(epilogues::silu, in, groups, 1e-5f, gamma, beta); });
  const auto out = group_norm(epilogues::silu, in, groups, 1e-5f, gamma, beta);
  const GroupNormGradients<bf16, 4, Cuda> grads{Tensor<bf16, 4, Cuda>(shape), {}, {}, gamma.clone(), beta.clone()};
  bench("group norm and silu backward" + at, 10 * n,
        [&] { group_norm_backward(epilogues::silu, out.y, in, out.mean, out.rstd, gamma, beta, grads); });
}

void layer_norms(Bench& bench, Shape<2> shape) {
  const std::string at = text(", ", shape.str());
  if (!bench.wanted("layer norm")) return;
  const auto x = noise<bf16>(shape);
  const Shape<1> channels{x.cols()};
  const auto gamma = Tensor<float, 1, Cuda>::full(channels, 1.f), beta = Tensor<float, 1, Cuda>::zeros(channels);
  bench("layer norm" + at, 4 * x.size(), [&] { layer_norm(x, gamma, beta, 1e-5f); });
  const auto out = layer_norm(x, gamma, beta, 1e-5f);
  const LayerNormGradients<bf16, 2, Cuda> grads{x.clone(), gamma.clone(), beta.clone()};
  bench("layer norm backward" + at, 6 * x.size(), [&] { layer_norm_backward(out.y, x, out.mean, out.rstd, gamma, grads); });
}

void softmaxes(Bench& bench, Shape<2> shape) {
  const std::string at = text(", ", shape.str());
  if (!bench.wanted("softmax")) return;
  const auto x = noise<bf16>(shape), y = x.clone(), grad = x.clone();
  bench("softmax" + at, 4 * x.size(), [&] { softmax_into(y, x); });
  bench("softmax backward" + at, 6 * x.size(), [&] { softmax_backward(grad, y, x); });
}

void losses(Bench& bench, Shape<2> shape) {
  const std::string at = text(", ", shape.str());
  if (!bench.wanted("cross-entropy")) return;
  const auto logits = noise<bf16>(shape), grad = logits.clone();
  const auto labels = Tensor<i64, 1, Cuda>::full(Shape(shape[0]), 3);
  const auto one = Tensor<float, 1, Cuda>::full(Shape(1), 1.f);
  bench("cross-entropy" + at, 2 * logits.size(), [&] { cross_entropy(logits, labels, 0.1f); });
  const auto out = cross_entropy_rows(logits, labels, 0.1f);
  bench("cross-entropy backward" + at, 4 * logits.size(),
        [&] { cross_entropy_backward(grad, one, logits, labels, out.normaliser, 0.1f); });
}

void optimizers(Bench& bench) {
  if (!bench.wanted("step of")) return;
  Linear<Cuda, Precision<float>> layer(4096, 6250, false);
  init::constant(layer.weight, 0.f);
  FlatParameters<Cuda> parameters(layer, 1e-4f);
  const auto written = [&] { layer.weight.slot->write([](const auto&) {}); };
  Sgd<Cuda> sgd(parameters, {0.9f, false});
  sgd.prepare(0.f);
  bench("step of SGD with momentum, 25.6 million", 20 * parameters.size(), [&] {
    written();
    sgd.step();
  });
  AdamW<Cuda> adamw(parameters, {});
  adamw.prepare(0.f);
  bench("step of AdamW, 25.6 million", 28 * parameters.size(), [&] {
    written();
    adamw.step();
  });
}

void samplers(Bench& bench) {
  const std::string name = "sampler step, guidance, 4096 latents of 64x64x4";
  if (!bench.wanted(name)) return;
  const Shape<4> shape(4096, 64, 64, 4);
  const std::vector<Stream> latent(size_t(shape[0]), Stream(1, "latent"));
  SamplerRun<bf16, Cuda> run(Sampler(SchedulerConfig{}, 50), shape, {7.5});
  run.start(latent);
  run.begin_step();
  const auto output = noise<bf16>(run.input().shape());
  bench(name, (8 + 2 * 4) * shape.size(), [&] { run.step(output); });
}

void pools(Bench& bench) {
  if (!bench.wanted("max pool")) return;
  const auto x = noise<bf16>(Shape<4>(256, 112, 112, 64)), grad_x = x.clone();
  const auto out = max_pool2d_with_index(x, 3, 2, 1);
  const i64 n = x.size(), m = out.y.size();
  bench("max pool 3x3 by 2, 256x112x112x64", 2 * n + 3 * m, [&] { max_pool2d_with_index(x, 3, 2, 1); });
  bench("max pool backward, 256x112x112x64", 2 * n + 3 * m, [&] { max_pool2d_backward(grad_x, out.y, out.index, 3, 2, 1); });
}

void arrays(Bench& bench, Shape<4> shape) {
  const std::string at = text(", ", shape.str());
  if (!bench.wanted("array")) return;
  const auto x = noise<bf16>(shape);
  const auto row = noise<bf16>(Shape<4>(shape[0], 1, 1, shape[3]));
  const auto index = Tensor<i32, 4, Cuda>::zeros(Shape<4>(shape[0], shape[1] / 2, shape[2], shape[3]));
  const HostInput<Stream, Cuda> key(std::vector{Stream(1, "dropout")});
  const i64 n = x.size();
  bench("array permute to channels first" + at, 4 * n, [&] { permute(x, {0, 3, 1, 2}); });
  bench("array expand of a row" + at, 2 * n, [&] { expand(row, shape); });
  bench("array sum over positions" + at, 2 * n, [&] { sum(x, {1, 2}); });
  bench("array sum over channels" + at, 2 * n, [&] { sum(x, {3}); });
  bench("array gather of half" + at, 4 * n, [&] { gather(x, index, 1); });
  bench("array dropout" + at, 4 * n, [&] { dropout(x, 0.1f, key); });
}

}  // namespace

int main(int argc, char** argv) {
  if (!Runtime<Cuda>::available()) {
    std::fprintf(stderr, "gpu_kernels: no GPU that this build can use; run it on a machine with one and a driver for CUDA 13\n");
    return 1;
  }
  try {
    Bench bench(std::vector<std::string>(argv + 1, argv + argc));
    lab_versions(bench);
    pointwise_ops(bench);
    batch_norms(bench, {256, 56, 56, 64});
    batch_norms(bench, {256, 7, 7, 2048});
    convolutions(bench, {256, 56, 56, 64}, 256, 1);
    convolutions(bench, {256, 56, 56, 256}, 64, 1);
    convolutions(bench, {256, 28, 28, 128}, 512, 1);
    convolutions(bench, {256, 14, 14, 1024}, 256, 1);
    convolutions(bench, {256, 56, 56, 64}, 64, 3);
    convolutions(bench, {512, 32, 32, 64}, 64, 3);
    group_norms(bench, {16, 64, 64, 320}, 32);
    group_norms(bench, {16, 32, 32, 640}, 32);
    group_norms(bench, {512, 28, 28, 64}, 8);
    layer_norms(bench, {16 * 4096, 320});
    layer_norms(bench, {16 * 1024, 640});
    layer_norms(bench, {16 * 256, 1280});
    softmaxes(bench, {1 << 17, 1024});
    softmaxes(bench, {1 << 15, 4096});
    losses(bench, {256, 1000});
    losses(bench, {1 << 15, 1000});
    optimizers(bench);
    samplers(bench);
    pools(bench);
    arrays(bench, {256, 56, 56, 64});
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
