// A CUDA kernel stepped through on a machine without a GPU.
//
// On the fiber executor every thread of a block is a fiber that runs until the next barrier; their order is drawn from a seed,
// anew after each barrier. So a kernel can print, be stopped in a debugger, and be wrong in front of witnesses.
#include <mindgap/kernels/fiber_block.hpp>

#include <cstdio>

using namespace mindgap;

// Reverses a row through shared memory: each thread writes one element and reads another thread's. In between all must meet.
template <bool correct>
struct Reverse {
  float* y;        // [rows, 3]
  const float* x;  // [rows, 3]
  i64 shared_bytes() const { return shared_size(3 * i64(sizeof(float))); }
  template <Block B>
  void operator()(B& block) const {
    const i64 c = block.rank(), first = 3 * block.id();
    float* row = block.template shared<float>(3);
    std::printf("thread %d of block %d writes\n", block.rank(), int(block.id()));
    row[c] = x[first + c];
    if (correct || c > 0) block.sync();  // the wrong one lets thread 0 run ahead
    std::printf("thread %d reads\n", block.rank());
    y[first + c] = row[2 - c];
  }
};

int main() {
  float x[] = {1, 2, 3, 4, 5, 6}, y[6];
  run_fibers({.blocks = 2, .threads = 3}, Reverse<true>{y, x}, /*seed*/ 7);
  if (y[0] != 3 || y[2] != 1 || y[3] != 6) return 1;
  try {
    run_fibers({.blocks = 2, .threads = 3}, Reverse<false>{y, x}, /*seed*/ 7);
  } catch (const Error& report) {  // says which threads wait at which line, and which do not
    return std::puts(report.what()) < 0 || std::fflush(stdout) != 0;
  }
  return 1;  // the wrong kernel went unnoticed
}
