// The device cases of batch_norm.hpp and conv_moments.hpp on the GPU.
#include <mindgap/cuda/library.hpp>

#include "tests/cuda/parity.hpp"
#include "tests/device_cases/batch_norm.hpp"
#include "tests/device_cases/conv_moments.hpp"

BOOST_AUTO_TEST_SUITE(batch_norm)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) {
  mindgap::compare_with_cpu(mindgap::test::batch_norm_cases<mindgap::Cpu>(), mindgap::test::batch_norm_cases<mindgap::Cuda>());
}

BOOST_AUTO_TEST_CASE(gathered_moments_agree_with_cpu) {
  using namespace mindgap;
  compare_with_cpu(test::conv_moments_cases<Cpu>(), test::conv_moments_cases<Cuda>());
}

BOOST_AUTO_TEST_SUITE_END()
