// Compiled twice into one program, for any x86-64 and for this machine (COMPUTED names the function): what either computes.
#include <mindgap/autograd/pointwise.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/ops/batch_norm.hpp>
#include <mindgap/ops/layer_norm.hpp>
#include <mindgap/ops/matmul.hpp>
#include <mindgap/ops/softmax.hpp>

using namespace mindgap;

namespace own {

// y = x^2 + x, by a kernel of the program's own.
struct Polynomial {
  float* y;
  const float* x;
  i64 size;

  template <Block B>
  void operator()(B& block) const {
    for (i64 i = block.rank(); i < size; i += block.size()) y[i] = x[i] * x[i] + x[i];
  }
};

}  // namespace own

std::vector<float> COMPUTED() {
  std::vector<float> out;
  const auto append = [&](const auto& tensor) {
    for (float value : tensor.to_vector()) out.push_back(value);
  };
  const Tensor<float, 2> x({16, 24});
  for (i64 i = 0; i < x.size(); ++i) x.data()[i] = 0.01f * float(i * 37 % 401) - 2.f;
  const auto ones = Tensor<float, 1>::full(Shape<1>(24), 1.f);

  append(softmax(x));
  append(layer_norm(x, ones, ones, 1e-5f).y);
  const auto s = batch_statistics(x, 1e-5f);
  append(batch_norm(epilogues::silu, x, s.mean, s.rstd, ones, ones));
  append(linear(x, x));  // in mindgap::glue
  Tape tape;
  const auto v = variable(tape, x);
  backward(sum(pointwise([](auto a, auto b) { return exp(a) * sigmoid(b); }, v, row(ones))));
  append(v.gradient());
  const Tensor<float, 2> y(x.shape());
  Runtime<Cpu>::launch(Grid{1}, own::Polynomial{y.data(), x.data(), x.size()});
  append(y);
  return out;
}
