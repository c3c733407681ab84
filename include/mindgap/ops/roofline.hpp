// What this machine can do at most, measured: the rooflines of a profile come from it.
#pragma once

#include <mindgap/ops/matmul.hpp>

namespace mindgap {

// Bytes a second of a copy of 256 MiB, read and written; additions and multiplications a second of one square product in T. The
// best of five each; a fraction of a second.
template <Device D, Real T>
Roofline measured_roofline() {
  const auto best = [](const auto& work) {
    double least = std::numeric_limits<double>::infinity();
    for (int run = 0; run < 6; ++run) {
      typename Runtime<D>::Event begin, end;
      begin.record();
      work();
      end.record();
      if (const double seconds = 1e-3 * end.since(begin); run > 0) least = std::min(least, seconds);
    }
    return least;
  };
  const i64 bytes = i64(256) << 20, n = Runtime<D>::asynchronous ? 8192 : 1024;
  const auto from = Tensor<u8, 1, D>::zeros(Shape<1>(bytes)), to = from.clone();
  const double copy = best([&] { to.copy_from(from); });
  const auto a = Tensor<T, 3, D>::zeros(Shape<3>(1, n, n));
  const double product = best([&] { matmul(a, a); });
  return {2. * double(bytes) / copy, 2. * double(n) * double(n) * double(n) / product};
}

}  // namespace mindgap
