// The device cases of image.hpp on fibers.
#include "tests/device_cases/image.hpp"

#include "tests/emulate.hpp"

BOOST_AUTO_TEST_SUITE(image)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::emulate_cases(mindgap::test::image_cases<mindgap::Cpu>(), mindgap::test::image_cases<mindgap::Emulated>());
}

BOOST_AUTO_TEST_SUITE_END()
