// What the host tells a step: where it lies, when it is sent, in how many copies, and that no step uses what was not sent.
#include <mindgap/core/host_input.hpp>

#include "tests/emulate.hpp"

using namespace mindgap;

namespace {

using Input = HostInput<float, Emulated>;
struct Pair {
  i64 a;
  float b;
};

i64 copies(const std::function<void()>& f) {
  const i64 before = Runtime<Emulated>::host_copies;
  f();
  return Runtime<Emulated>::host_copies - before;
}
std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}
bool says(const std::string& what, const char* part) { return what.find(part) != std::string::npos; }

// Something that is told two things.
struct Part {
  Input rate{1};
  HostInput<Pair, Emulated> pairs{3};
  template <class F>
  void each_input(F&& f) {
    f(rate), f(pairs);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(host_input)

BOOST_AUTO_TEST_CASE(alone) {
  Input input(3);
  BOOST_TEST(says(error_of([&] { input.data(); }), "were not sent"));
  const std::vector<float> three{1, 2, 3}, two{4, 5};
  BOOST_TEST(copies([&] { input.set(three); }) == 1);
  const float* place = input.data();
  BOOST_TEST(input.tensor().to_vector() == three);
  BOOST_TEST(copies([&] { input.set(two); }) == 1);
  BOOST_TEST(input.data() == place);
  BOOST_TEST(input.size() == 2);
  BOOST_TEST(input.tensor().to_vector() == two);
  BOOST_TEST(says(error_of([&] { input.set(std::vector<float>(4)); }), "4 values, there is room for 3"));
  BOOST_TEST(input.tensor().to_vector() == two);
  BOOST_TEST(Input(three).tensor().to_vector() == three);
}

BOOST_AUTO_TEST_CASE(rooms_that_no_memory_has) {
  for (i64 room : {i64(-3), i64(1) << 61, std::numeric_limits<i64>::max()})
    BOOST_TEST(says(error_of([&] { Input input(room); }), "input: room for "), room);
}

BOOST_AUTO_TEST_CASE(packed) {
  HostInput<i32, Emulated> numbers(5);
  Part part;
  const std::vector<i32> five{1, 2, 3, 4, 5};
  numbers.set(five);
  Part moved = std::move(part);
  const Part copy = moved;  // a handle to the same inputs, as tensors are
  PackedInputs<Emulated> inputs(numbers, moved);
  const float rate = 0.5f;
  const std::vector<Pair> pairs{{6, 7.f}, {8, 9.f}};
  const auto set = [&] { moved.rate.set({&rate, 1}), moved.pairs.set(pairs); };
  BOOST_TEST(copies(set) == 0);
  BOOST_TEST(says(error_of([&] { copy.rate.data(); }), "PackedInputs::send()"));
  BOOST_TEST(says(error_of([&] { numbers.tensor(); }), "PackedInputs::send()"));  // the buffer is sent as one
  BOOST_TEST(copies([&] { inputs.send(); }) == 1);
  BOOST_TEST(numbers.tensor().to_vector() == five);
  BOOST_TEST(copy.rate.tensor().item() == rate);
  BOOST_TEST(moved.pairs.size() == 2);
  BOOST_TEST(moved.pairs.data()[1].a == 8);
  BOOST_TEST(moved.pairs.data()[1].b == 9.f);
  const auto address = [](const auto* p) { return reinterpret_cast<std::uintptr_t>(p); };
  BOOST_TEST(address(numbers.data()) % 16 == 0u);
  BOOST_TEST(address(moved.rate.data()) - address(numbers.data()) == 32u);
  BOOST_TEST(address(moved.pairs.data()) - address(moved.rate.data()) == 16u);
  BOOST_TEST(says(error_of([&] { PackedInputs<Emulated>{numbers}; }), "packed already"));
}

// Errors in the steps of a replay, eager, captured and launched.
BOOST_AUTO_TEST_CASE(forgotten_in_a_replay) {
  Input input(1);
  PackedInputs<Emulated> inputs(input);
  Replay<Emulated> replay("a step");
  const auto seen = Tensor<float, 1, Emulated>::zeros(Shape<1>(1));
  for (int k = 0; k < 6; ++k) {
    const float value = float(k);
    const auto run = [&] { replay.run([&] { seen.copy_from(input.tensor()); }); };
    if (k != 2) {  // an error in the step that is captured starts the replay over
      input.set({&value, 1});
      BOOST_TEST(says(error_of(run), "were not sent"));
    }
    input.set({&value, 1});
    inputs.send();
    run();
    BOOST_TEST(seen.item() == value);
  }
  BOOST_TEST(replay.recorded());
}

// A step that was captured before its inputs moved does not read the place that they left.
BOOST_AUTO_TEST_CASE(packed_too_late) {
  Input input(1);
  const float value = 1;
  input.set({&value, 1});
  Replay<Emulated> replay("a step");
  const auto run = [&] { replay.run([&] { input.data(); }); };
  for (int k = 0; k < 3; ++k) run();
  PackedInputs<Emulated> inputs(input);
  inputs.send();
  BOOST_TEST(says(error_of(run), "pack inputs before a step reads them"));
}

BOOST_AUTO_TEST_SUITE_END()
