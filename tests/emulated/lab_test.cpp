// The versions of the kernel lab on fibers.
#include "tests/device_cases/lab.hpp"

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(lab)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::lab_cases<mindgap::Cpu>(), mindgap::test::lab_cases<mindgap::Emulated>());
}

BOOST_AUTO_TEST_SUITE_END()
