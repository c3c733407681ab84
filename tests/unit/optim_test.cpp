// Optimizers against torch.optim (2.11, CPU, f32), averages, clipping, schedules against closed forms, and exact resumption.
//
// The numbers of torch come from this, printed with %.9g; `make` is the optimizer's constructor with the options of the case:
//
//   w = Parameter(torch.arange(6.).reshape(2, 3) / 4 - 0.5); b = Parameter(torch.tensor([0.5, -1.0]))
//   o = make([{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}])
//   for k in range(3):
//     for p in (w, b): p.grad = (torch.arange(float(p.numel())) * 0.3 - 0.4 * k + 0.1).reshape(p.shape)
//     o.step()
#include <mindgap/autograd/linear.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/optim/optimizer.hpp>
#include <mindgap/optim/schedule.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <memory>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

struct Net {
  Parameter<2, Cpu, Precision<float>> w;
  Parameter<1, Cpu, Precision<float>> b;
  MINDGAP_MODULE(w, b)

  Net() : w(Shape(2, 3)), b(Shape<1>(2)) {
    init::fill(w, [](i64 i) { return float(i) / 4 - 0.5f; });
    init::fill(b, [](i64 i) { return i == 0 ? 0.5f : -1.f; });
  }
  std::vector<float> values() const {
    std::vector<float> out = w.value.to_vector();
    for (float x : b.value.to_vector()) out.push_back(x);
    return out;
  }
  std::vector<float> gradients() const {
    std::vector<float> out = w.slot->gradient().to_vector();
    for (float x : b.slot->gradient().to_vector()) out.push_back(x);
    return out;
  }
  // The gradients of step k.
  void backward(int k) {
    for_each_parameter(*this, [&](const std::string&, auto& p) {
      p.slot->write([&](const auto& out) {
        for (i64 i = 0; i < out.size(); ++i) out.data()[i] = float(i) * 0.3f - 0.4f * float(k) + 0.1f;
      });
    });
  }
};

void check_values(const std::vector<float>& got, const std::vector<float>& expected, float tolerance = 1e-6f) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    BOOST_TEST(std::abs(got[i] - expected[i]) <= tolerance, "element " << i << ": " << got[i] << ", torch " << expected[i]);
}

