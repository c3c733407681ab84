// Parity: the device cases on the GPU against the CPU.
#pragma once

#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/cuda/runtime.hpp>

#include "tests/device_cases/case.hpp"
#include <boost/test/unit_test.hpp>
#include <cstdio>

namespace mindgap {

// What one program has timed the next need not.
struct KeepAutotuneCache {
  ~KeepAutotuneCache() {
    try {
      cuda::save_autotune_cache();
    } catch (const Error& error) {  // the next program chooses again
      std::fprintf(stderr, "%s\n", error.what());
    }
  }
};
BOOST_GLOBAL_FIXTURE(KeepAutotuneCache);

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
