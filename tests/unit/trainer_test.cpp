// The trainer: accumulation, groups, averages, resuming to the bit, what it refuses.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/train/trainer.hpp>

#include "tests/files.hpp"
#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

struct Net {
  Linear<Cpu, Precision<float>> first{6, 5}, second{5, 3};
  MINDGAP_MODULE(first, second)

  template <class X>
  auto operator()(const X& x) {
    constexpr auto f = [](auto v) { return silu(v); };
    return second(pointwise(f, first(x)));
  }
};

// Rows of a table of 24, `rows` a batch, told by where they begin.
struct Run {
  Net net;
  HostInput<i64, Cpu> begin{1};
  Tensor<float, 2> x = random_tensor(Shape(24, 6), 1), y = random_tensor(Shape(24, 3), 2);
  i64 rows;
  Trainer<Cpu> trainer;

  explicit Run(const TrainerOptions& options, i64 rows_ = 4, u64 seed = 1)
      : net(initialised(seed)), rows(rows_), trainer(net, task(), options, begin) {}

  TrainingTask<Cpu> task() {
    return {[this](i64 batch) {
              const i64 first = batch * rows % 24;
              begin.set({&first, 1});
              return rows;
            },
            [this](Tape& tape) {
              const i64 first = *begin.data();
              return mse_loss(net(constant(tape, x.slice(first, first + rows))), y.slice(first, first + rows));
            }};
  }
  static Net initialised(u64 seed) {
    Net out;
    initialise(out, seed);
    return out;
  }
  std::vector<float> losses(i64 until) {
    std::vector<float> out;
    while (trainer.done() < until)
      for (const TrainingRecord& record : trainer.step()) out.push_back(record.loss);
    return out;
  }
  std::vector<float> weights() {
    std::vector<float> out;
    for (const StateItem& item : state_items(net))
      for (float v : item.get()) out.push_back(v);
    return out;
  }
};

TrainerOptions adamw(i64 steps) {
  TrainerOptions out;
  out.schedule = {Schedule::Kind::cosine, steps, 2};
  out.optimizer = AdamWOptions{};
  out.learning_rate = 0.01, out.weight_decay = 0.1, out.gradient_clip = 0.5, out.ema_decay = 0.9;
  return out;
}

// The file with other metadata and without its hash, as older versions wrote it; `without`: an entry to leave out.
void write_as_before(const fs::path& file, const Metadata& metadata, const std::string& without = "") {
  const Safetensors there(file);
  std::vector<SafetensorsSource> sources;
  for (const SafetensorsEntry& entry : there.entries())
    if (entry.name != without) sources.push_back({entry.name, entry.dtype(), entry.shape, entry.bytes});
  write_safetensors(file, sources, metadata);
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  BOOST_REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double(a[i]) - double(b[i])));
  return largest;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(trainer)

// Three batches of four whose mean gradient makes a step are one batch of twelve.
BOOST_AUTO_TEST_CASE(accumulates) {
  for (OptimizerOptions optimizer : {OptimizerOptions(SgdOptions{0.9f, true}), OptimizerOptions(AdamWOptions{})}) {
    TrainerOptions options = adamw(10);
    options.optimizer = optimizer;
    Run whole(options, 12);
    options.accumulation = 3;
    Run parts(options, 4);
    BOOST_TEST(distance(whole.losses(10), parts.losses(10)) < 1e-5);
    BOOST_TEST(distance(whole.weights(), parts.weights()) < 1e-4);
    BOOST_TEST(distance(whole.weights(), Run(options).weights()) > 1e-2);  // it did train
  }
}

BOOST_AUTO_TEST_CASE(resumes_to_the_bit) {
  const Folder folder;
  const auto file = folder.path / "checkpoint.safetensors";
  Run whole(adamw(12));
  whole.losses(12);
  Run first(adamw(12));
  first.losses(5);
  first.trainer.save(file, "settings 1");
  Run second(adamw(12), 4, /*seed*/ 2);
  second.trainer.resume(file, "settings 1");
  BOOST_TEST(second.trainer.done() == 5);
  second.losses(12);
  BOOST_TEST((second.weights() == whole.weights()));
  const auto averaged = [](Run& run) { return run.trainer.with_average([&] { return run.weights(); }); };
  BOOST_TEST((averaged(second) == averaged(whole)));
  BOOST_TEST((averaged(whole) != whole.weights()));

  BOOST_CHECK_THROW(second.trainer.resume(file, "settings 2"), Error);
  BOOST_CHECK_THROW(Run(adamw(4)).trainer.resume(file, "settings 1"), Error);  // of step 5 of 4
}

