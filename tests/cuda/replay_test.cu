// Replayed jobs on the GPU against the CPU. Training small networks amplifies rounding, so only the first steps are compared: the
// third is the one that is captured, the fourth and fifth are launches.
#include <mindgap/cuda/library.hpp>

#include "tests/cuda/parity.hpp"
#include "tests/device_cases/replay.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

template <Device D, class T>
Outputs first_losses() {
  const std::vector<float> losses = train_student<D, T>().losses;
  return {{losses.begin(), losses.begin() + 3}};
}

template <Device D>
std::vector<DeviceCase> job_cases() {
  std::vector<DeviceCase> cases{{"student f32", 1e-3, [] { return first_losses<D, float>(); }},
                                {"generator f32", 5e-3, [] { return Outputs{train_generator<D>()}; }}};
  for (SamplerKind kind : sampler_kinds)
    for (const Guidance& guidance : {Guidance(1), Guidance(2), Guidance(2, 0.7)})
      cases.push_back({text(name(kind), ", guidance ", guidance.scale, ", rescale ", guidance.rescale), 2e-3,
                       [=] { return sample_images<D>(kind, guidance); }});
  return cases;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(replay)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) { compare_with_cpu(job_cases<Cpu>(), job_cases<Cuda>()); }

// The same run twice gives the same bits, in each type; on a streamed set, too.
BOOST_AUTO_TEST_CASE(is_deterministic) {
  const auto same = [](const Trained& a, const Trained& b) { return a.losses == b.losses && a.state == b.state; };
  BOOST_TEST(same(train_student<Cuda, float>(), train_student<Cuda, float>()));
  BOOST_TEST(same(train_student<Cuda, bf16>(), train_student<Cuda, bf16>()));
  BOOST_TEST(same(train_student<Cuda, bf16>(), train_student<Cuda, bf16>({}, "", streamed(small_set(26)))));
  BOOST_TEST(same(train_student<Cuda, f16>(), train_student<Cuda, f16>()));
  BOOST_TEST(train_generator<Cuda>() == train_generator<Cuda>());
}

// Training, evaluation with it, and another batch size between the launches leave each other's memory alone.
BOOST_AUTO_TEST_CASE(side_by_side) {
  constexpr auto add = [](auto x, auto y) { return x + y; };
  const auto total = Tensor<float, 1, Cuda>::zeros(Shape<1>(1000)), ones = Tensor<float, 1, Cuda>::full(Shape<1>(1000), 1.f);
  Replay<Cuda> first("first"), second("second");
  for (int k = 0; k < 6; ++k)
    for (Replay<Cuda>* replay : {&first, &second})
      replay->run([&] {
        const auto temporary = pointwise(add, total, ones);
        total.copy_from(temporary);
      });
  BOOST_TEST(total.to_vector() == std::vector<float>(1000, 12.f));
}

BOOST_AUTO_TEST_CASE(refuses_the_host) {
  const auto x = Tensor<float, 1, Cuda>::zeros(Shape<1>(4));
  Replay<Cuda> replay("a step");
  for (int k = 0; k < 2; ++k) replay.run([] {});
  BOOST_CHECK_THROW(replay.run([&] { x.to_vector(); }), Error);
  for (int k = 0; k < 4; ++k) replay.run([&] { Runtime<Cuda>::zero(x.data(), x.bytes()); });
  BOOST_TEST(x.to_vector() == std::vector<float>(4, 0.f));
}

BOOST_AUTO_TEST_SUITE_END()
