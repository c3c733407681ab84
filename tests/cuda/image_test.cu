// The device cases of image.hpp on the GPU.
#include "tests/cuda/parity.hpp"
#include "tests/device_cases/image.hpp"

BOOST_AUTO_TEST_SUITE(image)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::image_cases<mindgap::Cpu>(), mindgap::test::image_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
