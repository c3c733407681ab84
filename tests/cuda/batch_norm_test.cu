// The device cases of batch_norm.hpp on the GPU.
#include "tests/cuda/parity.hpp"
#include "tests/device_cases/batch_norm.hpp"

BOOST_AUTO_TEST_SUITE(batch_norm)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::batch_norm_cases<mindgap::Cpu>(), mindgap::test::batch_norm_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
