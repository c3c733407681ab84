// The figures of a PyTorch reference on one GPU, from mindgap: the machine's ceilings, ResNet training and inference, the student
// and the U-Net of the study, Stable Diffusion. One JSON line a figure: the median, least and greatest of 12 steps after 6 warm
// ones, between two events around each step, as the reference measures; `first_s` is the first step, in which plans are timed and
// memory is taken; `mem_GiB` is the most that tensors held.
//
//   bench/gpu_anchors [machine] [r50] [r18] [infer] [student] [unet] [sd] [any]      without arguments all of them; ResNets in
//   bf16 and f16, Stable Diffusion in f16
//
// Exit code 1 where a part failed; the others run all the same.
#include <mindgap/core/replay.hpp>
#include <mindgap/cuda/library.hpp>
#include <mindgap/diffusion/generator.hpp>
#include <mindgap/diffusion/prompt_sampler.hpp>

#include "anchors.hpp"
#include "stable_diffusion.hpp"
#include <chrono>

using namespace mindgap;
using namespace mindgap::bench;

namespace {

// How a step is run and timed: as a replay, whose first two runs are eager and whose third captures.
template <class F>
Times time_step(F&& step) {
  Replay<Cuda> replay("benchmark");
  return time_it<Cuda>([&] { replay.run(step); }, 6, 12);
}

struct Result {
  Times times;
  double first;  // seconds
};

template <class F>
double first_seconds(F&& step) {
  Pool<Cuda>::common().reset_peak();
  const double first = seconds_of<Cuda>(step);
  cuda::save_autotune_cache();  // so that a run that is stopped later need not time them again
  return first;
}
template <class F>
Result measure(F&& step) {
  const double first = first_seconds(step);
  return {time_step(step), first};
}
// Of what cannot be replayed.
template <class F>
Result measure_eager(F&& step) {
  const double first = first_seconds(step);
  return {time_it<Cuda>(step, 6, 12), first};
}

void print(const char* what, DType type, i64 batch, i64 pixels, const Result& r) {
  std::printf(
      "{\"what\": \"%s\", \"dt\": \"%s\", \"bs\": %lld, \"res\": %lld, \"img_s\": %.1f, \"ms\": %.3f, \"lo\": %.3f, \"hi\": "
      "%.3f, "
      "\"first_s\": %.2f, \"mem_GiB\": %.2f}\n",
      what, name(type), static_cast<long long>(batch), static_cast<long long>(pixels), double(batch) / r.times.median,
      1e3 * r.times.median, 1e3 * r.times.least, 1e3 * r.times.greatest, r.first,
      double(Pool<Cuda>::common().bytes_peak()) / double(i64(1) << 30));
  std::fflush(stdout);
}

void machine() {
  cudaDeviceProp card{};
  int driver = 0, runtime = 0;
  cudaGetDeviceProperties(&card, 0);
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  std::printf(
      "{\"gpu\": \"%s\", \"sm\": %d, \"multiprocessors\": %d, \"memory_GiB\": %.1f, \"l2_MiB\": %d, \"driver\": %d, \"runtime\": "
      "%d, "
      "\"cudnn\": \"%s\"}\n",
      card.name, 10 * card.major + card.minor, card.multiProcessorCount, double(card.totalGlobalMem) / double(i64(1) << 30),
      card.l2CacheSize >> 20, driver, runtime, cuda::cudnn_version().c_str());

  const i64 bytes = i64(1) << 30;
  const auto from = normals<float, Cuda>(Shape<1>(bytes / i64(sizeof(float)))), to = from.clone();
  std::printf("{\"copy_TBps\": %.3f}\n", 2e-12 * double(bytes) / time_it<Cuda>([&] { to.copy_from(from); }, 6, 12).median);

  const i64 n = 8192;
  const auto a = normals<bf16, Cuda>(Shape<3>(1, n, n)), b = normals<bf16, Cuda>(Shape<3>(1, n, n));
  std::printf("{\"matmul_bf16_TFLOPs\": %.1f}\n",
              2e-12 * std::pow(double(n), 3) / time_it<Cuda>([&] { matmul(a, b); }, 6, 12).median);

  // A kernel of one block that adds to one number, 200 times in a graph: what one launch behind another takes.
  constexpr auto plus_one = [](auto v) { return v + 1.f; };
  const auto number = Tensor<float, 1, Cuda>::zeros(Shape<1>(1));
  const auto chain = [&] {
    for (int i = 0; i < 200; ++i) pointwise_into(number, plus_one, number);
  };
  std::printf("{\"launch_us\": %.2f}\n", 1e6 * time_step(chain).median / 200);
  std::fflush(stdout);
}

template <class P>
void train(const char* what, const ResNetConfig& config, Shape<4> shape) {
  ResNetTraining<Cuda, P> step(config, shape, 0.1f);
  print(what, dtype_of<typename P::compute>, shape[0], shape[1], measure(step));
}

template <class P>
void train_resnet50() {
  train<P>("resnet50 train", ResNetConfig::make("resnet50", 64, 3, 1000, Stem::large), Shape<4>(256, 224, 224, 3));
}

template <class P>
void train_resnet18() {
  train<P>("resnet18 train", ResNetConfig::make("resnet18", 64, 3, 10, Stem::small), Shape<4>(512, 32, 32, 3));
}

template <class P>
void train_student() {
  train<P>("resnet18-w32 train", ResNetConfig::make("resnet18", 32, 1, 10, Stem::small), Shape<4>(128, 28, 28, 1));
}

// What deterministic plans cost: the same with all of cuDNN's.
void train_resnet18_by_any_plan() {
  cuda::allow_any_plan() = true;
  ResNetTraining<Cuda, Precision<bf16>> step(ResNetConfig::make("resnet18", 64, 3, 10, Stem::small), Shape<4>(512, 32, 32, 3),
                                             0.1f);
  const Result r = measure(step);
  cuda::allow_any_plan() = false;
  std::printf(
      "{\"what\": \"resnet18 train\", \"plans\": \"any\", \"dt\": \"bf16\", \"bs\": 512, \"res\": 32, \"ms\": %.3f, \"lo\": "
      "%.3f}\n",
      1e3 * r.times.median, 1e3 * r.times.least);
}

template <class P>
void classify() {
  ResNet50Inference<Cuda, P> step(256);
  print("resnet50 infer", dtype_of<typename P::compute>, 256, 224, measure(step));
}

// Forward with two copies of 64 images, as guided sampling runs it; training with the batch of data/studies/full.json.
template <class P>
void unet() {
  {
    DemoUNet<Cuda, P> model(128);
    print("small unet fwd", dtype_of<typename P::compute>, 128, 28, measure([&] { model.forward(); }));
  }
  DemoUNet<Cuda, P> model(512);
  FlatParameters<Cuda> parameters(model.net);
  AdamW<Cuda> adam(parameters, {});
  adam.prepare(1e-3f);
  print("small unet train", dtype_of<typename P::compute>, 512, 28, measure([&] {
          model.forward_and_backward();
          adam.step();
        }));
}

// Whole images as the app makes a batch of them: each with its text, guided, all steps, decoded, on the host as bytes. Seconds of
// the host's clock; the median of three after one.
template <class P>
void make_images(const LatentUNet<Cuda, P>& unet, const LatentAutoencoder<Cuda, P>& vae, i64 images) {
  using Denoise = TextDenoiser<Cuda, P>;
  const Guidance guidance{7.5};
  SchedulerConfig schedule;
  schedule.sampler = SamplerKind::pndm;
  schedule.beta_schedule = BetaSchedule::scaled_linear, schedule.beta_start = 0.00085, schedule.beta_end = 0.012;
  schedule.steps_offset = 1, schedule.set_alpha_to_one = false;
  const Sampler sampler(schedule, 50);
  Denoise denoise(unet.net, guidance.copies() * images);
  for (i64 i = 0; i < guidance.copies() * images; ++i) denoise.set(i, unet.texts_of(1));
  ImageSampler<typename P::compute, Cuda, Guided<Denoise>, LatentDecoder<Cuda, P>> sample(
      {denoise, guidance}, sampler, Shape<4>(images, 64, 64, 4), {&vae.net, images, false});
  std::vector<ImageStreams> streams;
  for (i64 i = 0; i < images; ++i) streams.push_back(streams_of(ImageKey{0, 0, i}, sampler));
  i64 not_finite = 0;
  const auto seconds = [&] {
    const auto begin = std::chrono::steady_clock::now();
    const SampledImages<Cuda> made = sample.attempt(streams);
    to_bytes(made.images);
    not_finite = std::count_if(made.problems.begin(), made.problems.end(), [](const auto& problem) { return !problem.empty(); });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  Pool<Cuda>::common().reset_peak();
  const double first = seconds();
  cuda::save_autotune_cache();
  std::vector<double> times{seconds(), seconds(), seconds()};
  std::sort(times.begin(), times.end());
  print("sd1.5 images", dtype_of<typename P::compute>, images, 512, {{times[1], times[0], times[2]}, first});
  if (not_finite)
    std::fprintf(stderr, "sd: %lld images are not finite; the weights are made up\n", static_cast<long long>(not_finite));
}

template <class P>
void stable_diffusion() {
  constexpr i64 images = 8;
  constexpr DType type = dtype_of<typename P::compute>;
  const LatentUNet<Cuda, P> unet(2 * images);
  for (const i64 batch : {2 * images, i64(2)}) {
    const auto latents = unet.latents.slice(0, batch);
    const auto timesteps = unet.timesteps.slice(0, batch);
    const auto texts = unet.texts_of(batch);
    print("unet", type, batch, 512, measure([&] { unet.net(latents, timesteps, texts); }));
  }
  const LatentAutoencoder<Cuda, P> vae(images);
  print("vae decode", type, images, 512, measure([&] { vae.decode(); }));
  print("vae encode", type, images, 512, measure([&] { vae.encode(); }));
  {
    const PromptEncoder<Cuda, P> text(2 * images);
    print("clip text", type, 2 * images, 77, measure_eager([&] { text(); }));
  }
  make_images(unet, vae, images);
}

struct Part {
  const char* name;
  void (*run)();
};

constexpr Part parts[] = {{"machine", machine},
                          {"r50", train_resnet50<Precision<bf16>>},
                          {"r50", train_resnet50<Precision<f16>>},
                          {"r18", train_resnet18<Precision<bf16>>},
                          {"r18", train_resnet18<Precision<f16>>},
                          {"infer", classify<Precision<bf16>>},
                          {"infer", classify<Precision<f16>>},
                          {"student", train_student<Precision<bf16>>},
                          {"unet", unet<Precision<bf16>>},
                          {"sd", stable_diffusion<Precision<f16>>},
                          {"any", train_resnet18_by_any_plan}};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> which(argv + 1, argv + argc);
  if (!Runtime<Cuda>::available()) {
    std::fprintf(stderr, "gpu_anchors: no GPU that this build can use; run it on a machine with one and a driver for CUDA 13\n");
    return 1;
  }
  for (const std::string& name : which)
    if (std::none_of(std::begin(parts), std::end(parts), [&](const Part& part) { return name == part.name; })) {
      std::fprintf(stderr, "gpu_anchors: there is no part \"%s\"\n", name.c_str());
      return 2;
    }
  bool failed = false;
  for (const Part& part : parts) {
    if (!which.empty() && std::find(which.begin(), which.end(), part.name) == which.end()) continue;
    try {
      part.run();
      Pool<Cuda>::common().trim();
    } catch (const std::exception& error) {
      std::printf("{\"error\": \"%s\"}\n", part.name);
      std::fflush(stdout);
      std::fprintf(stderr, "%s: %s\n", part.name, error.what());
      failed = true;
    }
  }
  return failed ? 1 : 0;
}
