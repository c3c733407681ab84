// The device cases of group_norm.hpp on fibers.
#include "tests/device_cases/group_norm.hpp"

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(group_norm)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::group_norm_cases<mindgap::Cpu>(), mindgap::test::group_norm_cases<mindgap::Emulated>());
}

BOOST_AUTO_TEST_SUITE_END()
