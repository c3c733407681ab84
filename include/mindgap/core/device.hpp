// Where a tensor lives. A device is a type because it selects code; the runtime of each device is in cpu/ and cuda/.
#pragma once

#include <concepts>

namespace mindgap {

struct Cpu {
  static constexpr const char* name = "cpu";
};
struct Cuda {
  static constexpr const char* name = "cuda";
};
// A GPU in a test: the CPU's memory, and kernels run by the fiber executor. Specialised in emulated/.
struct Emulated {
  static constexpr const char* name = "emulated";
};

template <class D>
concept Device = std::same_as<D, Cpu> || std::same_as<D, Cuda> || std::same_as<D, Emulated>;

// Allocation, copies and launches of one device: core/backend.hpp has the contract. Specialised in cpu/ and cuda/runtime.hpp.
template <Device D>
struct Runtime;

// The products (convolution, matrix product, attention) of one device. Specialised in cpu/ and cuda/library.hpp.
template <Device D>
struct Library;

}  // namespace mindgap
