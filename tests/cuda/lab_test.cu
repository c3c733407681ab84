// The versions of the kernel lab on the GPU.
#include "tests/cuda/parity.hpp"
#include "tests/device_cases/lab.hpp"

BOOST_AUTO_TEST_SUITE(lab)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::lab_cases<mindgap::Cpu>(), mindgap::test::lab_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
