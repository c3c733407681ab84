// What the index of ops says, and its page. Errors are not written down: the calls are made, and say themselves what is wrong.
#include "tests/op_index.hpp"

#include <mindgap/autograd/attention.hpp>
#include <mindgap/autograd/concat.hpp>
#include <mindgap/autograd/dropout.hpp>
#include <mindgap/autograd/embedding.hpp>
#include <mindgap/autograd/gated.hpp>
#include <mindgap/autograd/gather.hpp>
#include <mindgap/autograd/layer_norm.hpp>
#include <mindgap/autograd/loss.hpp>
#include <mindgap/autograd/norm.hpp>
#include <mindgap/autograd/operators.hpp>
#include <mindgap/autograd/pad.hpp>
#include <mindgap/autograd/pool.hpp>
#include <mindgap/autograd/reduce.hpp>
#include <mindgap/autograd/resize.hpp>
#include <mindgap/autograd/softmax.hpp>
#include <mindgap/cpu/library.hpp>

#include <sstream>

namespace mindgap::test {
namespace {

template <std::integral... I>
Tensor<float, int(sizeof...(I))> of(I... extents) {
  return Tensor<float, int(sizeof...(I))>::zeros(Shape(extents...));
}
template <Element T>
Tensor<T, 1> numbers(std::vector<T> values) {
  return Tensor<T, 1>::from(values, Shape(i64(values.size())));
}

// Two variables that do not fit.
template <class F>
void on_variables(F f) {
  Tape tape;
  f(variable(tape, of(2, 3)), variable(tape, of(4, 1)), variable(tape, of(2, 2)));
}

// The first line of the message of a call that throws, and "" of one that does not.
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    const std::string message = error.what();
    const size_t begin = std::string("mindgap: ").size();
    return message.substr(begin, message.find('\n') - begin);
  }
  return "";
}

}  // namespace

