// What all benchmarks share: a timer for each device, and random inputs.
#pragma once

#include <mindgap/core/random.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/cuda/runtime.hpp>
#include <mindgap/kernels/block.hpp>

#include <algorithm>
#include <vector>

namespace mindgap::bench {

// Seconds of one call.
struct Times {
  double median, least, greatest;
};

// Seconds of one call: of the host's clock, or between two events around what was queued on the GPU.
template <Device D, class F>
double seconds_of(F&& f) {
  typename Runtime<D>::Event begin, end;
  begin.record();
  f();
  end.record();
  return 1e-3 * end.since(begin);
}

template <Device D, class F>
Times time_it(F&& f, int warm, int count) {
  for (int i = 0; i < warm; ++i) f();
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) seconds.push_back(seconds_of<D>(f));
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

// y[i] = normal i of a stream                                    one block does `per_block` elements, a thread four at a time
template <class T>
struct Normals {
  static constexpr i64 per_block = 4096;

  T* y;  // [n]
  i64 n;
  Stream stream;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 begin = block.id() * per_block, end = begin + per_block < n ? begin + per_block : n;
    for (i64 i = begin + 4 * block.rank(); i < end; i += 4 * block.size()) {
      float z[4];
      stream.normals(u64(i / 4), z);
      for (i64 j = i; j < i + 4 && j < end; ++j) y[j] = T(z[j - i]);
    }
  }
};

template <class T, Device D, int N>
Tensor<T, N, D> normals(Shape<N> shape) {
  Tensor<T, N, D> x(shape);
  Runtime<D>::launch(Grid{(x.size() + Normals<T>::per_block - 1) / Normals<T>::per_block},
                     Normals<T>{x.data(), x.size(), Stream(0, "bench")});
  return x;
}

}  // namespace mindgap::bench
