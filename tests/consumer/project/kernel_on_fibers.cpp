// A test of a kernel from another project: the right one passes, and one without its barrier does not.
#include <mindgap/emulated/emulate.hpp>

#include <iostream>

using namespace mindgap;

// y[r] = x[r], the row reversed, through shared memory
template <bool correct>
struct Reverse {
  float* y;        // [rows, cols]
  const float* x;  // [rows, cols]
  i64 cols;

  i64 shared_bytes() const { return shared_size(cols * i64(sizeof(float))); }
  template <Block B>
  void operator()(B& block) const {
    const i64 first = block.id() * cols;
    float* row = block.template shared<float>(cols);
    for (i64 c = block.rank(); c < cols; c += block.size()) row[c] = x[first + c];
    if (correct) block.sync();
    for (i64 c = block.rank(); c < cols; c += block.size()) y[first + c] = row[cols - 1 - c];
  }
};

int main() {
  const Tensor<float, 2> x({3, 100}), y(x.shape());
  for (i64 i = 0; i < x.size(); ++i) x.data()[i] = float(i);
  emulate({3}, Reverse<true>{y.data(), x.data(), 100}, 0, y);
  try {
    emulate({3}, Reverse<false>{y.data(), x.data(), 100}, 0, y);
  } catch (const Error& error) {
    std::cout << error.what() << "\n";
    return 0;
  }
  return 1;
}
