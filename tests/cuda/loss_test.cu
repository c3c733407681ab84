// The device cases of loss.hpp on the GPU.
#include "tests/cuda/parity.hpp"
#include "tests/device_cases/loss.hpp"

BOOST_AUTO_TEST_SUITE(loss)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::loss_cases<mindgap::Cpu>(), mindgap::test::loss_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
