// A permutation names every axis; operands of concat and a table of embeddings have their ranks.
// expect: mindgap: one number for each axis of the tensor
// expect: mindgap: concat wants two operands of one rank
// expect: mindgap: embedding wants ids, an i64 tensor \[N\], and a table \[R, C\]
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/layout.hpp>

using namespace mindgap;

void slips(Var<float, 4> images, Tensor<float, 2> rows, Tensor<float, 3> deeper, Tensor<i64, 1> ids) {
  permute(images, {3, 1, 2});
  concat(rows, deeper, 0);
  embedding(ids, deeper);
}
