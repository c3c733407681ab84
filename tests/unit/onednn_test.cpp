// Convolutions and matrix products of the CPU against plain loops in double.
#include <mindgap/cpu/amx_outer.hpp>
#include <mindgap/cpu/direct_winograd.hpp>
#include <mindgap/cpu/onednn.hpp>

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <vector>

using namespace mindgap;

namespace {

template <class T>
std::vector<T> noise(i64 size, u64 seed) {
  std::vector<T> values(static_cast<size_t>(size));
  u64 state = seed * 0x9e3779b97f4a7c15u + 1;
  for (T& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    v = T(float(i64(state >> 40) - (i64(1) << 23)) / float(1 << 23));
  }
  return values;
}

// L2 norm of the difference over that of the reference.
template <class T>
double relative_error(const std::vector<T>& value, const std::vector<double>& reference) {
  double difference = 0, norm = 1e-300;
  for (size_t i = 0; i < value.size(); ++i) {
    const double d = double(float(value[i])) - reference[i];
    difference += d * d;
    norm += reference[i] * reference[i];
  }
  return std::sqrt(difference / norm);
}

template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 2e-6 : 4e-3;

// Calls f(y index, x index, weight index) for every product of the convolution.
template <class F>
void each_product(const ConvGeometry& g, const F& f) {
  const i64 oh = g.out_h(), ow = g.out_w();
  for (i64 b = 0; b < g.n; ++b)
    for (i64 i = 0; i < oh; ++i)
      for (i64 j = 0; j < ow; ++j)
        for (i64 u = 0; u < g.kh; ++u)
          for (i64 v = 0; v < g.kw; ++v) {
            const i64 row = i * g.stride_h + u - g.pad_h, column = j * g.stride_w + v - g.pad_w;
            if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
            const i64 y = ((b * oh + i) * ow + j) * g.c_out, x = ((b * g.h + row) * g.w + column) * g.c_in;
            for (i64 o = 0; o < g.c_out; ++o)
              for (i64 c = 0; c < g.c_in; ++c) f(y + o, x + c, ((o * g.kh + u) * g.kw + v) * g.c_in + c);
          }
}

template <class T>
void check_conv(const ConvGeometry& g, bool with_bias) {
  const auto x = noise<T>(g.x_size(), 1), w = noise<T>(g.weight_size(), 2), grad_y = noise<T>(g.y_size(), 3);
  const auto bias = noise<float>(g.c_out, 4);
  std::vector<T> y(size_t(g.y_size()), T(7.f)), grad_x(x.size(), T(7.f));
  std::vector<float> grad_w(w.size(), 7.f), grad_bias(bias.size(), 7.f);
  cpu::conv2d_forward(g, y.data(), x.data(), w.data(), with_bias ? bias.data() : nullptr);
  cpu::conv2d_backward_data(g, grad_x.data(), grad_y.data(), w.data());
  cpu::conv2d_backward_weights(g, grad_w.data(), with_bias ? grad_bias.data() : nullptr, x.data(), grad_y.data());

  std::vector<double> y_ref(y.size()), grad_x_ref(x.size()), grad_w_ref(w.size()), grad_bias_ref(bias.size());
  for (size_t i = 0; i < y.size(); ++i) {
    y_ref[i] = with_bias ? bias[i % bias.size()] : 0;
    grad_bias_ref[i % bias.size()] += double(float(grad_y[i]));
  }
  each_product(g, [&](i64 yi, i64 xi, i64 wi) {
    y_ref[size_t(yi)] += double(float(x[size_t(xi)])) * double(float(w[size_t(wi)]));
    grad_x_ref[size_t(xi)] += double(float(grad_y[size_t(yi)])) * double(float(w[size_t(wi)]));
    grad_w_ref[size_t(wi)] += double(float(grad_y[size_t(yi)])) * double(float(x[size_t(xi)]));
  });
  BOOST_CHECK_LT(relative_error(y, y_ref), tolerance<T>);
  BOOST_CHECK_LT(relative_error(grad_x, grad_x_ref), tolerance<T>);
  BOOST_CHECK_LT(relative_error(grad_w, grad_w_ref), tolerance<float>);
  if (with_bias) BOOST_CHECK_LT(relative_error(grad_bias, grad_bias_ref), tolerance<float>);
}

// Those that AVX2 takes by Winograd's tiles: odd and even sizes, parts of panels, other paddings, few and many tiles.
const std::vector<ConvGeometry> winograd_geometries = {
    {2, 8, 8, 128, 128, 3, 3, 1, 1, 1, 1},  {2, 17, 19, 128, 136, 3, 3, 1, 1, 1, 1}, {1, 20, 9, 136, 144, 3, 3, 1, 1, 0, 0},
    {1, 9, 12, 128, 152, 3, 3, 1, 1, 2, 2}, {1, 12, 12, 200, 128, 3, 3, 1, 1, 1, 0}, {1, 64, 61, 128, 128, 3, 3, 1, 1, 1, 1},
};

// Geometries that reach every path: one channel either way, odd channel counts, strides with and without a window that
// covers them, windows larger than the image, no padding, unequal axes.
const std::vector<ConvGeometry> geometries = {
    {3, 28, 28, 1, 16, 3, 3, 1, 1, 1, 1},  {2, 28, 28, 16, 16, 3, 3, 1, 1, 1, 1}, {2, 28, 28, 16, 32, 3, 3, 2, 2, 1, 1},
    {2, 14, 14, 32, 64, 1, 1, 2, 2, 0, 0}, {5, 7, 7, 64, 128, 3, 3, 2, 2, 1, 1},  {3, 4, 4, 128, 128, 3, 3, 1, 1, 1, 1},
    {2, 28, 28, 32, 1, 3, 3, 1, 1, 1, 1},  {1, 33, 17, 3, 64, 7, 7, 2, 2, 3, 3},  {2, 9, 11, 5, 7, 3, 3, 1, 1, 1, 1},
    {2, 9, 11, 6, 10, 3, 2, 2, 1, 1, 0},   {1, 2, 2, 8, 24, 3, 3, 1, 1, 1, 1},    {4, 1, 1, 19, 33, 1, 1, 1, 1, 0, 0},
    {2, 12, 12, 48, 40, 5, 5, 3, 3, 2, 2}, {1, 10, 10, 17, 3, 4, 4, 2, 2, 1, 1},  {1, 8, 8, 320, 4, 3, 3, 1, 1, 1, 1},
    {2, 16, 16, 3, 96, 4, 4, 4, 4, 0, 0},  {1, 7, 5, 520, 24, 1, 1, 1, 1, 0, 0},  {1, 1, 30, 2, 2, 1, 9, 1, 1, 0, 4},
    {9, 11, 13, 48, 80, 3, 3, 1, 1, 1, 1}, {7, 14, 14, 16, 16, 3, 3, 2, 2, 1, 1}, {40, 5, 5, 80, 16, 1, 1, 1, 1, 0, 0},
    {1, 33, 35, 32, 48, 5, 3, 2, 1, 2, 0}, {3, 7, 7, 176, 112, 1, 1, 1, 1, 0, 0},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(onednn)

BOOST_AUTO_TEST_CASE(convolution_f32) {
  for (const ConvGeometry& g : geometries)
    for (bool bias : {false, true}) {
      BOOST_TEST_CONTEXT("n " << g.n << " h " << g.h << " w " << g.w << " c " << g.c_in << " to " << g.c_out << " kernel " << g.kh
                              << " stride " << g.stride_h)
      check_conv<float>(g, bias);
    }
}

BOOST_AUTO_TEST_CASE(convolution_bf16) {
  for (const ConvGeometry& g : geometries) {
    BOOST_TEST_CONTEXT("n " << g.n << " h " << g.h << " w " << g.w << " c " << g.c_in << " to " << g.c_out << " kernel " << g.kh
                            << " stride " << g.stride_h)
    check_conv<bf16>(g, true);
  }
}

// Winograd's transforms add to the rounding; what they add is held to the sums of products that they save.
BOOST_AUTO_TEST_CASE(convolution_by_winograd) {
  if (!cpu::direct::runs_here()) return;
  for (const ConvGeometry& g : winograd_geometries)
    for (bool with_bias : {false, true}) {
      BOOST_TEST_CONTEXT(g.str()) {
        BOOST_CHECK(cpu::direct::winograd_is_quicker(g));
        const auto x = noise<float>(g.x_size(), 1), w = noise<float>(g.weight_size(), 2), bias = noise<float>(g.c_out, 4);
        const float* b = with_bias ? bias.data() : nullptr;
        std::vector<double> reference(size_t(g.y_size()));
        for (size_t i = 0; with_bias && i < reference.size(); ++i) reference[i] = bias[i % bias.size()];
        each_product(g, [&](i64 yi, i64 xi, i64 wi) { reference[size_t(yi)] += double(x[size_t(xi)]) * double(w[size_t(wi)]); });
        std::vector<float> y(reference.size(), 7.f), other(y), direct(y);
        cpu::direct::winograd::Convolution{g, y.data(), x.data(), w.data(), b}.run_by_tiles();
        cpu::direct::winograd::Convolution{g, other.data(), x.data(), w.data(), b}.run_by_weights();
        BOOST_CHECK(y == other);
        cpu::direct::conv2d_winograd(g, other.data(), x.data(), w.data(), b);
        BOOST_CHECK(y == other);
        cpu::direct::conv2d_forward(g, direct.data(), x.data(), w.data(), b);
        BOOST_CHECK_LT(relative_error(y, reference), tolerance<float>);
        BOOST_CHECK_LT(relative_error(y, reference), 2 * relative_error(direct, reference));
      }
    }
}

// Neither fewer tiles nor a pass of its own for a kernel that is not 3x3, stride 1.
BOOST_AUTO_TEST_CASE(winograd_is_for_many_tiles_of_many_channels) {
  const ConvGeometry yes{1, 16, 16, 128, 128, 3, 3, 1, 1, 1, 1};
  BOOST_CHECK(cpu::direct::winograd_is_quicker(yes));
  const auto refused = [&](auto change) {
    ConvGeometry g = yes;
    change(g);
    BOOST_CHECK(!cpu::direct::winograd_is_quicker(g));
  };
  refused([](ConvGeometry& g) { g.kh = g.kw = 1; });
  refused([](ConvGeometry& g) { g.kw = 5; });
  refused([](ConvGeometry& g) { g.stride_w = 2; });
  refused([](ConvGeometry& g) { g.c_in = 132; });
  refused([](ConvGeometry& g) { g.c_out = 132; });
  refused([](ConvGeometry& g) { g.c_in = 64; });
  refused([](ConvGeometry& g) { g.h = 1; });
}

BOOST_AUTO_TEST_CASE(empty_batch) {
  const ConvGeometry g{0, 8, 8, 4, 4, 3, 3, 1, 1, 1, 1};
  std::vector<float> grad_w(size_t(g.weight_size()), 7.f), grad_bias(4, 7.f);
  cpu::conv2d_forward(g, static_cast<float*>(nullptr), nullptr, grad_w.data(), nullptr);
  cpu::conv2d_backward_weights(g, grad_w.data(), grad_bias.data(), static_cast<float*>(nullptr), nullptr);
  for (float v : grad_w) BOOST_CHECK_EQUAL(v, 0.f);
  for (float v : grad_bias) BOOST_CHECK_EQUAL(v, 0.f);
}

// Image k of a batch is the same, bit by bit, whatever the batch; gradients of weights repeat, with any number of threads where
// the kernel is ours.
template <class T>
void check_batches(ConvGeometry g) {
  const auto x = noise<T>(g.x_size(), 1), w = noise<T>(g.weight_size(), 2), grad_y = noise<T>(g.y_size(), 4);
  const auto bias = noise<float>(g.c_out, 3);
  std::vector<T> y(size_t(g.y_size())), grad_x(x.size());
  cpu::conv2d_forward(g, y.data(), x.data(), w.data(), bias.data());
  cpu::conv2d_backward_data(g, grad_x.data(), grad_y.data(), w.data());
  const i64 image_x = g.x_size() / g.n, image_y = g.y_size() / g.n;
  const ConvGeometry whole = g;
  for (i64 batch : {1, 3, 64}) {
    g.n = batch;
    const i64 first = 64 - batch;  // the last images of the large batch
    std::vector<T> part(size_t(batch * image_y)), part_x(size_t(batch * image_x));
    cpu::conv2d_forward(g, part.data(), x.data() + first * image_x, w.data(), bias.data());
    cpu::conv2d_backward_data(g, part_x.data(), grad_y.data() + first * image_y, w.data());
    BOOST_TEST_CONTEXT("h " << g.h << " c " << g.c_in << " to " << g.c_out << " batch " << batch) {
      BOOST_CHECK(std::memcmp(part.data(), y.data() + first * image_y, part.size() * sizeof(T)) == 0);
      BOOST_CHECK(std::memcmp(part_x.data(), grad_x.data() + first * image_x, part_x.size() * sizeof(T)) == 0);
    }
  }
  const bool ours = std::is_same_v<T, float> ? cpu::direct::convolves_best_here() : cpu::amx::takes(whole);
  const int threads = Runtime<Cpu>::threads();
  std::vector<float> first_w, first_bias;
  for (int count : {threads, threads, 1, 3}) {
    if (count != threads && !ours) continue;
    std::vector<float> grad_w(w.size()), grad_bias(bias.size());
    Runtime<Cpu>::set_threads(count);
    cpu::conv2d_backward_weights(whole, grad_w.data(), grad_bias.data(), x.data(), grad_y.data());
    if (first_w.empty()) first_w = grad_w, first_bias = grad_bias;
    BOOST_CHECK(first_w == grad_w && first_bias == grad_bias);
  }
  Runtime<Cpu>::set_threads(threads);
}

BOOST_AUTO_TEST_CASE(images_do_not_depend_on_the_batch) {
  for (const ConvGeometry& g : {ConvGeometry{64, 28, 28, 1, 16, 3, 3, 1, 1, 1, 1},
                                {64, 28, 28, 16, 32, 3, 3, 2, 2, 1, 1},
                                {64, 7, 7, 64, 64, 3, 3, 1, 1, 1, 1},
                                {64, 4, 4, 128, 128, 3, 3, 1, 1, 1, 1},
                                {64, 14, 14, 32, 64, 1, 1, 2, 2, 0, 0},
                                {64, 9, 7, 5, 11, 3, 3, 1, 1, 1, 1},
                                {64, 8, 8, 600, 16, 1, 1, 1, 1, 0, 0},
                                {64, 28, 28, 32, 1, 3, 3, 1, 1, 1, 1},
                                {64, 9, 8, 128, 128, 3, 3, 1, 1, 1, 1}}) {
    check_batches<float>(g);
    check_batches<bf16>(g);
  }
}

namespace {

template <class T, class C>
void check_matmul(const MatmulGeometry& g, float alpha, bool accumulate, bool with_bias) {
  const auto size = [&](const MatrixStrides& s, i64 rows, i64 columns) {
    return (g.batch_outer - 1) * s.outer + (g.batch_inner - 1) * s.inner + (rows - 1) * s.row + columns;
  };
  const auto a = noise<T>(size(g.a, g.trans_a ? g.k : g.m, g.trans_a ? g.m : g.k), 1);
  const auto b = noise<T>(size(g.b, g.trans_b ? g.n : g.k, g.trans_b ? g.k : g.n), 2);
  auto c = noise<C>(size(g.c, g.m, g.n), 3);
  const auto bias = noise<float>(g.n, 4);
  std::vector<double> reference(c.size());
  for (size_t i = 0; i < c.size(); ++i) reference[i] = double(float(c[i]));  // gaps between rows must stay
  for (i64 o = 0; o < g.batch_outer; ++o)
    for (i64 p = 0; p < g.batch_inner; ++p)
      for (i64 i = 0; i < g.m; ++i)
        for (i64 j = 0; j < g.n; ++j) {
          double sum = 0;
          for (i64 l = 0; l < g.k; ++l)
            sum += double(float(a[size_t(o * g.a.outer + p * g.a.inner + (g.trans_a ? l * g.a.row + i : i * g.a.row + l))])) *
                   double(float(b[size_t(o * g.b.outer + p * g.b.inner + (g.trans_b ? j * g.b.row + l : l * g.b.row + j))]));
          double& to = reference[size_t(o * g.c.outer + p * g.c.inner + i * g.c.row + j)];
          to = alpha * sum + (with_bias ? bias[size_t(j)] : 0) + (accumulate ? to : 0);
        }
  cpu::matmul(g, c.data(), a.data(), b.data(), alpha, accumulate, with_bias ? bias.data() : nullptr);
  BOOST_CHECK_LT(relative_error(c, reference), tolerance<C>);
}

std::vector<MatmulGeometry> products() {
  std::vector<MatmulGeometry> all;
  for (bool trans_a : {false, true})
    for (bool trans_b : {false, true})
      for (auto [m, n, k] : {std::array<i64, 3>{7, 5, 3}, {64, 48, 32}, {130, 33, 600}, {1, 10, 128}, {49, 1, 17}, {6, 16, 1}})
        all.push_back(MatmulGeometry::dense(m, n, k, trans_a, trans_b));
  // Heads of [batch, length, heads, d]: scores = q k^T, context = scores v, and their gradients.
  const i64 heads = 8, length = 49, d = 8, row = heads * d;
  const MatrixStrides tokens{length * row, d, row}, scores{heads * length * length, length * length, length};
  all.push_back({4, heads, length, length, d, false, true, tokens, tokens, scores});
  all.push_back({4, heads, length, d, length, false, false, scores, tokens, tokens});
  all.push_back({4, heads, length, d, length, true, false, scores, tokens, tokens});
  // A shared second matrix, rows with gaps.
  all.push_back({3, 1, 20, 24, 10, false, false, {20 * 12, 0, 12}, {0, 0, 24}, {20 * 30, 0, 30}});
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(matmul_f32) {
  for (const MatmulGeometry& g : products())
    BOOST_TEST_CONTEXT("batch " << g.batch() << " m " << g.m << " n " << g.n << " k " << g.k << " trans " << g.trans_a
                                << g.trans_b) {
      check_matmul<float, float>(g, 1, false, false);
      check_matmul<float, float>(g, 0.25f, false, false);
      check_matmul<float, float>(g, 1, true, true);
      check_matmul<float, float>(g, 0.25f, true, false);
    }
}

// A row of a product is the same, bit by bit, however many rows stand beside it.
template <class T>
void check_rows(bool trans_b, i64 n, i64 k) {
  const i64 rows = 64;
  const auto a = noise<T>(rows * k, 1), b = noise<T>(n * k, 2);
  std::vector<T> all(size_t(rows * n)), part(all.size());
  cpu::matmul(MatmulGeometry::dense(rows, n, k, false, trans_b), all.data(), a.data(), b.data());
  for (i64 m : {1, 3, 33}) {
    cpu::matmul(MatmulGeometry::dense(m, n, k, false, trans_b), part.data(), a.data() + (rows - m) * k, b.data());
    BOOST_TEST_CONTEXT(name(dtype_of<T>) << " n " << n << " k " << k << " trans_b " << trans_b << " rows " << m)
    BOOST_CHECK(std::memcmp(part.data(), all.data() + (rows - m) * n, size_t(m * n) * sizeof(T)) == 0);
  }
}

// Attention's two products of the last images of a batch: the same, bit by bit, whatever the batch.
template <class T>
void check_heads(i64 heads, i64 length, i64 d) {
  const i64 most = 24, row = heads * d, image = length * row;
  const auto q = noise<T>(most * image, 1), k = noise<T>(most * image, 2), v = noise<T>(most * image, 3);
  const MatrixStrides tokens{image, d, row}, square{heads * length * length, length * length, length};
  const auto attend = [&](i64 n) {
    const i64 first = (most - n) * image;
    std::vector<T> scores(size_t(n * heads * length * length)), out(size_t(n * image));
    cpu::matmul(MatmulGeometry{n, heads, length, length, d, false, true, tokens, tokens, square}, scores.data(), q.data() + first,
                k.data() + first, 0.3f);
    cpu::matmul(MatmulGeometry{n, heads, length, d, length, false, false, square, tokens, tokens}, out.data(), scores.data(),
                v.data() + first);
    return out;
  };
  const std::vector<T> all = attend(most);
  for (i64 n : {1, 2, 15}) {
    const std::vector<T> part = attend(n);
    BOOST_TEST_CONTEXT(name(dtype_of<T>) << " heads " << heads << " length " << length << " d " << d << " images " << n)
    BOOST_CHECK(std::memcmp(part.data(), all.data() + (most - n) * image, part.size() * sizeof(T)) == 0);
  }
}

// A chunk of 48 such rows reaches beyond 32 bits. What is not touched takes no memory.
BOOST_AUTO_TEST_CASE(rows_far_apart) {
  MatmulGeometry g = MatmulGeometry::dense(48, 3, 2);
  g.a.row = 50'000'000;
  const size_t bytes = size_t(g.m * g.a.row) * sizeof(float);
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  BOOST_REQUIRE(memory != MAP_FAILED);
  float* const a = static_cast<float*>(memory);
  for (i64 i = 0; i < g.m; ++i) a[i * g.a.row] = float(i), a[i * g.a.row + 1] = 1;
  const std::vector<float> b{1, 2, 3, 40, 50, 60};
  std::vector<float> c(size_t(g.m * g.n));
  cpu::matmul(g, c.data(), a, b.data());
  for (i64 i = 0; i < g.m; ++i)
    for (i64 j = 0; j < g.n; ++j) BOOST_CHECK_EQUAL(c[size_t(i * g.n + j)], float(i) * b[size_t(j)] + b[size_t(3 + j)]);
  munmap(memory, bytes);
}

BOOST_AUTO_TEST_CASE(rows_do_not_depend_on_the_batch) {
  for (i64 heads : {1, 2, 8})
    for (auto [length, d] : {std::array<i64, 2>{49, 8}, {196, 16}, {196, 64}}) {
      check_heads<float>(heads, length, d);
      check_heads<bf16>(heads, length, d);
    }
  for (bool trans_b : {false, true})
    for (i64 n : {1, 10, 48, 128, 320})
      for (i64 k : {9, 64, 512, 1500, 2048}) {
        check_rows<float>(trans_b, n, k);
        check_rows<bf16>(trans_b, n, k);
      }
}

BOOST_AUTO_TEST_CASE(matmul_bf16) {
  for (const MatmulGeometry& g : products())
    BOOST_TEST_CONTEXT("batch " << g.batch() << " m " << g.m << " n " << g.n << " k " << g.k << " trans " << g.trans_a
                                << g.trans_b) {
      check_matmul<bf16, bf16>(g, 0.5f, false, false);
      check_matmul<bf16, bf16>(g, 1, true, true);
      check_matmul<bf16, float>(g, 1, true, false);
    }
}

BOOST_AUTO_TEST_SUITE_END()
