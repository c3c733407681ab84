// The device cases of arrays.hpp on the GPU.
#include <mindgap/cuda/library.hpp>

#include "tests/cuda/parity.hpp"
#include "tests/device_cases/arrays.hpp"

BOOST_AUTO_TEST_SUITE(arrays)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::array_cases<mindgap::Cpu>(), mindgap::test::array_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