std::vector<OpDoc> op_docs() {
  const std::string products = "Products", norms = "Norms", images = "Images", rows = "Rows, losses, dropout",
                    arithmetic = "Arithmetic and sums", shapes = "Shapes";
  const auto identity = epilogues::identity;
  return {
      {products,
       "conv2d",
       "conv2d(x, w, bias, {stride, padding})",
       "",
       "x [N, H, W, C], w [O, k, k, C], bias f32 [O] or {} → [N, H', W', O]",
       "x, w, bias",
       "linear.hpp",
       true,
       {[] { conv2d(of(1, 4, 4, 3), of(8, 3, 3, 4)); }, [] { conv2d(of(1, 4, 4, 3), of(8, 3, 3, 3), of(7)); },
        [] { conv2d(of(1, 4, 4, 3), of(8, 5, 5, 3)); },
        [] {
          conv2d(of(1, 4, 4, 3), of(8, 3, 3, 3), {}, {0, 1});
        }}},
      {products,
       "linear",
       "linear(x, w, bias)",
       "",
       "x [..., I], w [O, I], bias f32 [O] or {} → [..., O]",
       "x, w, bias",
       "linear.hpp",
       true,
       {[] { linear(of(2, 3), of(5, 4)); }, [] { linear(of(2, 3), of(5, 3), of(4)); }}},
      {products,
       "linear_pair",
       "linear_pair(x, skip, w, bias)",
       "",
       "x [..., I1], skip [..., I2], w [O, I1 + I2], bias f32 [O] → [..., O]",
       "x, skip, w, bias",
       "linear.hpp",
       true,
       {[] { linear_pair(of(2, 3), of(2, 1), of(5, 5), of(5)); }}},
      {products,
       "matmul",
       "matmul(a, b, transpose_a, transpose_b)",
       "",
       "a [B, M, K], b [B, K, N], or transposed → [B, M, N]",
       "a, b",
       "linear.hpp",
       true,
       {[] { matmul(of(2, 3, 4), of(2, 5, 3)); }}},
      {products,
       "attend",
       "attend(q, k, v, heads, causal)",
       "causal (false): query i sees the keys 0 to i; also `attention`, with what its backward reads",
       "q [N, L, E], k and v [N, M, E], heads side by side in E → [N, L, E]",
       "q, k, v",
       "linear.hpp",
       true,
       {[] { attend(of(1, 2, 6), of(1, 2, 6), of(1, 2, 6), 4); }, [] { attend(of(1, 2, 6), of(1, 0, 6), of(1, 0, 6), 2); }}},
      {products,
       "multihead_attention",
       "multihead_attention(query, key, value, in_w, in_b, out_w, out_b, heads)",
       "",
       "query [N, L, E], key and value [N, M, E], in_w [3 E, E], in_b f32 [3 E], out_w [E, E], out_b f32 [E] → [N, L, E]",
       "all",
       "attention.hpp",
       true,
       {[] { multihead_attention(of(1, 2, 4), of(1, 2, 4), of(1, 2, 4), of(8, 4), of(12), of(4, 4), of(4), 2); },
        [] { multihead_attention(of(1, 2, 4), of(1, 2, 4), of(1, 2, 4), of(12, 4), of(12), of(4, 4), of(4), 3); }}},

      {norms,
       "batch_norm",
       "batch_norm(epilogue, x, mean, rstd, from_batch, gamma, beta, extras...)",
       "without `from_batch`",
       "x [..., C], the others f32 [C], extras as x → as x",
       "x, gamma, beta, extras",
       "norm.hpp",
       false,
       {[=] { batch_norm(identity, of(2, 3), of(3), of(3), of(2), of(3)); }, [] { batch_statistics(of(1, 3), 1e-5f); },
        [] { batch_norm(relu_add, of(2, 3), of(3), of(3), of(3), of(3), of(1, 3)); }}},
      {norms,
       "group_norm",
       "group_norm(epilogue, x, skip, row, groups, eps, gamma, beta)",
       "",
       "x [N, ..., C1], skip [N, ..., C2] or {}, row [N, C] or {}, gamma and beta f32 [C], C = C1 + C2 → [N, ..., C]",
       "x, skip, row, gamma, beta",
       "norm.hpp",
       false,
       {[=] { group_norm(identity, of(1, 2, 2, 6), {}, {}, 4, 1e-5f, of(6), of(6)); },
        [=] { group_norm(identity, of(1, 2, 2, 6), {}, {}, 3, 1e-5f, of(5), of(6)); },
        [=] { group_norm(identity, of(1, 2, 2, 6), of(1, 2, 3, 2), {}, 2, 1e-5f, of(8), of(8)); },
        [=] { group_norm(identity, of(1, 2, 2, 6), {}, of(2, 6), 2, 1e-5f, of(6), of(6)); },
        [=] { group_norm(identity, of(1, 2, 2, 6), {}, {}, 2, -1.f, of(6), of(6)); }}},
      {norms,
       "layer_norm",
       "layer_norm(x, gamma, beta, eps)",
       "`layer_norm(...).y`",
       "x [..., C], gamma and beta f32 [C] → as x",
       "x, gamma, beta",
       "layer_norm.hpp",
       false,
       {[] { layer_norm(of(2, 3), of(2), of(3), 1e-5f); }, [] { layer_norm(of(2, 3), of(3), of(3), -1.f); }}},

      {images,
       "max_pool2d",
       "max_pool2d(x, kernel, stride, padding)",
       "",
       "x [N, H, W, C] → [N, H', W', C]",
       "x",
       "pool.hpp",
       false,
       {[] { max_pool2d(of(1, 4, 4, 1), 2, 2, 2); }, [] { max_pool2d(of(1, 4, 4, 1), 5, 1, 0); },
        [] { max_pool2d_with_index(of(1, 20, 20, 1), 17, 1, 0); }}},
      {images,
       "avg_pool2d",
       "avg_pool2d(x, kernel, stride, padding)",
       "",
       "x [N, H, W, C] → [N, H', W', C]",
       "x",
       "pool.hpp",
       false,
       {[] { avg_pool2d(of(1, 4, 4, 1), 2, 0, 0); }}},
      {images, "global_avg_pool", "global_avg_pool(x)", "", "x [N, H, W, C] → [N, C]", "x", "pool.hpp", false, {[] {
         global_avg_pool(of(2, 0, 4, 3));
       }}},
      {images,
       "upsample_nearest",
       "upsample_nearest(x, height, width)",
       "",
       "x [N, H, W, C] → [N, height, width, C]",
       "x",
       "resize.hpp",
       false,
       {[] { upsample_nearest(of(1, 2, 2, 1), 0, 4); }, [] { upsample_nearest(of(1, 1, 1, 1), 65536, 1); }}},

      {images,
       "zero_pad2d",
       "zero_pad2d(x, {left, right, top, bottom})",
       "",
       "x [N, H, W, C] → [N, top + H + bottom, left + W + right, C]",
       "x",
       "pad.hpp",
       false,
       {[] {
         zero_pad2d(of(1, 2, 2, 1), {0, -1, 0, 1});
       }}},

      {rows, "softmax", "softmax(x)", "", "x [..., K] → as x", "x", "softmax.hpp", false, {}},
      {rows,
       "geglu",
       "geglu(x)",
       "",
       "x [..., 2 K] → [..., K], the first half times gelu of the second",
       "x",
       "gated.hpp",
       false,
       {[] { geglu(of(2, 5)); }}},
      {rows,
       "cross_entropy",
       "cross_entropy(logits, targets, smoothing)",
       "",
       "logits [N, K], targets i64 [N] or [N, K] → f32 [1]",
       "logits",
       "loss.hpp",
       false,
       {[] { cross_entropy(of(2, 3), numbers<i64>({0})); },
        [] {
          cross_entropy(of(2, 3), numbers<i64>({0, 3}));
        },
        [] { cross_entropy(of(2, 3), of(2, 2)); }, [] { cross_entropy(of(0, 3), of(0, 3)); }}},
      {rows, "mse_loss", "mse_loss(x, y)", "", "x and y of one shape → f32 [1]", "x", "loss.hpp", false, {[] {
         mse_loss(of(2, 3), of(3, 2));
       }}},
      {rows,
       "embedding",
       "embedding(ids, table)",
       "",
       "ids i64 [N], table [R, C] → [N, C]",
       "table",
       "embedding.hpp",
       false,
       {[] { embedding(numbers<i64>({5}), of(5, 2)); }}},
      {rows,
       "dropout",
       "dropout(x, p, key)",
       "",
       "x of any shape, key a `Stream` or, in a replayed step, a `HostInput<Stream, D>` → as x",
       "x",
       "dropout.hpp",
       false,
       {[] { dropout(of(2, 3), 1.f, Stream(1, "dropout")); }}},

      {arithmetic,
       "pointwise",
       "pointwise(lambda, x, operands...)",
       "",
       "x of any shape; operands as x, `row([C] or [N, C])`, `scalar([1])`, `value(number)` → as x",
       "x, operands",
       "pointwise.hpp",
       false,
       {[] { pointwise([](auto x, auto y) { return x + y; }, of(2, 3), of(3, 2)); },
        [] { pointwise([](auto x, auto y) { return x + y; }, of(2, 3), row(of(2))); },
        [] { pointwise([](auto x, auto y) { return x + y; }, of(2, 3), scalar(of(2))); }}},
      {arithmetic, "add", "add(a, b)", "", "a and b of one shape → as a", "a, b", "pointwise.hpp", false, {[] {
         add(of(2, 3), of(3, 2));
       }}},
      {arithmetic,
       "operator+",
       "a + b",
       "`pointwise`",
       "equal extents, or 1: [N, H, W, C] + [N, 1, 1, C]; or a number → the larger extents",
       "a, b",
       "operators.hpp",
       false,
       {[] { on_variables([](auto a, auto b, auto) { a + b; }); }}},
      {arithmetic, "operator-", "a - b, -a", "`pointwise`", "as a + b", "a, b", "operators.hpp", false, {[] {
         on_variables([](auto a, auto, auto c) { a - c; });
       }}},
      {arithmetic, "operator*", "a * b", "`pointwise`", "as a + b", "a, b", "operators.hpp", false, {[] {
         on_variables([](auto a, auto, auto c) { c* a; });
       }}},
      {arithmetic, "operator/", "a / b", "`pointwise`", "as a + b", "a, b", "operators.hpp", false, {[] {
         on_variables([](auto a, auto b, auto) { b / a; });
       }}},
      {arithmetic,
       "sum",
       "sum(x), sum(x, {axes})",
       "",
       "all elements → f32 [1]; over axes → as x, with extents of 1",
       "x",
       "reduce.hpp",
       false,
       {[] { sum(of(2, 3), {2}); },
        [] {
          sum(of(2, 3), {1, 1});
        },
        [] { sum(of(2, 3), std::vector<int>{}); }}},
      {arithmetic,
       "mean",
       "mean(x), mean(x, {axes})",
       "",
       "as sum",
       "x",
       "reduce.hpp",
       false,
       {[] { mean(of(0, 3)); }, [] { mean(of(2, 3), {-1}); }}},

      {shapes, "reshape", "reshape(x, shape)", "", "any shape of as many elements; shares them", "x", "var.hpp", false, {[] {
         reshape(of(2, 3), Shape(4, 2));
       }}},
      {shapes,
       "slice",
       "slice(x, begin, end)",
       "",
       "x [N, ...] → [end - begin, ...]; shares the elements",
       "x",
       "var.hpp",
       false,
       {[] { slice(of(2, 3), 1, 3); }}},
      {shapes,
       "permute",
       "permute(x, {axes})",
       "",
       "axis k of the result is axis axes[k] of x",
       "x",
       "layout.hpp",
       false,
       {[] {
          permute(of(2, 3), {0, 2});
        },
        [] {
          permute(of(2, 3), {1, 1});
        }}},
      {shapes, "transpose", "transpose(x, i, j)", "", "axes i and j exchanged", "x", "layout.hpp", false, {[] {
         transpose(of(2, 3), 0, 2);
       }}},
      {shapes,
       "expand",
       "expand(x, shape)",
       "",
       "extents of 1 become any: [N, 1, 1, C] → [N, H, W, C]",
       "x",
       "layout.hpp",
       false,
       {[] {
         expand(of(2, 3), {2, 6});
       }}},
      {shapes,
       "concat",
       "concat(a, b, axis)",
       "",
       "equal extents but along the axis → the sum of both there",
       "a, b",
       "concat.hpp",
       false,
       {[] { concat(of(2, 3), of(4, 2), 0); }, [] { concat(of(2, 3), of(2, 3), 2); }}},
      {shapes,
       "concat_channels",
       "concat_channels(a, b)",
       "",
       "a [..., A], b [..., B] → [..., A + B]",
       "a, b",
       "concat.hpp",
       false,
       {[] { concat_channels(of(2, 3), of(4, 3)); }}},
      {shapes,
       "gather",
       "gather(x, index, axis)",
       "",
       "index i32, equal extents but along the axis → as index",
       "x",
       "gather.hpp",
       false,
       {[] {
          gather(of(2, 3), Tensor<i32, 2>::zeros({3, 1}), 1);
        },
        [] {
          gather(of(2, 3), Tensor<i32, 2>::full({2, 1}, 3), 1);
        },
        [] {
          gather(of(2, 3), Tensor<i32, 2>::zeros({2, 1}), 2);
        }}},
  };
}

