// core/stop.hpp: whoever waits for an evaluation, a frozen prefix or an image can leave before the batch is through.
#include <mindgap/diffusion/image_sampler.hpp>
#include <mindgap/study/training.hpp>

#include "tests/files.hpp"

using namespace mindgap;

namespace {

using P = Precision<float>;

Dataset grey_images(i64 count) {
  const auto images = Tensor<u8, 4, Cpu>::zeros(Shape<4>(count, 8, 8, 1));
  return Dataset(images, Tensor<i64, 1, Cpu>::zeros(Shape<1>(count)), {"a", "b", "c"});
}

struct Left {};

// How often f asks before it is done, having been left wherever it could.
template <class F>
i64 places(F&& f) {
  for (i64 most = 0;; ++most) {
    i64 asked = 0;
    const StopHook hook([&] {
      if (asked++ == most) throw Left();
    });
    try {
      f();
    } catch (const Left&) {
      continue;
    }
    return most;
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(stop)

BOOST_AUTO_TEST_CASE(evaluations_and_prefixes) {
  ResNet<Cpu, P> net(ResNetConfig::make("resnet18", 4, 1, 3, Stem::small), 1);
  const Dataset set = grey_images(12);
  const StudentData<Cpu, P> whole(set, evaluation_options(12));
  BOOST_TEST(places([&] { evaluate(net, whole); }) >= net.unit_count());  // more than once in a batch
  const Evaluation before = evaluate(net, whole);
  BOOST_TEST(before.images == 12);
  const LoaderOptions fours = evaluation_options(4);
  BOOST_TEST(places([&] { StudentData<Cpu, P>(net, 2, set, fours); }) == 3);
  BOOST_TEST(places([&] { reestimate_statistics(net, {"*"}, set, fours); }) == 3);
}

BOOST_AUTO_TEST_CASE(steps_of_a_sampler) {
  const auto denoise = [](const Tensor<float, 4, Cpu>& x, const Tensor<float, 1, Cpu>&) { return x.clone(); };
  SchedulerConfig config;
  config.prediction_type = Prediction::sample;
  config.sampler = SamplerKind::ddim;
  const Sampler sampler(config, 7);
  const std::vector<ImageStreams> images{streams_of({1, 0, 0}, sampler)};
  BOOST_TEST(places([&] { sample<float, Cpu>(denoise, sampler, Shape<3>(8, 8, 1), images); }) == 7);
}

BOOST_AUTO_TEST_CASE(one_inside_another) {
  i64 outer = 0, inner = 0;
  StopHook::ask();  // nobody listens
  const StopHook first([&] { ++outer; });
  {
    const StopHook second([&] { ++inner; });
    StopHook::ask();
  }
  StopHook::ask();
  BOOST_TEST(outer == 1);
  BOOST_TEST(inner == 1);
}

BOOST_AUTO_TEST_SUITE_END()
