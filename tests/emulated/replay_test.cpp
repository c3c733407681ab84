// Replays: what a captured step computes, launch after launch, against the same steps run op by op, bit for bit; and
// what it refuses.
//
// The device Emulated keeps kernels with the arguments they were captured with, as a CUDA graph does: a number of the host that
// slipped into a step, a temporary that moved, or a copy that happens once shows as a wrong result here, without a GPU.
// Kernels run serially: these tests are about what is queued when.
#define MINDGAP_EMULATE_SERIALLY
#include "tests/device_cases/replay.hpp"

#include <mindgap/emulated/library.hpp>

#include "tests/emulate.hpp"
#include "tests/files.hpp"
#include <set>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// job() with every step run op by op: a profile is taken meanwhile.
template <class Job>
auto eagerly(const Job& job) {
  Runtime<Emulated>::launches = 0;
  Profile<Emulated>::start();
  auto result = job();
  Profile<Emulated>::stop();
  BOOST_TEST(Runtime<Emulated>::launches == 0);
  return result;
}

template <class T>
void compare(const TrainingOptions& options = {}, const std::string& freeze_pattern = "") {
  const auto job = [&] { return train_student<Emulated, T>(options, freeze_pattern); };
  const Trained eager = eagerly(job), replayed = job();
  // Two batch sizes: 15 and 5 steps, of which the first two of each are eager.
  BOOST_TEST(Runtime<Emulated>::launches == 13 + 3 + 18);  // gradients of two sizes, and updates
  BOOST_TEST(replayed.losses.size() == 20u);
  BOOST_TEST(replayed.losses == eager.losses);
  BOOST_TEST(largest_difference(replayed.state, eager.state) == 0);
  if constexpr (!std::is_same_v<T, f16>) {
    const std::vector<float> cpu = train_student<Cpu, T>(options, freeze_pattern).losses;
    for (size_t i = 0; i < 3; ++i) BOOST_TEST(std::abs(replayed.losses[i] - cpu[i]) < 1e-3);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(replay)

// A number of the host is read once, when the step is captured; what lies on the device is read at every launch.
BOOST_AUTO_TEST_CASE(what_a_step_reads) {
  constexpr auto plus = [](auto x, auto y, auto z) { return x + y + z; };
  const auto sum = Tensor<float, 1, Emulated>::zeros(Shape<1>(1)), device_number = Tensor<float, 1, Emulated>::zeros(Shape<1>(1));
  Replay<Emulated> replay("test");
  i64 counted = 0;
  std::vector<float> seen;
  for (int k = 1; k <= 5; ++k) {
    const float number = float(k);
    Runtime<Emulated>::from_host(device_number.data(), &number, sizeof number);
    replay.run([&] {
      pointwise_into(sum, plus, sum, scalar(device_number), value(100 * number));
      each_run([&counted] { ++counted; });
    });
    seen.push_back(sum.item());
  }
  // 101, 202, 303 eager or captured; then the host's 300 stays while the device's number moves on.
  BOOST_TEST((seen == std::vector<float>{101, 303, 606, 910, 1215}));
  BOOST_TEST(counted == 5);
  BOOST_TEST(replay.recorded());
  BOOST_TEST(!Replay<Cpu>("test").recorded());
}

// Tensors of a step lie in its arena, which gives its memory back to the common pool.
BOOST_AUTO_TEST_CASE(arenas) {
  Pool<Emulated>& common = Pool<Emulated>::common();
  const i64 before = common.bytes_used();
  const float* address = nullptr;
  std::set<const float*> places;
  Tensor<float, 1, Emulated> survivor;
  {
    Replay<Emulated> first("first"), second("second");
    for (int k = 0; k < 4; ++k)
      for (Replay<Emulated>* replay : {&first, &second})
        replay->run([&] {
          const Tensor<float, 1, Emulated> x(Shape<1>(1000)), y(Shape<1>(2000));
          Runtime<Emulated>::zero(x.data(), x.bytes());
          if (k >= 1) places.insert(x.data());
        });
    BOOST_TEST(places.size() == 2u);  // one in each arena, the same when captured
    BOOST_TEST(first.bytes() >= 12000);
    BOOST_TEST(common.bytes_used() - before == first.bytes() + second.bytes());
    const auto outside = Tensor<float, 1, Emulated>::zeros(Shape<1>(1000));
    address = outside.data();
    BOOST_TEST(places.count(address) == 0u);
    first.run([] {});
    // A tensor may outlive the arena that it came from.
    Replay<Emulated> third("third");
    third.run([] {});
    third.run([&] { survivor = Tensor<float, 1, Emulated>::zeros(Shape<1>(10)); });
  }
  BOOST_TEST(survivor.to_vector() == std::vector<float>(10, 0.f));
  survivor = {};
  BOOST_TEST(common.bytes_used() == before);
}

// Free blocks of other sizes make room where the system has none.
BOOST_AUTO_TEST_CASE(no_memory_left) {
  using Vector = Tensor<float, 1, Emulated>;
  Pool<Emulated>::common().trim();
  Runtime<Emulated>::blocks_left = 2;
  { const Vector a(Shape<1>(1000)), b(Shape<1>(2000)); }
  BOOST_TEST(Runtime<Emulated>::blocks_left == 0);
  {
    const Vector c(Shape<1>(3000)), d(Shape<1>(4000));
    BOOST_CHECK_THROW(Vector(Shape<1>(5000)), DeviceError);
  }
  Pool<Emulated>::common().trim();
  BOOST_TEST(Runtime<Emulated>::blocks_left == 2);
  Runtime<Emulated>::blocks_left = -1;
}

BOOST_AUTO_TEST_CASE(refusals) {
  const auto x = Tensor<float, 1, Emulated>::zeros(Shape<1>(4));
  const auto third_run = [&](auto step) {
    Replay<Emulated> replay("a step");
    replay.run([] {});
    replay.run([] {});
    const std::string said = error_of([&] { replay.run(step); });
    BOOST_TEST(!Runtime<Emulated>::capturing());
    // It starts over.
    int runs = 0;
    for (int k = 0; k < 4; ++k) replay.run([&] { ++runs; });
    BOOST_TEST(runs == 3);
    return said;
  };
  BOOST_TEST(third_run([&] { x.to_vector(); }).find("a copy to the host while a step is captured") != std::string::npos);
  BOOST_TEST(third_run([&] { Tensor<float, 1, Emulated>::full(Shape<1>(4), 1.f); }).find("its memory is sealed") !=
             std::string::npos);
  BOOST_TEST(third_run([&] { Runtime<Emulated>::synchronize(); }).find("waiting for the GPU") != std::string::npos);
  const std::string said = third_run([&] {
    const ModulePath in("layer1.0");
    const Tensor<float, 1, Emulated> more(Shape<1>(100000));
  });
  BOOST_TEST(said.find("a step: its memory is sealed, and a step now wants 400000 bytes more") != std::string::npos);
  BOOST_TEST(said.find("layer1.0") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(students_in_f32) { compare<float>(); }
BOOST_AUTO_TEST_CASE(students_with_clipped_gradients) {
  TrainingOptions options;
  options.gradient_clip = 0.5;
  compare<float>(options);
}
BOOST_AUTO_TEST_CASE(students_with_a_frozen_prefix) { compare<float>({}, "layer1"); }

// f16 starts from the same weights, and its loss scale settles.
BOOST_AUTO_TEST_CASE(students_in_f16) {
  compare<f16>();
  const Trained trained = train_student<Emulated, f16>();
  BOOST_TEST(std::abs(trained.losses[0] - train_student<Cpu, float>().losses[0]) < 0.02);
  const std::vector<double>& scale = trained.loss_scale;
  BOOST_TEST_REQUIRE(scale.size() == 3u);
  BOOST_TEST(scale[0] == std::ldexp(65536., -int(scale[2])));  // halved at each step left out
  BOOST_TEST(scale[2] < 20);
}

BOOST_AUTO_TEST_CASE(generators) {
  const Outputs eager{eagerly([] { return train_generator<Emulated>(); })}, replayed{train_generator<Emulated>()};
  BOOST_TEST(Runtime<Emulated>::launches == 2 * 4);  // of the gradient and the update
  BOOST_TEST(largest_difference(replayed, eager) == 0);
  BOOST_TEST(largest_difference(replayed, {train_generator<Cpu>()}) < 1e-3);
}

// A layer that is frozen between two steps, and given back later, moves as in steps that are run op by op, with a norm of its
// own: what was recorded is recorded anew.
BOOST_AUTO_TEST_CASE(freezing_between_steps) {
  using P = Precision<float>;
  const auto job = [](bool freezes) {
    TrainingOptions options = small_training();
    options.gradient_clip = 0.5;
    ResNet<Emulated, P> net(small_student(), 3);
    const StudentData<Emulated, P> batches(small_set(26), options.loader());
    auto run = student_trainer(net, batches, options);
    std::vector<float> out;
    std::vector<std::vector<float>> conv1;
    for (int k = 0; k < 18; ++k) {
      if (freezes && k == 6) freeze(net, {"conv1"});
      if (freezes && k == 12) unfreeze(net, {"conv1"});
      for (const TrainingRecord& record : run.step()) out.push_back(record.loss), out.push_back(record.gradient_norm);
      conv1.push_back(net.conv1.weight.value.to_vector());
    }
    for (const TrainingRecord& record : run.wait()) out.push_back(record.loss), out.push_back(record.gradient_norm);
    for (int k = 6; k < 12; ++k) BOOST_TEST((conv1[size_t(k)] == conv1[5]) == freezes);
    BOOST_TEST((conv1[17] != conv1[5]));
    return out;
  };
  const auto replayed = job(true);
  BOOST_TEST(Runtime<Emulated>::launches > 0);
  BOOST_TEST(replayed == eagerly([&] { return job(true); }));
  BOOST_TEST(replayed != job(false));
}

// The pixels of a streamed set come with the plan: a replayed step reads what was sent before it, as with resident ones.
BOOST_AUTO_TEST_CASE(streamed_sets) {
  const Trained resident = train_student<Emulated, float>();
  BOOST_TEST(Runtime<Emulated>::launches > 0);
  const Trained streams = train_student<Emulated, float>({}, "", streamed(small_set(26)));
  BOOST_TEST(streams.losses == resident.losses);
  BOOST_TEST(largest_difference(streams.state, resident.state) == 0);
  BOOST_TEST(train_generator<Emulated>(streamed(small_set(12))) == train_generator<Emulated>());
}

// What the host tells a step goes to the device in one copy, whether the step is replayed or not.
BOOST_AUTO_TEST_CASE(one_copy_a_step) {
  const auto copies = [](auto&& step) {
    const i64 before = Runtime<Emulated>::host_copies;
    step();
    return Runtime<Emulated>::host_copies - before;
  };
  const TrainingOptions options = small_training();
  ResNet<Emulated, Precision<float>> net(small_student(), 3);
  const StudentData<Emulated, Precision<float>> batches(small_set(26), options.loader()),
      streams(streamed(small_set(26)), options.loader());
  auto run = student_trainer(net, batches, options);
  ResNet<Emulated, Precision<float>> other(small_student(), 3);
  auto streamed_run = student_trainer(other, streams, options);
  GeneratorTrainer<Emulated, Precision<float>> trainer(small_generator(), small_set(12));
  for (int k = 0; k < 6; ++k) {
    BOOST_TEST(copies([&] { run.step(); }) == 1);
    BOOST_TEST(copies([&] { streamed_run.step(); }) == 1);
    BOOST_TEST(copies([&] { trainer.run.step(); }) == 1);
  }
}

// Two runs on one set of batches, in turn and at different steps, train as each does alone.
BOOST_AUTO_TEST_CASE(runs_that_share_their_batches) {
  using P = Precision<float>;
  const TrainingOptions options = small_training();
  const StudentData<Emulated, P> batches(small_set(26), options.loader());
  struct One {
    ResNet<Emulated, P> net;
    Trainer<Emulated> run;
    std::vector<float> losses;
    One(const StudentData<Emulated, P>& data, const TrainingOptions& o, u64 seed)
        : net(small_student(), seed), run(student_trainer(net, data, o)) {}
    bool step() {
      if (run.finished()) return false;
      for (const TrainingRecord& record : run.step()) losses.push_back(record.loss);
      return true;
    }
  };
  std::vector<std::vector<float>> alone;
  for (u64 seed : {3, 4}) {
    One one(batches, options, seed);
    while (one.step()) continue;
    alone.push_back(one.losses);
  }
  One first(batches, options, 3), second(batches, options, 4);
  for (int k = 0; k < 7; ++k) second.step();
  for (bool more = true; more;) {
    more = first.step();
    more |= second.step();
  }
  BOOST_TEST(first.losses.size() == 20u);
  BOOST_TEST(first.losses == alone[0]);
  BOOST_TEST(second.losses == alone[1]);
}

BOOST_AUTO_TEST_CASE(samplers) {
  for (SamplerKind kind : sampler_kinds)
    for (const Guidance& guidance : {Guidance(1), Guidance(2), Guidance(2, 0.7)})
      BOOST_TEST_CONTEXT(name(kind) << ", guidance " << guidance.scale << ", rescale " << guidance.rescale) {
        const auto job = [&] { return sample_images<Emulated>(kind, guidance); };
        const Outputs eager = eagerly(job), replayed = job();
        const i64 steps = kind == SamplerKind::pndm ? 5 : kind == SamplerKind::heun ? 7 : 4;
        BOOST_TEST(Runtime<Emulated>::launches == 2 * (2 * steps - 2));
        BOOST_TEST(largest_difference(replayed, eager) == 0);
        BOOST_TEST(largest_difference(replayed, sample_images<Cpu>(kind, guidance)) < 1e-3);
      }
}

// What a profile says: each op, shape and plan once, with its bytes and arithmetic; nothing is left of it afterwards.
BOOST_AUTO_TEST_CASE(profiles) {
  const Tensor<float, 4, Emulated> x = Tensor<float, 4, Emulated>::zeros(Shape<4>(2, 8, 8, 4)),
                                   w = Tensor<float, 4, Emulated>::zeros(Shape<4>(6, 3, 3, 4));
  Profile<Emulated>::start();
  for (int k = 0; k < 3; ++k) {
    const Op<Emulated> op("outer");  // what runs inside belongs to it
    conv2d(x, w, {}, {1, 1});
    noted_plan() = "forward 3";
    op.moves(x);
  }
  for (int k = 0; k < 3; ++k) conv2d(x, w, {}, {1, 1});
  conv2d(x, w, {}, {2, 1});
  const std::vector<ProfileLine> lines = Profile<Emulated>::stop();
  BOOST_TEST_REQUIRE(lines.size() == 3u);
  const auto line_of = [&](const std::string& op, i64 calls) -> const ProfileLine& {
    const auto found =
        std::find_if(lines.begin(), lines.end(), [&](const ProfileLine& line) { return line.op == op && line.calls == calls; });
    BOOST_TEST_REQUIRE((found != lines.end()));
    return *found;
  };
  const ProfileLine &outer = line_of("outer", 3), &stride1 = line_of("conv2d", 3), &stride2 = line_of("conv2d", 1);
  BOOST_TEST(outer.plan == "forward 3");
  BOOST_TEST(outer.bytes == 3 * 4 * 512);
  BOOST_TEST(outer.flops == 0);
  BOOST_TEST(stride1.plan == "");
  BOOST_TEST(stride2.shape == "f32 [2, 8, 8, 4] [6, 3, 3, 4] [2, 4, 4, 6]");
  BOOST_TEST(stride1.shape == "f32 [2, 8, 8, 4] [6, 3, 3, 4] [2, 8, 8, 6]");
  BOOST_TEST(stride1.bytes == 3 * 4 * (512 + 216 + 768));
  BOOST_TEST(stride1.flops == 3. * 2 * 768 * 36);
  const std::string table = profile_table(lines, {1e9, 1e12});
  BOOST_TEST(table.find("copies 1 GB/s, products 1000 GFLOP/s") != std::string::npos);
  BOOST_TEST(table.find(stride1.shape) != std::string::npos);
  BOOST_TEST(!Profile<Emulated>::running());
  conv2d(x, w, {}, {1, 1});
  BOOST_TEST(Profile<Emulated>::stop().empty());
}

BOOST_AUTO_TEST_SUITE_END()
