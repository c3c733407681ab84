// The device cases of loss.hpp on fibers.
#include "tests/device_cases/loss.hpp"

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(loss)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::loss_cases<mindgap::Cpu>(), mindgap::test::loss_cases<mindgap::Emulated>());
}

BOOST_AUTO_TEST_SUITE_END()