std::vector<float> trained_by_sgd(Sgd<Cpu>::Options options) {
  Net net;
  FlatParameters<Cpu> parameters(net, 0.1f);
  Sgd<Cpu> sgd(parameters, options);
  for (int k = 0; k < 3; ++k) {
    net.backward(k);
    sgd.step(0.1f);
  }
  return net.values();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(optim)

BOOST_AUTO_TEST_CASE(sgd_of_torch) {
  check_values(trained_by_sgd({.momentum = 0.f}), {-0.395250499f, -0.241778746f, -0.0883070156f, 0.0651647374f, 0.218636483f,
                                                   0.372108251f, 0.590000033f, -0.99999994f});
  check_values(trained_by_sgd({.momentum = 0.9f}), {-0.372210503f, -0.302978724f, -0.23374702f, -0.164515272f, -0.0952835381f,
                                                    -0.0260517709f, 0.599900067f, -1.06840003f});
  check_values(trained_by_sgd({.momentum = 0.9f, .nesterov = true}), {-0.280597061f, -0.287691712f, -0.294786423f, -0.301881075f,
                                                                      -0.308975846f, -0.316070527f, 0.679910004f, -1.06156003f});
}

// betas (0.9, 0.99), eps 1e-6, lr 0.01
BOOST_AUTO_TEST_CASE(adamw_of_torch) {
  Net net;
  FlatParameters<Cpu> parameters(net, 0.1f);
  AdamW<Cpu> adamw(parameters, {.beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-6f});
  for (int k = 0; k < 3; ++k) {
    net.backward(k);
    adamw.step(0.01f);
  }
  check_values(net.values(), {-0.496186316f, -0.265081137f, -0.0252335817f, 0.221293703f, 0.469646782f, 0.718506992f,
                              0.502300143f, -1.0158571f});
}

// torch.nn.utils.clip_grad_norm_([w, b], limit) of the gradients of k = 1, whose norm is 1.69705629; then a step of rate 1.
BOOST_AUTO_TEST_CASE(clipping_of_torch) {
  for (float limit : {0.5f, 2.f, 0.f}) {
    Net net;
    FlatParameters<Cpu> parameters(net);
    Sgd<Cpu> sgd(parameters, {.momentum = 0.f});
    GradientScale<Cpu> scale(parameters, {.limit = limit});
    const auto before = net.values();
    net.backward(1);
    scale.measure();
    BOOST_TEST(std::abs(scale.norm().item() - 1.69705629f) < 1e-6f);
    const std::vector<float> clipped = {-0.0883883014f, 0.f,          0.0883883014f,  0.176776603f,
                                        0.265164942f,   0.353553206f, -0.0883883014f, 0.f};
    const std::vector<float> whole = net.gradients();
    sgd.prepare(1.f);
    sgd.step(&scale);
    for (size_t i = 0; i < before.size(); ++i) {
      const float wanted = limit == 0.5f ? clipped[i] : whole[i];
      BOOST_TEST(std::abs(before[i] - net.values()[i] - wanted) < 1e-6f);
    }
  }
}

// The scale of torch.amp.GradScaler: gradients come multiplied by it; a step with an infinite one is left out and halves it;
// 2,000 good steps double it. The file of a run keeps it.
BOOST_AUTO_TEST_CASE(loss_scale) {
  Net net, plain;
  FlatParameters<Cpu> parameters(net), plain_parameters(plain);
  Sgd<Cpu> sgd(parameters, {.momentum = 0.9f}), plain_sgd(plain_parameters, {.momentum = 0.9f});
  GradientScale<Cpu> scale(parameters, {.limit = 0, .loss_scale = true});
  BOOST_TEST(scale.seed().item() == 65536.f);
  const auto step = [&](float times, bool apply) {
    net.backward(1);
    for (const auto& segment : parameters.segments())
      for (i64 i = 0; i < segment.size; ++i) parameters.gradients().data()[segment.offset + i] *= times;
    scale.measure();
    sgd.prepare(0.01f);
    sgd.step(&scale);
    if (!apply) return;
    plain.backward(1);
    plain_sgd.step(0.01f);
  };
  step(65536.f, true);
  BOOST_TEST(net.values() == plain.values());  // powers of two are exact
  BOOST_TEST(std::abs(scale.norm().item() - 1.69705629f) < 1e-6f);
  const auto before = net.values();
  step(INFINITY, false);
  step(NAN, false);
  BOOST_TEST(net.values() == before);
  BOOST_TEST((scale.loss_scale().to_vector() == std::vector<float>{16384.f, 0.f, 2.f}));
  step(16384.f, true);
  BOOST_TEST(net.values() == plain.values());  // the momentum was left alone too
  for (int k = 1; k < 2000; ++k) step(16384.f, true);
  BOOST_TEST(scale.loss_scale().to_vector()[0] == 32768.f);
  BOOST_TEST(net.values() == plain.values());
  BOOST_TEST(scale.items().size() == 1u);
}

BOOST_AUTO_TEST_CASE(decay_is_for_matrices_only) {
  Net net;
  FlatParameters<Cpu> parameters(net, 0.5f);
  Sgd<Cpu> sgd(parameters, {.momentum = 0.f});
  const auto before = net.values();
  sgd.step(0.1f);  // no gradient was written: zero
  const auto after = net.values();
  for (size_t i = 0; i < 6; ++i) BOOST_TEST(std::abs(after[i] - before[i] * 0.95f) < 1e-7f);
  BOOST_TEST(after[6] == before[6]);
  BOOST_TEST(after[7] == before[7]);
}

BOOST_AUTO_TEST_CASE(rates_of_layers) {
  Net net;
  FlatParameters<Cpu> parameters(net);
  parameters.set_group("w", 0.f, 0.f);
  Sgd<Cpu> sgd(parameters, {.momentum = 0.f});
  const auto before = net.values();
  net.backward(0);
  sgd.step(1.f);
  for (size_t i = 0; i < 6; ++i) BOOST_TEST(net.values()[i] == before[i]);
  BOOST_TEST(std::abs(net.values()[6] - (before[6] - 0.1f)) < 1e-7f);
  BOOST_CHECK_THROW(parameters.set_group("fc", 2.f, 0.f), Error);
  BOOST_CHECK_THROW(parameters.set_group("b", -1.f, 0.f), Error);
}

BOOST_AUTO_TEST_CASE(average_in_closed_form) {
  Net net;
  FlatParameters<Cpu> parameters(net);
  Sgd<Cpu> sgd(parameters, {.momentum = 0.f});
  Ema<Cpu> ema(parameters);
  std::vector<double> expected;
  for (float x : net.values()) expected.push_back(x);
  for (int k = 0; k < 3; ++k) {
    net.backward(k);
    sgd.prepare(0.1f);
    ema.prepare(0.8f);
    sgd.step(nullptr, &ema);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = 0.8 * expected[i] + 0.2 * double(net.values()[i]);
  }
  const auto trained = net.values();
  ema.swap();
  check_values(net.values(), {expected.begin(), expected.end()}, 1e-6f);
  ema.swap();
  BOOST_TEST(net.values() == trained);
}

BOOST_AUTO_TEST_CASE(nothing_to_train_is_an_error) {
  Net net;
  freeze(net, {"*"});
  BOOST_CHECK_THROW(FlatParameters<Cpu>{net}, Error);
}

BOOST_AUTO_TEST_CASE(frozen_parameters_are_left_out) {
  Net net;
  freeze(net, {"w"});
  FlatParameters<Cpu> parameters(net, 0.1f);
  BOOST_TEST(parameters.segments().size() == 1u);
  BOOST_TEST(parameters.segments()[0].name == "b");
}

// A matrix with decay and momentum, frozen after two steps, just after a backward wrote its gradient: it has no share in the
// norm, and neither it nor its state nor its average moves. Unfrozen, it goes on as if the steps between had not been.
BOOST_AUTO_TEST_CASE(freezing_takes_effect_at_any_time) {
  const auto check = [](auto make) {
    Net net, twin;
    FlatParameters<Cpu> parameters(net, 0.1f), twins(twin, 0.1f);
    auto optimizer = make(parameters), twin_optimizer = make(twins);
    Ema<Cpu> ema(parameters), twin_ema(twins);
    GradientScale<Cpu> scale(parameters, {});
    const auto step = [](Net& n, int k, auto& o, Ema<Cpu>& average) {
      n.backward(k);
      o.prepare(0.1f);
      average.prepare(0.9f);
      o.step(nullptr, &average);
    };
    const auto of_w = [](auto& o, Ema<Cpu>& average, const Net& n) {
      std::vector<std::vector<float>> out{n.w.value.to_vector()};
      for (const auto& items : {o.items(), average.items()})
        for (const StateItem& item : items)
          if (item.name.ends_with(".w")) out.push_back(item.get());
      return out;
    };
    for (int k : {0, 1}) step(net, k, optimizer, ema), step(twin, k, twin_optimizer, twin_ema);
    const auto before = of_w(optimizer, ema, net);
    BOOST_TEST(before.size() >= 3u);  // the value, its average and the optimizer's state

    net.backward(2);
    double square = 0;
    for (float g : net.b.slot->gradient().to_vector()) square += double(g) * double(g);
    freeze(net, {"w"});
    scale.measure();
    BOOST_TEST(std::abs(scale.norm().item() - std::sqrt(square)) < 1e-6);
    for (int k : {2, 3}) {
      const auto b = net.b.value.to_vector();
      step(net, k, optimizer, ema);
      BOOST_TEST((of_w(optimizer, ema, net) == before));
      BOOST_TEST(net.b.value.to_vector() != b);
    }

    unfreeze(net, {"w"});
    step(net, 4, optimizer, ema);
    BOOST_TEST((of_w(optimizer, ema, net) != before));
    return std::pair(of_w(optimizer, ema, net), (step(twin, 4, twin_optimizer, twin_ema), of_w(twin_optimizer, twin_ema, twin)));
  };
  const auto [sgd, as_if] = check([](auto& p) { return Sgd<Cpu>(p, {.momentum = 0.9f, .nesterov = true}); });
  BOOST_TEST((sgd == as_if));
  check([](auto& p) { return AdamW<Cpu>(p, {}); });
}

// What was frozen before has no place in the buffers.
BOOST_AUTO_TEST_CASE(unfreezing_what_no_optimizer_has) {
  Net net;
  freeze(net, {"w"});
  FlatParameters<Cpu> parameters(net);
  Sgd<Cpu> sgd(parameters, {});
  net.b.slot->write([](const auto& out) { std::fill_n(out.data(), out.size(), 1.f); });
  sgd.step(0.1f);
  unfreeze(net, {"w"});
  BOOST_CHECK_EXCEPTION(sgd.step(0.1f), Error, [](const Error& e) {
    const std::string said = e.what();
    return said.find("unfrozen that no optimizer has") != std::string::npos && said.find("parameter w") != std::string::npos;
  });
}

// Its buffers hold all that it needs: the network may move, or end first.
BOOST_AUTO_TEST_CASE(the_network_may_move_or_end) {
  const auto trained = [](bool move) {
    auto net = std::make_unique<Net>();
    FlatParameters<Cpu> parameters(*net, 0.1f);
    Sgd<Cpu> sgd(parameters, {});
    net->backward(0);
    if (move) net = std::make_unique<Net>(std::move(*net));
    sgd.step(0.1f);
    if (move) net->backward(1);
    const auto values = net->values();
    net.reset();
    sgd.step(0.1f);
    parameters.forget_gradients();
    return values;
  };
  BOOST_TEST(trained(true) == trained(false));
}

BOOST_AUTO_TEST_CASE(parameters_have_one_owner) {
  Net net;
  {
    const FlatParameters<Cpu> first(net, 0.1f);
    BOOST_CHECK_EXCEPTION(FlatParameters<Cpu>{net}, Error,
                          [](const Error& e) { return std::string(e.what()).find("two FlatParameters") != std::string::npos; });
  }
  BOOST_TEST(FlatParameters<Cpu>(net).segments().size() == 2u);
}

// What was recorded before would write to gradients that no optimizer reads.
BOOST_AUTO_TEST_CASE(an_optimizer_comes_before_the_loss) {
  Net net;
  Tape tape;
  const auto x = constant(tape, random_tensor(Shape(4, 3), 1));
  const auto loss = mean(linear(x, net.w.as(x), net.b.as(x)));
  const FlatParameters<Cpu> parameters(net);
  BOOST_CHECK_EXCEPTION(backward(loss), Error, [](const Error& e) {
    return std::string(e.what()).find("was given to an optimizer after an op had used it") != std::string::npos;
  });
  backward(mean(linear(x, net.w.as(x), net.b.as(x))));
  BOOST_TEST(net.b.slot->gradient().data()[0] == 0.5f);
}

// It was a number that nobody had written.
BOOST_AUTO_TEST_CASE(a_scale_that_was_not_measured) {
  Net net;
  FlatParameters<Cpu> parameters(net);
  GradientScale<Cpu> scale(parameters, {.limit = 1});
  Sgd<Cpu> sgd(parameters, {});
  sgd.prepare(0.1f);
  net.backward(0);
  const auto says = [](const char* words) {
    return [=](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; };
  };
  BOOST_CHECK_EXCEPTION(sgd.step(&scale), Error, says("was not measured"));
  scale.measure();
  sgd.step(&scale);
  net.backward(1);
  BOOST_CHECK_EXCEPTION(sgd.step(&scale), Error, says("was not measured"));  // what was, are the gradients of before
  scale.measure();
  sgd.step(&scale);
  BOOST_CHECK_EXCEPTION((GradientScale<Cpu>(parameters, {.limit = -1})), Error, says("clipped to a norm of -1"));
  BOOST_CHECK_THROW((GradientScale<Cpu>(parameters, {.limit = NAN})), Error);
}

// They went into the weights.
BOOST_AUTO_TEST_CASE(numbers_without_sense) {
  const auto says = [](const char* words) {
    return [=](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; };
  };
  Net net;
  for (float wrong : {NAN, -5.f, INFINITY})
    BOOST_CHECK_EXCEPTION((FlatParameters<Cpu>{net, wrong}), Error, says("a weight decay of "));
  FlatParameters<Cpu> parameters(net);
  const auto before = net.values();
  for (float wrong : {NAN, -1.f, INFINITY}) {
    BOOST_CHECK_EXCEPTION(parameters.set_group("w", wrong, 0.f), Error, says("a group's share of the learning rate of "));
    BOOST_CHECK_EXCEPTION(parameters.set_group("w", 1.f, wrong), Error, says("a weight decay of "));
    BOOST_CHECK_EXCEPTION((Sgd<Cpu>(parameters, {.momentum = wrong})), Error, says("sgd: a momentum of "));
    BOOST_CHECK_EXCEPTION((AdamW<Cpu>(parameters, {.beta1 = wrong})), Error, says("adamw: a beta of "));
    BOOST_CHECK_EXCEPTION((AdamW<Cpu>(parameters, {.beta2 = wrong})), Error, says("adamw: a beta of "));
    BOOST_CHECK_EXCEPTION((AdamW<Cpu>(parameters, {.epsilon = wrong})), Error, says("adamw: an epsilon of "));
    Sgd<Cpu> sgd(parameters, {});
    AdamW<Cpu> adamw(parameters, {});
    net.backward(0);
    BOOST_CHECK_EXCEPTION(sgd.step(wrong), Error, says("a learning rate of "));
    BOOST_CHECK_EXCEPTION(adamw.step(wrong), Error, says("a learning rate of "));
  }
  BOOST_CHECK_EXCEPTION((Sgd<Cpu>(parameters, {.momentum = 1.f})), Error, says("sgd: a momentum of 1"));
  Ema<Cpu> ema(parameters);
  for (float wrong : {NAN, -0.1f, 7.f}) BOOST_CHECK_EXCEPTION(ema.prepare(wrong), Error, says("an average's decay of "));
  BOOST_TEST(net.values() == before);
}

// A scale was another network's, and an average ended in memory that was not its own.
BOOST_AUTO_TEST_CASE(partners_of_other_parameters) {
  Net net, other;
  freeze(other, {"w"});
  FlatParameters<Cpu> parameters(net), fewer(other);
  Sgd<Cpu> sgd(parameters, {});
  AdamW<Cpu> adamw(parameters, {});
  Ema<Cpu> ema(fewer);
  GradientScale<Cpu> scale(fewer, {.limit = 1});
  const auto before = net.values();
  const auto refused = [&](auto step) {
    BOOST_CHECK_EXCEPTION(
        step(), Error, [](const Error& e) { return std::string(e.what()).find("is of other parameters") != std::string::npos; });
  };
  net.backward(0);
  sgd.prepare(0.1f), adamw.prepare(0.1f), ema.prepare(0.9f);
  scale.measure();
  refused([&] { sgd.step(nullptr, &ema); });
  refused([&] { adamw.step(nullptr, &ema); });
  refused([&] { sgd.step(&scale); });
  BOOST_TEST(net.values() == before);
}

// Three steps, a file, three more: the same bits as six steps, for both optimizers and the average.
BOOST_AUTO_TEST_CASE(resumption_is_exact) {
  const auto path = std::filesystem::temp_directory_path() / ("mindgap_optim_" + std::to_string(getpid()) + ".safetensors");
  const auto run = [&](auto make, int from, int to, bool load_first) {
    Net net;
    FlatParameters<Cpu> parameters(net, 0.1f);
    auto optimizer = make(parameters);
    Ema<Cpu> ema(parameters);
    auto items = state_items(net);
    for (auto& item : optimizer.items()) items.push_back(item);
    for (auto& item : ema.items()) items.push_back(item);
    if (load_first) read_state(path, items);
    for (int k = from; k < to; ++k) {
      net.backward(k);
      optimizer.prepare(0.01f);
      ema.prepare(0.9f);
      optimizer.step(nullptr, &ema);
    }
    if (!load_first) write_state(path, items);
    auto out = net.values();
    ema.swap();
    for (float x : net.values()) out.push_back(x);
    return out;
  };
  const auto check = [&](auto make) {
    const auto whole = run(make, 0, 6, false);
    run(make, 0, 3, false);
    BOOST_TEST(run(make, 3, 6, true) == whole);
  };
  check([](auto& parameters) { return Sgd<Cpu>(parameters, {.momentum = 0.9f, .nesterov = true}); });
  check([](auto& parameters) { return AdamW<Cpu>(parameters, {}); });
  std::filesystem::remove(path);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(schedule)

void check_rates(const Schedule& s, const std::vector<double>& expected) {
  for (size_t k = 0; k < expected.size(); ++k)
    BOOST_TEST(std::abs(s.at(i64(k)) - expected[k]) < 1e-8, "step " << k << ": " << s.at(i64(k)) << ", expected " << expected[k]);
}

BOOST_AUTO_TEST_CASE(warm_up) {
  BOOST_TEST(warmup_steps(0.1, 85) == 8);
  BOOST_TEST(warmup_steps(0, 85) == 0);
  BOOST_TEST(warmup_steps(1, 85) == 1);
  BOOST_TEST(warmup_steps(200, 85) == 200);
  for (double wrong : {-0.1, 1.5, double(NAN)}) BOOST_CHECK_THROW(warmup_steps(wrong, 85), Error);
  check_rates({.kind = Schedule::Kind::constant, .steps = 9, .warmup = 3}, {0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1});
}
BOOST_AUTO_TEST_CASE(cosine) {
  const double r = std::sqrt(0.5);
  check_rates({.kind = Schedule::Kind::cosine, .steps = 4}, {1, 0.5 + 0.5 * r, 0.5, 0.5 - 0.5 * r});
  check_rates({.kind = Schedule::Kind::cosine, .steps = 4, .floor = 0.2}, {1, 0.2 + 0.8 * (0.5 + 0.5 * r), 0.6});
  check_rates({.kind = Schedule::Kind::cosine, .steps = 4, .warmup = 1}, {0.5, 0.5 + 0.5 * r, 0.5});
}
BOOST_AUTO_TEST_CASE(steps) {
  check_rates({.kind = Schedule::Kind::step, .steps = 9, .gamma = 0.1}, {1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01});
}
// torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
BOOST_AUTO_TEST_CASE(one_cycle_of_torch) {
  check_rates({.kind = Schedule::Kind::one_cycle, .steps = 10},
              {0.04, 0.52, 1, 0.950484632, 0.811745654, 0.611262022, 0.388741978, 0.188258346, 0.049519368, 4e-06});
}
BOOST_AUTO_TEST_CASE(short_runs_have_finite_rates) {
  for (auto kind : {Schedule::Kind::constant, Schedule::Kind::cosine, Schedule::Kind::step, Schedule::Kind::one_cycle})
    for (i64 steps : {1, 2, 3, 4})
      for (i64 k = 0; k < steps; ++k) {
        const double rate = Schedule{.kind = kind, .steps = steps}.at(k);
        BOOST_TEST((rate >= 0 && rate <= 1), steps << " steps, step " << k << ": " << rate);
      }
}
BOOST_AUTO_TEST_CASE(numbers_that_make_none) {
  const auto refused = [](const Schedule& s, const char* words) {
    BOOST_CHECK_EXCEPTION(s.check(), Error,
                          [&](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; });
  };
  refused({.steps = 0}, "a schedule of 0 steps");
  refused({.steps = 9, .warmup = -7}, "warm-up -7");
  refused({.steps = 9, .floor = NAN}, "floor nan");
  refused({.steps = 9, .gamma = -1}, "gamma -1");
  refused({.kind = Schedule::Kind::one_cycle, .steps = 9, .warmup = 5}, "a warm-up of 5 steps and the schedule one_cycle");
  Schedule{.kind = Schedule::Kind::one_cycle, .steps = 9}.check();
}
BOOST_AUTO_TEST_CASE(names) {
  BOOST_TEST((Schedule::kind_of("one_cycle") == Schedule::Kind::one_cycle));
  BOOST_CHECK_THROW(Schedule::kind_of("linear"), Error);
}

BOOST_AUTO_TEST_SUITE_END()
