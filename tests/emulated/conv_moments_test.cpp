// The device cases of conv_moments.hpp on fibers. Their kernels take as many threads as they want, whatever a block is given; a
// missing barrier is found in any order of these (kernels/fiber_watch.hpp), so one order will do.
#include "tests/device_cases/conv_moments.hpp"

#include <mindgap/emulated/library.hpp>

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(conv_moments)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::conv_moments_cases<mindgap::Cpu>(),
                         mindgap::test::conv_moments_cases<mindgap::Emulated>(), {{0, 1}});
}

BOOST_AUTO_TEST_SUITE_END()
