// The second part of the table of ops: sums, axes, elements by index, dropout, operators, multi-head attention. The makers of
// cases are above the table, as in tests/op_cases.hpp; a source of its own compiles beside that.
#include <mindgap/autograd/attention.hpp>
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/dropout.hpp>
#include <mindgap/autograd/gather.hpp>
#include <mindgap/autograd/operators.hpp>
#include <mindgap/autograd/reduce.hpp>

#include "tests/op_case.hpp"

namespace mindgap::test {
namespace {

// f(index) for every index of a shape, in order.
template <int N, class F>
void each_index(const Shape<N>& shape, F f) {
  Shape<N> at;
  for (i64 i = 0; i < shape.size(); ++i) {
    f(at);
    for (int k = N - 1; k >= 0 && ++at[k] == shape[k]; --k) at[k] = 0;
  }
}
// Where an index lies; an axis of one element has it for every index.
template <int N>
size_t place(const Shape<N>& shape, const Shape<N>& at) {
  i64 i = 0;
  for (int k = 0; k < N; ++k) i = i * shape[k] + (shape[k] == 1 ? 0 : at[k]);
  return size_t(i);
}

// ---- sums -------------------------------------------------------------------------------------------------------------
OpCase sum_over_case(bool mean_of, const std::string& what, Shape<4> shape, const std::vector<int>& axes) {
  return op_case(
      mean_of ? "mean" : "sum", what, 1e-6,
      [=](auto& in) {
        Shape<4> left = shape;
        double count = 1;
        for (int k : axes) count *= double(shape[k]), left[k] = 1;
        Values y(size_t(left.size()));
        size_t i = 0;
        each_index(shape, [&](const auto& at) { y[place(left, at)] += in[0][i++] / (mean_of ? count : 1.); });
        return y;
      },
      [=](auto x) { return mean_of ? mean(x, axes) : sum(x, axes); }, activation(shape, 0.5f));
}

// ---- axes -------------------------------------------------------------------------------------------------------------
Reference permuted(Shape<4> shape, Axes<4> axes) {
  return [=](const std::vector<Values>& in) {
    Shape<4> to;
    for (int k = 0; k < 4; ++k) to[k] = shape[axes[size_t(k)]];
    Values y;
    each_index(to, [&](const auto& at) {
      Shape<4> from;
      for (int k = 0; k < 4; ++k) from[axes[size_t(k)]] = at[k];
      y.push_back(in[0][place(shape, from)]);
    });
    return y;
  };
}
OpCase permute_case(const std::string& what, Shape<4> shape, Axes<4> axes) {
  return op_case(
      "permute", what, 0, permuted(shape, axes), [=](auto x) { return permute(x, axes); }, activation(shape));
}
OpCase transpose_case(const std::string& what, Shape<4> shape, int i, int j) {
  Axes<4> axes{0, 1, 2, 3};
  std::swap(axes[size_t(i)], axes[size_t(j)]);
  return op_case(
      "transpose", what, 0, permuted(shape, axes), [=](auto x) { return transpose(x, i, j); }, activation(shape));
}
OpCase expand_case(const std::string& what, Shape<4> shape, Shape<4> to) {
  return op_case(
      "expand", what, 0,
      [=](auto& in) {
        Values y;
        each_index(to, [&](const auto& at) { y.push_back(in[0][place(shape, at)]); });
        return y;
      },
      [=](auto x) { return expand(x, to); }, activation(shape));
}
OpCase concat_case(const std::string& what, Shape<3> a, Shape<3> b, int axis) {
  return op_case(
      "concat", what, 0,
      [=](auto& in) {
        const AxisSplit first = split_at(a, axis), second = split_at(b, axis);
        const auto part = [](const Values& x, i64 row, const AxisSplit& s) {
          const i64 size = s.extent * s.inner;
          return Values(x.begin() + row * size, x.begin() + (row + 1) * size);
        };
        Values y;
        for (i64 row = 0; row < first.outer; ++row)
          for (const Values& values : {part(in[0], row, first), part(in[1], row, second)})
            y.insert(y.end(), values.begin(), values.end());
        return y;
      },
      [=](auto x, auto y) { return concat(x, y, axis); }, activation(a), activation(b));
}
OpCase slice_case(const std::string& what, Shape<3> shape, i64 begin, i64 end) {
  return op_case(
      "slice", what, 0,
      [=](auto& in) {
        const i64 size = split_at(shape, 0).inner;
        return Values(in[0].begin() + begin * size, in[0].begin() + end * size);
      },
      [=](auto x) { return slice(x, begin, end); }, activation(shape));
}
// The index repeats some elements and leaves others out.
OpCase gather_case(const std::string& what, Shape<3> shape, i64 taken, int axis) {
  Shape<3> to = shape;
  to[axis] = taken;
  std::vector<i32> numbers;
  for (i64 i = 0; i < to.size(); ++i) numbers.push_back(i32(i * i % std::max<i64>(shape[axis], 1)));
  const auto index = Tensor<i32, 3>::from(numbers, to);
  return op_case(
      "gather", what, 0,
      [=](auto& in) {
        Values y;
        each_index(to, [&](auto at) {
          at[axis] = index.data()[y.size()];
          y.push_back(in[0][place(shape, at)]);
        });
        return y;
      },
      [=](auto x) { return gather(x, like(x, index), axis); }, activation(shape));
}
OpCase dropout_case(const std::string& what, Shape<3> shape, float p) {
  const Stream key(7, "dropout");
  return op_case(
      "dropout", what, 1e-7,
      [=](auto& in) {
        Values y = in[0];
        for (size_t i = 0; i < y.size(); ++i) y[i] *= key.uniform(i) < p ? 0. : 1. / (1. - double(p));
        return y;
      },
      [=](auto x) { return dropout(x, p, key); }, activation(shape));
}

// ---- operators --------------------------------------------------------------------------------------------------------
// sign: + - * or /. b is far from 0.
OpCase operator_case(char sign, const std::string& what, Shape<4> a, Shape<4> b) {
  const auto f = [=](auto x, auto y) { return sign == '+' ? x + y : sign == '-' ? x - y : sign == '*' ? x * y : x / y; };
  return op_case(
      std::string("operator") + sign, what, 2e-7,
      [=](auto& in) {
        Shape<4> shape;
        for (int k = 0; k < 4; ++k) shape[k] = a[k] == 1 ? b[k] : a[k];
        Values y;
        each_index(shape, [&](const auto& at) { y.push_back(f(in[0][place(a, at)], in[1][place(b, at)])); });
        return y;
      },
      f, activation(a), activation(b, 3.f, 0.5f));
}

// ---- multi-head attention ---------------------------------------------------------------------------------------------
// query [n, l, e], key and value [n, m, e]
OpCase multihead_case(const std::string& what, i64 n, i64 l, i64 m, i64 heads, i64 e) {
  return op_case(
      "multihead_attention", what, 5e-6,
      [=](auto& in) {
        const auto projected = [&](size_t k) {
          const auto part = [&](const Values& all) {
            const auto size = std::ptrdiff_t(all.size() / 3);
            return Values(all.begin() + std::ptrdiff_t(k) * size, all.begin() + std::ptrdiff_t(k + 1) * size);
          };
          return linear_values(in[k], part(in[3]), part(in[4]), e);
        };
        const Values y = attention_reference(n, l, m, heads, e / heads)({projected(0), projected(1), projected(2)});
        return linear_values(y, in[5], in[6], e);
      },
      [=](auto q, auto k, auto v, auto w, auto b, auto out_w, auto out_b) {
        return multihead_attention(q, k, v, w, b, out_w, out_b, heads);
      },
      activation(Shape(n, l, e)), activation(Shape(n, m, e)), activation(Shape(n, m, e)), weight(Shape(3 * e, e)), vector(3 * e),
      weight(Shape(e, e)), vector(e));
}

}  // namespace

// ---- the table --------------------------------------------------------------------------------------------------------
std::vector<OpCase> array_op_cases() {
  return {
      sum_over_case(false, "the innermost axis", {2, 3, 4, 5}, {3}),
      sum_over_case(false, "the outermost axis", {3, 2, 1, 7}, {0}),
      sum_over_case(false, "two axes side by side", {2, 3, 5, 4}, {1, 2}),
      sum_over_case(false, "two axes apart", {3, 2, 5, 3}, {2, 0}),
      sum_over_case(false, "two runs, extents of 1", {2, 1, 3, 1}, {0, 1, 3}),
      sum_over_case(false, "all axes", {2, 3, 2, 3}, {0, 1, 2, 3}),
      sum_over_case(false, "many rows, in chunks", {2, 131, 1, 3}, {1}),
      sum_over_case(false, "an axis of none", {2, 0, 1, 3}, {1}),
      sum_over_case(false, "none beside the axis", {2, 3, 0, 1}, {0}),
      sum_over_case(true, "two axes side by side", {2, 3, 5, 4}, {1, 2}),
      sum_over_case(true, "two axes apart", {2, 3, 2, 5}, {3, 1}),
      sum_over_case(true, "one element", {2, 3, 1, 2}, {2}),
      permute_case("channels first", {2, 3, 5, 4}, {0, 3, 1, 2}),
      permute_case("reversed", {3, 2, 5, 7}, {3, 2, 1, 0}),
      permute_case("as it was", {2, 3, 1, 5}, {0, 1, 2, 3}),
      permute_case("extents of 1", {1, 3, 1, 2}, {2, 3, 0, 1}),
      permute_case("no elements", {2, 0, 3, 1}, {1, 0, 3, 2}),
      transpose_case("the inner axes", {2, 1, 3, 5}, 2, 3),
      transpose_case("the outer and the inner one", {4, 2, 3, 5}, 3, 0),
      expand_case("[N, 1, 1, C]", {2, 1, 1, 5}, {2, 3, 4, 5}),
      expand_case("[N, H, W, 1]", {2, 3, 4, 1}, {2, 3, 4, 5}),
      expand_case("one element", {1, 1, 1, 1}, {2, 3, 1, 4}),
      expand_case("nothing to repeat", {2, 3, 1, 4}, {2, 3, 1, 4}),
      expand_case("to no elements", {2, 1, 3, 1}, {2, 0, 3, 4}),
      concat_case("the outermost axis", {2, 3, 4}, {5, 3, 4}, 0),
      concat_case("the middle axis", {3, 1, 4}, {3, 5, 4}, 1),
      concat_case("the innermost axis", {2, 3, 4}, {2, 3, 1}, 2),
      concat_case("with nothing", {2, 0, 3}, {2, 2, 3}, 1),
      slice_case("of the outermost axis", {5, 2, 3}, 1, 4),
      slice_case("nothing", {5, 1, 3}, 2, 2),
      gather_case("the outermost axis", {5, 2, 3}, 4, 0),
      gather_case("the middle axis, more than there are", {2, 3, 4}, 7, 1),
      gather_case("the innermost axis", {3, 2, 5}, 3, 2),
      gather_case("one of one", {1, 1, 1}, 1, 1),
      gather_case("nothing", {2, 3, 2}, 0, 1),
      dropout_case("a third", {3, 5, 7}, 0.33f),
      dropout_case("none", {2, 1, 3}, 0.f),
      dropout_case("no elements", {2, 0, 3}, 0.5f),
      operator_case('+', "one shape", {2, 3, 1, 4}, {2, 3, 1, 4}),
      operator_case('+', "[N, 1, 1, C]", {2, 3, 4, 5}, {2, 1, 1, 5}),
      operator_case('+', "[N, H, W, 1], the first", {2, 3, 4, 1}, {2, 3, 4, 5}),
      operator_case('-', "both are repeated", {2, 1, 4, 1}, {1, 3, 1, 5}),
      operator_case('*', "[N, H, W, 1]", {2, 3, 4, 5}, {2, 3, 4, 1}),
      operator_case('*', "no elements", {2, 0, 4, 5}, {2, 1, 4, 1}),
      operator_case('/', "[N, 1, 1, C]", {2, 3, 2, 5}, {2, 1, 1, 5}),
      multihead_case("two heads of 4", 2, 5, 5, 2, 8),
      multihead_case("3 heads of 1, other keys", 1, 4, 7, 3, 3),
  };
}

}  // namespace mindgap::test
