// The device cases of pointwise.hpp on the GPU.
#include "tests/cuda/parity.hpp"
#include "tests/device_cases/pointwise.hpp"

BOOST_AUTO_TEST_SUITE(pointwise)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::pointwise_cases<mindgap::Cpu>(), mindgap::test::pointwise_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
