// Operands of concat are of one rank; a table of embeddings is a matrix.
// expect: mindgap: concat wants two operands of one rank
// expect: mindgap: embedding wants ids, an i64 tensor \[N\], and a table \[R, C\]
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/embedding.hpp>

using namespace mindgap;

void slips(Tensor<float, 2> rows, Tensor<float, 3> deeper, Tensor<i64, 1> ids) {
  concat(rows, deeper, 0);
  embedding(ids, deeper);
}
