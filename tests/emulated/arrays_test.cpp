// The device cases of arrays.hpp on fibers, and dropout in a step that is replayed.
#include "tests/device_cases/arrays.hpp"

#include <mindgap/autograd/dropout.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/emulated/library.hpp>

#include "tests/emulate.hpp"

using namespace mindgap;

BOOST_AUTO_TEST_SUITE(arrays)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) { emulate_cases(test::array_cases<Cpu>(), test::array_cases<Emulated>()); }

// Every run draws by the key that was set before it, forward and backward.
BOOST_AUTO_TEST_CASE(dropout_in_a_replay) {
  Runtime<Emulated>::threads = 32;
  const auto x = test::random_on<Emulated>(Shape<1>(100), 1);
  const auto y = Tensor<float, 1, Emulated>::zeros({100}), gradient = Tensor<float, 1, Emulated>::zeros({100});
  HostInput<Stream, Emulated> key(1);
  Replay<Emulated> replay("test");
  Runtime<Emulated>::launches = 0;
  for (u64 step = 0; step < 5; ++step) {
    const Stream stream(3, "a place", step);
    key.set(std::span(&stream, 1));
    replay.run([&] {
      Tape tape;
      const auto v = variable(tape, x);
      const auto dropped = dropout(v, 0.5f, key);
      y.copy_from(dropped.value());
      backward(sum(dropped));
      gradient.copy_from(v.gradient());
    });
    const auto on_host = x.to<Cpu>();
    BOOST_TEST(same_bits(y.to<Cpu>(), dropout(on_host, 0.5f, stream)));
    BOOST_TEST(same_bits(gradient.to<Cpu>(), dropout(Tensor<float, 1>::full({100}, 1.f), 0.5f, stream)));
  }
  BOOST_TEST(Runtime<Emulated>::launches == 3);
}
// A key of the host would stay that of the run that was recorded.
BOOST_AUTO_TEST_CASE(a_replay_takes_no_key_of_the_host) {
  const auto x = test::random_on<Emulated>(Shape<1>(100), 1);
  Replay<Emulated> replay("test");
  const auto run = [&] { replay.run([&] { dropout(x, 0.5f, Stream(3, "a place")); }); };
  run(), run();
  BOOST_CHECK_THROW(run(), Error);
}

BOOST_AUTO_TEST_SUITE_END()
