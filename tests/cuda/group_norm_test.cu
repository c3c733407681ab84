// The device cases of group_norm.hpp on the GPU.
#include "tests/cuda/parity.hpp"
#include "tests/device_cases/group_norm.hpp"

BOOST_AUTO_TEST_SUITE(group_norm)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::group_norm_cases<mindgap::Cpu>(), mindgap::test::group_norm_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
