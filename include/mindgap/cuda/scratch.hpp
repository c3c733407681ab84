// What every library call of the GPU is given besides its operands: the stream that it is queued on, and whom it borrows
// memory from.
#pragma once

#include <mindgap/core/dtype.hpp>

struct CUstream_st;

namespace mindgap::cuda {

using Stream = CUstream_st*;

// Device memory for one call. The caller keeps it until the call has been queued; whatever is queued later on the same stream
// may have it again. A captured graph keeps the addresses, so a caller that captures serves them from memory of the graph's
// own. A call asks at most once, and only for what its plan needs.
struct Scratch {
  void* (*allocate)(void* context, i64 bytes);
  void* context;

  void* operator()(i64 bytes) const { return bytes > 0 ? allocate(context, bytes) : nullptr; }
};

}  // namespace mindgap::cuda