std::string op_index(const std::map<std::string, int>& cases) {
  // What the CPU's library does not multiply, a GPU's does.
  const std::string product_types = Library<Cpu>::computes<f16> ? "f32 bf16 f16" : "f32 bf16, f16 on a GPU";
  std::ostringstream out;
  out << R"(# Ops

Generated from the table of cases that the tests check (`tests/op_cases.hpp`, `tests/unit/op_cases_arrays.cpp`) and from
`tests/unit/op_index.cpp`; `unit.op_cases` fails where this page is not what they make.

- An op takes **tensors** (`ops/`) and records nothing, or **variables** (`autograd/`) and records the gradient of those that
  want one. Where the two have other names or results the table says so. Everything is in namespace `mindgap`.
- **shapes**: channels lie innermost. Elements are of the op's type T unless a type is named.
- **value, gradient, emulated**: each case is checked as value (f32 and bf16, against loops in double), gradient (f32 against
  finite differences, bf16 against f32) and emulated (the kernels of a GPU on fibers against the CPU's, both ways).
- **errors**: what such a call says first. Besides, any op on variables refuses those of two tapes and values from before the
  last `backward()`, and `backward()` refuses to go on with values that were overwritten.
)";
  std::string family, errors;
  const auto end_of_family = [&] {
    if (!errors.empty()) out << "\nErrors:\n\n" << errors;
    errors.clear();
  };
  for (const OpDoc& doc : op_docs()) {
    if (doc.family != family) {
      end_of_family();
      family = doc.family;
      out << "\n## " << family << "\n\n| op | on tensors | shapes | gradient of | types | devices | value, gradient, emulated |\n"
          << "|---|---|---|---|---|---|---|\n";
    }
    const int count = cases.contains(doc.op) ? cases.at(doc.op) : 0;
    out << "| [`" << doc.call << "`](autograd/" << doc.header << ") | " << (doc.on_tensors.empty() ? "the same" : doc.on_tensors)
        << " | " << doc.shapes << " | " << doc.gradients << " | " << (doc.product ? product_types : "f32 bf16 f16")
        << " | cpu cuda | " << count << (count == 1 ? " case |\n" : " cases |\n");
    std::string messages;
    for (const auto& mistake : doc.mistakes) {
      const std::string message = message_of(mistake);
      if (message.empty()) throw Error("op index: a mistake is none", {{"op", doc.op}});
      messages += (messages.empty() ? "" : "; ") + ("`" + message + "`");
    }
    if (!messages.empty()) errors += "- `" + (doc.op.starts_with("operator") ? doc.call : doc.op) + "` " + messages + "\n";
  }
  end_of_family();
  out << R"(
## Besides

`variable(tape, tensor)` and `constant(tape, tensor)` make leaves, `detach(x)` is x as a constant, `backward(loss)` adds the
gradients up (`autograd/var.hpp`). `conv2d_with_moments` also gives the sums that a batch norm behind it needs
(`autograd/linear.hpp`). `gradcheck(f, inputs...)` compares a gradient with finite differences (`autograd/gradcheck.hpp`).
A label, an id or an index outside its range is an error on the CPU and NaN on a GPU, whose numbers the host does not read.
)";
  return out.str();
}

}  // namespace mindgap::test
