// The device cases of batch_norm.hpp on fibers.
#include "tests/device_cases/batch_norm.hpp"

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(batch_norm)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::batch_norm_cases<mindgap::Cpu>(), mindgap::test::batch_norm_cases<mindgap::Emulated>());
}

BOOST_AUTO_TEST_SUITE_END()
