// Pooling is of images.
// expect_first: mindgap: this op wants images \[N, H, W, C\]
#include <mindgap/ops/pool.hpp>

using namespace mindgap;

Tensor<float, 2> pool(const Tensor<float, 2>& x) { return max_pool2d(x, 2, 2, 0); }
