// A copy of a layer would share weights until one of both is trained.
// expect: deleted function
#include <mindgap/nn/layers.hpp>

using namespace mindgap;

int main() {
  const Linear<Cpu, Precision<float>> layer(2, 3);
  const auto copy = layer;
}
