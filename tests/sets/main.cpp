// Objects of two instruction sets and mindgap::glue in one program: both compute the same.
#include <cmath>
#include <cstdio>
#include <vector>

std::vector<float> computed_plainly(), computed_natively();

int main() {
  const std::vector<float> plain = computed_plainly(), native = computed_natively();
  if (plain.empty() || plain.size() != native.size()) return std::puts("not the same number of values"), 1;
  double first_row = 0;  // of the softmax
  for (size_t i = 0; i < 24; ++i) first_row += double(plain[i]);
  if (std::abs(first_row - 1) > 1e-6) return std::printf("softmax: a row sums to %g\n", first_row), 1;
  for (size_t i = 0; i < plain.size(); ++i)
    if (!(std::abs(plain[i] - native[i]) <= 1e-5f * (1 + std::abs(native[i]))))
      return std::printf("value %zu: %g in a plain object, %g in a native one\n", i, double(plain[i]), double(native[i])), 1;
  std::printf("%zu values\n", plain.size());
}