// A step that is no number, or none that the run can be at, is named with its file; nothing of it is taken.
BOOST_AUTO_TEST_CASE(steps_of_a_checkpoint) {
  const Folder folder;
  const auto file = folder.path / "checkpoint.safetensors";
  Run first(adamw(12));
  first.losses(5);
  Run second(adamw(12), 4, /*seed*/ 2);
  const std::vector<float> before = second.weights();
  for (const char* step : {"abc", "2x", "-1", "", " 5", "+5", "5.0", "13", "99999999999999999999"}) {
    write_state(file, first.trainer.items(), {{"step", step}, {"settings", "settings 1"}});
    const std::string said = error_of([&] { second.trainer.resume(file, "settings 1"); });
    for (const std::string& part : {text("'step' of the file's metadata is '", step, "'"), file.string(),
                                    std::string("from 0 to 12"), std::string("remedy")})
      BOOST_TEST(said.find(part) != said.npos, said);
  }
  write_state(file, first.trainer.items(), {{"settings", "settings 1"}});
  REFUSED(second.trainer.resume(file, "settings 1"), "lacks 'step'");
  // The optimizer counts its steps too.
  write_state(file, first.trainer.items(), {{"step", "4"}, {"settings", "settings 1"}});
  REFUSED(second.trainer.resume(file, "settings 1"), "of step 4, its optimizer of step 5");
  write_as_before(file, {{"step", "5"}, {"settings", "settings 1"}}, "steps");
  REFUSED(second.trainer.resume(file, "settings 1"), "no tensor 'steps'");
  BOOST_TEST((second.weights() == before));
  BOOST_TEST(second.trainer.done() == 0);
}

// Older checkpoints have six digits a number, the path of a file before its hash, and the names of the data.
BOOST_AUTO_TEST_CASE(settings_of_older_checkpoints) {
  const Folder folder;
  const auto file = folder.path / "checkpoint.safetensors";
  const std::string a(64, 'a'), b(64, 'b');
  const std::string now = "images " + a + "\nfreeze stem fc\nwarmup 1234567\nrate 0.1000004\ninit " + b + "\nseed 1234567";
  const std::string older =
      "data x y\nimages " + a + "\nfreeze stem fc\nwarmup 1.23457e+06\nrate 0.1\ninit /a b/c " + b + "\nseed 1234567";
  Run first(adamw(12));
  first.losses(5);
  first.trainer.save(file, now);
  Run second(adamw(12));
  const auto resumes = [&](const std::string& settings) {
    write_as_before(file, {{"step", "5"}, {"settings", settings}});
    const std::string said = error_of([&] { second.trainer.resume(file, now); });
    BOOST_TEST((said == "no error" || said.find("other settings") != said.npos), said);
    return said == "no error";
  };
  BOOST_TEST(resumes(older));
  BOOST_TEST(resumes(now));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = older;
    return changed.replace(changed.find(from), from.size(), to);
  };
  BOOST_TEST(!resumes(with("rate 0.1", "rate 0.2")));
  BOOST_TEST(!resumes(with("seed 1234567", "seed 1234568")));
  BOOST_TEST(!resumes(with(a, b)));
  BOOST_TEST(!resumes(with("c " + b, "c " + a)));
  BOOST_TEST(!resumes(with("stem fc", "fc")));
  BOOST_TEST(!resumes(with("rate 0.1\n", "")));
  // Today's are compared to the last digit.
  first.trainer.save(file, older);
  REFUSED(second.trainer.resume(file, now), "other settings");
}

