// Emulation in Boost.Test: emulate() of emulated/emulate.hpp fails a test case by its Error; emulate_cases() takes device cases
// (tests/device_cases/), whole ops on tensors of the device Emulated, and goes on after a failure.
#pragma once

#include <mindgap/emulated/emulate.hpp>
#include <mindgap/emulated/runtime.hpp>
#include <mindgap/kernels/fiber_watch.hpp>

#include "tests/device_cases/case.hpp"
#include <boost/test/unit_test.hpp>

namespace mindgap {

// Threads of a block (0: what the op asks for) and seed.
using EmulatedRuns = std::vector<std::pair<int, int>>;

// cases: a function template's instances for Cpu and for Emulated. Block sizes: one warp, an odd number of warps, and
// what the op asks for; each with a seed of its own.
inline void emulate_cases(const std::vector<test::DeviceCase>& cpu, const std::vector<test::DeviceCase>& emulated,
                          const EmulatedRuns& runs = {{32, 0}, {96, 1}, {0, 2}}) {
  for (size_t i = 0; i < cpu.size(); ++i) {
    const test::Outputs expected = cpu[i].run();
    for (const auto& [threads, seed] : runs) BOOST_TEST_CONTEXT(cpu[i].name << ", " << threads << " threads, seed " << seed) {
        Runtime<Emulated>::threads = threads;
        Runtime<Emulated>::seed = u64(seed);
        try {
          BOOST_TEST(test::largest_difference(emulated[i].run(), expected) <= cpu[i].tolerance);
        } catch (const Error& error) {
          BOOST_ERROR(error.what());
        }
      }
  }
}

}  // namespace mindgap
