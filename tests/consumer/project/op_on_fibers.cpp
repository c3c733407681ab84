// A whole op on the device of the tests, from another project.
#include <mindgap/emulated/library.hpp>
#include <mindgap/ops/matmul.hpp>

using namespace mindgap;

int main() {
  const Tensor<float, 2> x({3, 100});
  for (i64 i = 0; i < x.size(); ++i) x.data()[i] = float(i);
  const auto square = linear(x.to<Emulated>(), x.to<Emulated>()).to<Cpu>();
  return square.to_vector() == linear(x, x).to_vector() ? 0 : 1;
}
