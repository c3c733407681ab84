// Attention of many tokens: in tiles, whose probabilities are never in memory, and by some queries at a time.
#include <mindgap/autograd/linear.hpp>
#include <mindgap/autograd/loss.hpp>

#include <boost/test/unit_test.hpp>
#include <omp.h>
#include <tests/op_references.hpp>
#include <tests/values.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

struct Operands {
  AttentionGeometry g;
  Tensor<float, 3> q, k, v;

  explicit Operands(const AttentionGeometry& geometry, float spread = 1.f)
      : g(geometry),
        q(random_tensor(Shape(g.n, g.l, g.heads * g.d), 1, 0.f, spread)),
        k(random_tensor(Shape(g.n, g.m, g.heads * g.d), 2)),
        v(random_tensor(Shape(g.n, g.m, g.heads * g.d), 3)) {}
  std::vector<double> expected() const {
    return attention_reference(g.n, g.l, g.m, g.heads, g.d, g.causal)({doubles(q), doubles(k), doubles(v)});
  }
  Attention<float, Cpu> attended() const { return attention(q, k, v, g.heads, g.causal); }
};

// Whole tiles and parts of them, of queries, keys and channels; wide heads; causal; as many keys as queries, fewer, more.
const AttentionGeometry many[] = {{1, 2, 256, 256, 16},       {1, 1, 301, 257, 40},      {1, 1, 270, 300, 7},
                                  {1, 1, 128, 512, 400},      {2, 1, 900, 77, 24},       {1, 1, 1, 70000, 3},
                                  {1, 2, 513, 150, 20, true}, {1, 1, 150, 700, 8, true}, {1, 1, 700, 100, 8, true}};

}  // namespace

BOOST_AUTO_TEST_SUITE(long_attention)

BOOST_AUTO_TEST_CASE(values) {
  for (const AttentionGeometry& g : many) BOOST_TEST_CONTEXT(g.l << " queries, " << g.m << " keys, heads of " << g.d) {
      const Operands in(g);
      const auto attended = in.attended();
      BOOST_TEST(relative_error(attended.y, in.expected()) < 2e-6);
      BOOST_TEST(attended.probabilities.defined() == !attended.statistics.defined());
    }
}

// The logarithm of each row's sum of exponentials.
BOOST_AUTO_TEST_CASE(statistics) {
  const Operands in({1, 2, 300, 280, 8});
  const auto attended = in.attended();
  if (!attended.statistics.defined()) return;  // no AVX2
  for (const i64 row : {0, 299})
    for (const i64 head : {0, 1}) {
      double sum = 0;
      for (i64 j = 0; j < 280; ++j) {
        double score = 0;
        for (i64 c = 0; c < 8; ++c)
          score += double(in.q.data()[row * 16 + head * 8 + c]) * double(in.k.data()[j * 16 + head * 8 + c]);
        sum += std::exp(score / std::sqrt(8.));
      }
      BOOST_TEST(std::abs(attended.statistics.data()[head * 300 + row] - std::log(sum)) < 1e-5);
    }
}

// Scores of some hundreds, rising and falling along the keys, so that every tile changes the largest.
BOOST_AUTO_TEST_CASE(large_scores) {
  const Operands in({1, 1, 300, 800, 16}, 60.f);
  const auto y = in.attended().y;
  BOOST_TEST(relative_error(y, in.expected()) < 2e-5);
  for (const float value : y.to_vector()) BOOST_TEST_REQUIRE(std::isfinite(value));
}

BOOST_AUTO_TEST_CASE(bf16_rounds_once) {
  const Operands in({1, 2, 290, 310, 24});
  const auto y = attention(cast<bf16>(in.q), cast<bf16>(in.k), cast<bf16>(in.v), 2).y;
  const Operands rounded = [&] {
    Operands out(in.g);
    out.q = cast<float>(cast<bf16>(in.q)), out.k = cast<float>(cast<bf16>(in.k)), out.v = cast<float>(cast<bf16>(in.v));
    return out;
  }();
  BOOST_TEST(relative_error(y, rounded.expected()) < 2 * epsilon<bf16>);
}

// A row depends neither on the number of threads nor on the batch.
BOOST_AUTO_TEST_CASE(bits) {
  const Operands in({2, 2, 300, 300, 24});
  const auto y = in.attended().y;
  const int threads = omp_get_max_threads();
  for (const int count : {1, 3, 8}) {
    omp_set_num_threads(count);
    BOOST_TEST(same_bits(in.attended().y, y));
  }
  omp_set_num_threads(threads);
  const auto second = attention(slice(in.q, 1, 2), slice(in.k, 1, 2), slice(in.v, 1, 2), 2).y;
  BOOST_TEST(same_bits(second, slice(y, 1, 2)));
}

// What is not a number spoils its own rows and no others; a key that nobody may see spoils nothing.
BOOST_AUTO_TEST_CASE(what_is_not_a_number) {
  Operands in({1, 1, 300, 300, 8});
  in.q.data()[7 * 8] = NAN;
  auto y = in.attended().y;
  for (i64 row = 0; row < 300; ++row) BOOST_TEST_REQUIRE(std::isnan(y.data()[row * 8]) == (row == 7));
  Operands keys({1, 1, 300, 300, 8, true});
  for (i64 c = 0; c < 8; ++c) keys.k.data()[200 * 8 + c] = NAN;
  y = keys.attended().y;
  for (i64 row = 0; row < 300; ++row) BOOST_TEST_REQUIRE(std::isnan(y.data()[row * 8]) == (row >= 200));
}

// Gradients where the probabilities of all heads are too many for one piece: those of each head alone, which fit.
BOOST_AUTO_TEST_CASE(gradients_of_many_heads) {
  for (const bool causal : {false, true}) {
    const Operands in({1, 16, 1100, 1000, 4, causal});
    const auto goal = random_tensor(in.q.shape(), 4);
    const auto gradients = [&](const auto& of, i64 heads) {
      Tape tape;
      const auto q = variable(tape, of(in.q)), k = variable(tape, of(in.k)), v = variable(tape, of(in.v));
      const auto y = attend(q, k, v, heads, causal);
      y.slot()->pass(of(goal));
      tape.run();
      return std::array{q.gradient(), k.gradient(), v.gradient()};
    };
    const auto whole = gradients([](const auto& x) { return x; }, 16);
    for (const i64 head : {0, 15}) {
      const auto of_head = [&](const Tensor<float, 3>& x) {
        const Tensor<float, 3> out({1, x.extent(1), 4});
        for (i64 i = 0; i < out.size(); ++i) out.data()[i] = x.data()[i / 4 * 64 + head * 4 + i % 4];
        return out;
      };
      const auto alone = gradients(of_head, 1);
      for (size_t i = 0; i < 3; ++i) BOOST_TEST(relative_error(of_head(whole[i]), doubles(alone[i])) < 2e-6);
    }
  }
}

// Neither way has the probabilities of all heads in memory: 4,096 tokens, 8 heads of 40, two images.
BOOST_AUTO_TEST_CASE(scratch) {
  const auto x = Tensor<float, 3>::full({2, 4096, 320}, 0.1f);
  Pool<Cpu>& pool = Pool<Cpu>::current();
  pool.reset_peak();
  const i64 before = pool.bytes_peak();
  const auto attended = attention(x, x, x, 8);
  BOOST_TEST(pool.bytes_peak() - before <= (i64(64) << 20));
  BOOST_TEST(std::abs(attended.y.data()[12345] - 0.1f) < 1e-6);
}

BOOST_AUTO_TEST_SUITE_END()
