// Parity: the device cases on the GPU against the CPU.
#pragma once

#include <mindgap/cuda/runtime.hpp>

#include "tests/device_cases/case.hpp"
#include <boost/test/unit_test.hpp>

namespace mindgap {

inline void compare_with_cpu(const std::vector<test::DeviceCase>& cpu, const std::vector<test::DeviceCase>& cuda) {
  for (size_t i = 0; i < cpu.size(); ++i) BOOST_TEST_CONTEXT(cpu[i].name) {
      try {
        BOOST_TEST(test::largest_difference(cuda[i].run(), cpu[i].run()) <= cpu[i].tolerance);
      } catch (const Error& error) {
        BOOST_ERROR(error.what());
      }
    }
}

}  // namespace mindgap