// A group whose rate is 0 stays, its weights do not decay; the rest learns.
BOOST_AUTO_TEST_CASE(groups) {
  TrainerOptions options = adamw(6);
  options.groups = {{"first", 0, 0}};
  Run run(options);
  const std::vector<float> before = run.net.first.weight.master.to_vector(), rest = run.net.second.weight.master.to_vector();
  run.losses(6);
  BOOST_TEST((run.net.first.weight.master.to_vector() == before));
  BOOST_TEST((run.net.second.weight.master.to_vector() != rest));
  options.groups = {{"third", 0, 0}};
  BOOST_CHECK_THROW(Run{options}, Error);
}

// All gradients pass by between gradient and update.
BOOST_AUTO_TEST_CASE(before_update) {
  Run run(adamw(4));
  const std::vector<float> before = run.weights();
  i64 calls = 0;
  run.trainer.before_update = [&](const Tensor<float, 1>& gradients) {
    ++calls;
    std::fill_n(gradients.data(), gradients.size(), 0.f);
  };
  TrainerOptions still = adamw(4);
  still.weight_decay = 0;
  run.losses(4);
  BOOST_TEST(calls == 4);
  Run other(still);
  other.trainer.before_update = run.trainer.before_update;
  other.losses(4);
  BOOST_TEST((other.weights() == before));  // no gradient, no decay
}

BOOST_AUTO_TEST_CASE(refusals) {
  TrainerOptions options = adamw(0);
  BOOST_CHECK_THROW(Run{options}, Error);
  options = adamw(3);
  options.accumulation = 0;
  BOOST_CHECK_THROW(Run{options}, Error);
  BOOST_CHECK_THROW(optimizer_options("adam"), Error);
  const auto refused = [](auto change, const char* words) {
    TrainerOptions wrong = adamw(3);
    change(wrong);
    REFUSED(Run{wrong}, words);
  };
  for (double rate : {double(NAN), -1., 1e300}) refused([=](auto& o) { o.learning_rate = rate; }, "a learning rate of ");
  for (double decay : {double(NAN), -1., 1e300}) refused([=](auto& o) { o.weight_decay = decay; }, "a weight decay of ");
  for (double decay : {double(NAN), 2., 1., -1.}) refused([=](auto& o) { o.ema_decay = decay; }, "an average's decay of ");
  refused([](auto& o) { o.schedule.warmup = -7; }, "warm-up -7");
  refused([](auto& o) { o.schedule.kind = Schedule::Kind::one_cycle; }, "one_cycle, which has a warm-up of its own");
  Run run(adamw(3));
  run.x.data()[0] = NAN;
  BOOST_CHECK_EXCEPTION(run.losses(3), Error, [](const Error& error) {
    const std::string said = error.what();
    return said.find("NaN at step 0 of 3") != said.npos && said.find("lower learning rate") != said.npos;
  });
}

// It counted on, with rates of beyond the schedule.
BOOST_AUTO_TEST_CASE(steps_after_the_last) {
  Run run(adamw(2));
  run.losses(2);
  const std::vector<float> before = run.weights();
  REFUSED(run.trainer.step(), "trainer: all 2 steps are made");
  BOOST_TEST(run.trainer.done() == 2);
  BOOST_TEST((run.weights() == before));
}

// A checkpoint of the place where the network was would lack it.
BOOST_AUTO_TEST_CASE(a_network_that_was_moved_away) {
  const Folder folder;
  Run run(adamw(2));
  run.losses(1);
  const Net elsewhere = std::move(run.net);
  REFUSED(run.trainer.save(folder / "checkpoint.safetensors", ""), "it was moved away");
  BOOST_TEST(folder.names().empty());
}

// Norms are known where they are needed.
BOOST_AUTO_TEST_CASE(records) {
  for (double clip : {0., 0.5}) {
    TrainerOptions options = adamw(2);
    options.gradient_clip = clip;
    Run run(options);
    const auto records = run.trainer.step();
    BOOST_REQUIRE(records.size() == 1u);
    BOOST_TEST(records[0].step == 0);
    BOOST_TEST(std::isnan(records[0].gradient_norm) == (clip == 0));
    BOOST_TEST(records[0].learning_rate == run.trainer.learning_rate(0));
  }
}

BOOST_AUTO_TEST_SUITE_END()
