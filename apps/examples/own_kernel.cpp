// A kernel of one's own, and its test on a machine without a GPU.
//
// One body against a Block serves the CPU, where a block is one thread and the loops are vectorised, and a GPU. On the fiber
// executor every thread of a block is a fiber, run in random order between barriers: what would go wrong on a GPU goes wrong
// here.
#include <mindgap/emulated/emulate.hpp>
#include <mindgap/emulated/runtime.hpp>

#include <cmath>
#include <cstdio>

using namespace mindgap;

// y[r, c] = x[r, c] / sum over c of |x[r, c]|     one block a row; reads x twice, writes y once
template <bool correct = true>
struct DivideBySum {
  float* y;        // [rows, cols]
  const float* x;  // [rows, cols]
  i64 cols;

  i64 shared_bytes() const { return shared_size(sizeof(float)); }
  template <Block B>
  MG_HD void operator()(B& block) const {
    float sum = 0, *reciprocal = block.template shared<float>(1);
    const i64 begin = block.id() * cols, end = begin + cols;
    for (i64 i = begin + block.rank(); i < end; i += block.size()) sum += fabsf(x[i]);
    sum = block.reduce(sum, Sum{});  // over all threads
    if (block.rank() == 0) *reciprocal = 1.f / sum;
    if (correct) block.sync();  // the wrong one lets threads read what the first has not written yet
    for (i64 i = begin + block.rank(); i < end; i += block.size()) y[i] = x[i] * *reciprocal;
  }
};

// The op on tensors of any device.
template <Device D>
Tensor<float, 2, D> divided_by_sum(const Tensor<float, 2, D>& x) {
  const Tensor<float, 2, D> y(x.shape());
  Runtime<D>::launch(Grid{x.rows(), /*threads*/ 128}, DivideBySum<>{y.data(), x.data(), x.cols()});
  return y;
}

int main() {
  const Tensor<float, 2> x({5, 300}), y(x.shape());
  for (i64 i = 0; i < x.size(); ++i) x.data()[i] = Stream(/*seed*/ 1, "example").normal(u64(i));
  const auto serial = divided_by_sum(x), team = divided_by_sum(x.to<Emulated>()).to<Cpu>();
  float difference = 0;
  for (i64 i = 0; i < x.size(); ++i) difference = std::max(difference, fabsf(serial.data()[i] - team.data()[i]));
  std::printf("serially and as a team the values differ by %g\n", double(difference));

  // What a test does: several block sizes and orders of the threads against the serial run.
  emulate({x.rows()}, DivideBySum<>{y.data(), x.data(), x.cols()}, 1e-6, y);
  try {
    emulate({x.rows()}, DivideBySum<false>{y.data(), x.data(), x.cols()}, 1e-6, y);
  } catch (const Error& report) {
    std::puts(report.what());
    return difference < 1e-6f ? 0 : 1;
  }
  return 1;  // the wrong kernel went unnoticed
}
