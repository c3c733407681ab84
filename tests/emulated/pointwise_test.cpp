// The device cases of pointwise.hpp on fibers.
#include "tests/device_cases/pointwise.hpp"

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(pointwise)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::pointwise_cases<mindgap::Cpu>(), mindgap::test::pointwise_cases<mindgap::Emulated>());
}

BOOST_AUTO_TEST_SUITE_END()
