// The figures of a PyTorch reference on this CPU, from mindgap: training of narrow ResNet-18 students and the small U-Net,
// forward and backward. One JSON line a figure, medians of several steps; the names are those that a PyTorch script with
// the same models prints, so that the lines can be put side by side.
//
//   bench/cpu_anchors [r18] [unet] [r50] [attention] [sd] [beside]      beside: while as many other processes as there are cores
//   are busy
#include <mindgap/cpu/neighbours.hpp>

#include "anchors.hpp"
#include "stable_diffusion.hpp"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::bench;

namespace {

template <class P>
void train_resnet(const char* what, const ResNetConfig& config, Shape<4> shape, int warm, int count) {
  ResNetTraining<Cpu, P> step(config, shape, 0.f);
  const double s = time_it<Cpu>(step, warm, count).median;
  std::printf("{\"what\": \"%s\", \"dt\": \"%s\", \"bs\": %lld, \"img_s\": %.2f, \"ms\": %.2f}\n", what,
              name(dtype_of<typename P::compute>), static_cast<long long>(shape[0]), double(shape[0]) / s, 1e3 * s);
}

template <class P>
void classify_with_resnet50() {
  ResNet50Inference<Cpu, P> classify(16);
  const double s = time_it<Cpu>(classify, 1, 3).median;
  std::printf("{\"what\": \"resnet50 224 infer\", \"dt\": \"%s\", \"img_s\": %.2f}\n", name(dtype_of<typename P::compute>),
              16 / s);
}

template <class P>
void unet() {
  const i64 batch = 64;
  DemoUNet<Cpu, P> model(batch);
  const double forward = time_it<Cpu>([&] { model.forward(); }, 2, 5).median;
  const double both = time_it<Cpu>([&] { model.forward_and_backward(); }, 2, 5).median;
  const char* type = name(dtype_of<typename P::compute>);
  std::printf("{\"what\": \"small unet fwd\", \"dt\": \"%s\", \"img_s\": %.2f}\n", type, double(batch) / forward);
  std::printf("{\"what\": \"small unet fwd+bwd\", \"dt\": \"%s\", \"img_s\": %.2f}\n", type, double(batch) / both);
}

// Stable Diffusion's largest: two images, 8 heads.
template <class P>
void attention_of_tokens() {
  using T = typename P::compute;
  struct {
    const char* what;
    i64 tokens, keys, d;
  } const cases[] = {{"self 4096 d40", 4096, 4096, 40}, {"cross 77 d40", 4096, 77, 40}, {"self 1024 d80", 1024, 1024, 80}};
  for (const auto& c : cases) {
    const auto q = normals<T, Cpu>(Shape<3>(2, c.tokens, 8 * c.d)), k = normals<T, Cpu>(Shape<3>(2, c.keys, 8 * c.d)),
               v = normals<T, Cpu>(Shape<3>(2, c.keys, 8 * c.d));
    const double s = time_it<Cpu>([&] { attention(q, k, v, 8); }, 1, 5).median;
    std::printf("{\"what\": \"attention %s\", \"dt\": \"%s\", \"ms\": %.2f, \"gflop_s\": %.1f}\n", c.what, name(dtype_of<T>),
                1e3 * s, AttentionGeometry{2, 8, c.tokens, c.keys, c.d}.flops() / s / 1e9);
  }
}

// Stable Diffusion 1.5: a step of the U-Net for two images of 512 pixels, and the other networks.
template <class P>
void stable_diffusion() {
  const auto say = [](const char* what, double s) {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"what\": \"%s\", \"dt\": \"%s\", \"s\": %.3f, \"peak_mib\": %ld}\n", what, name(dtype_of<typename P::compute>),
                s, usage.ru_maxrss / 1024);
    std::fflush(stdout);
  };
  {
    const LatentUNet<Cpu, P> unet(2);
    say("sd1.5 unet b2 64x64", time_it<Cpu>(unet, 1, 2).median);
  }
  Pool<Cpu>::common().trim();
  const LatentAutoencoder<Cpu, P> vae(1);
  say("vae decode 512 b1", time_it<Cpu>([&] { vae.decode(); }, 1, 2).median);
  say("vae encode 512 b1", time_it<Cpu>([&] { vae.encode(); }, 1, 2).median);
  const PromptEncoder<Cpu, P> text(2);
  say("clip vit-l text b2", time_it<Cpu>(text, 1, 3).median);
}

// Processes that are busy until this one ends, as many as there are cores.
void be_busy() {
  for (int i = 0; i < omp_get_num_procs(); ++i)
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (volatile bool forever = true; forever;) {
      }
    }
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
  if (wanted("attention")) attention_of_tokens<P>();
  if (wanted("sd")) stable_diffusion<P>();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> which(argv + 1, argv + argc);
  if (std::erase(which, "beside")) be_busy();
  if (which.empty()) which = {"r18", "unet"};
  const Neighbours neighbours;
  all<Precision<float>>(which);
  if (cpu::has_bf16()) all<Precision<bf16>>(which);
}
