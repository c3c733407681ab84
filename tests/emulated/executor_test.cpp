// The fiber executor: it agrees with the serial one on a correct kernel, and it catches each mistake it promises to.
#include "tests/device_cases/executor.hpp"

#include "tests/emulate.hpp"
#include <boost/test/unit_test.hpp>
#include <set>

using namespace mindgap;

namespace {

// y[r, c] = softmax(x[r])[cols - 1 - c], with two reductions and shared memory; and the same with one mistake.
enum class Mistake { none, no_barrier, divergent_barrier, divergent_call, overrun, underrun, undeclared };

template <Mistake mistake = Mistake::none>
struct ReversedSoftmax {
  float* y;        // [rows, cols], each row reversed
  const float* x;  // [rows, cols]
  i64 cols;

  i64 shared_bytes() const { return mistake == Mistake::undeclared ? 0 : shared_size(cols * 4); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const float* in = x + block.id() * cols;
    float* terms = block.template shared<float>(cols);
    float largest = -1e30f, sum = 0;
    for (i64 c = block.rank(); c < cols; c += block.size()) largest = in[c] > largest ? in[c] : largest;
    largest = block.reduce(largest, Max{});
    for (i64 c = block.rank(); c < cols; c += block.size()) sum += terms[c] = exp_f32(in[c] - largest);
    if (mistake == Mistake::overrun && block.rank() == block.size() / 2) terms[cols] = 0;
    if (mistake == Mistake::underrun && block.rank() == block.size() / 2) terms[-1] = 0;
    if (mistake == Mistake::divergent_barrier && block.rank() < block.size() / 2) block.sync();
    if (mistake == Mistake::divergent_call) {
      if (block.rank() % 2) block.sync();
      else block.reduce(0.f, Sum{});
    }
    if (mistake == Mistake::no_barrier) sum = 1;
    else sum = block.reduce(sum, Sum{});
    for (i64 c = block.rank(); c < cols; c += block.size()) y[block.id() * cols + c] = terms[cols - 1 - c] / sum;
  }
};

struct Mean {
  float sum, count;
};
struct Merge {
  MG_HD Mean operator()(Mean a, Mean b) const { return {a.sum + b.sum, a.count + b.count}; }
};

// Counts its threads by a reduction of a struct; out[block] = threads, seen[block] = the sum of ranks.
struct Count {
  float* out;
  float* ranks;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const Mean all = block.reduce(Mean{float(block.rank()), 1.f}, Merge{});
    if (block.rank() == 0) out[block.id()] = all.count, ranks[block.id()] = all.sum;
  }
};

// Notes the order in which (block, rank) ran; host only.
struct Order {
  std::vector<std::pair<i64, int>>* seen;

  template <Block B>
  void operator()(B& block) const {
    seen->push_back({block.id(), block.rank()});
    block.sync();
    seen->push_back({block.id(), block.rank()});
  }
};

// A user's kernel, which may be called as one of the library's, with a body for each kind of block: out = which one ran.
struct CrossEntropy {
  static constexpr int vec_size = 4;

  float* out;
  bool aligned;

  MG_HD bool vectorised() const { return aligned; }
  template <Block B>
  MG_HD void serial(B&) const {
    *out = 0;
  }
  template <int V, Block B>
  MG_HD void team(B& block) const {
    if (block.rank() == 0) *out = V;
  }
};

struct Fixture {
  static constexpr i64 rows = 5, cols = 70;
  Tensor<float, 2> x = Tensor<float, 2>(Shape<2>{rows, cols}), y = Tensor<float, 2>::zeros({rows, cols});

  Fixture() {
    const Stream stream(3, "executor test");
    for (i64 i = 0; i < x.size(); ++i) x.data()[i] = stream.normal(u64(i));
  }
  template <Mistake mistake>
  ReversedSoftmax<mistake> kernel() const {
    return {y.data(), x.data(), cols};
  }
  // The message of the Error that the kernel ends with.
  template <Mistake mistake>
  std::string message() const {
    try {
      run_fibers({rows, 64}, kernel<mistake>(), 1);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
};

bool contains(const std::string& text, const std::string& part) {
  BOOST_TEST_MESSAGE(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(executor, Fixture)

BOOST_AUTO_TEST_CASE(the_executor_chooses_the_body) {
  float ran = -1;
  run_serial({1}, CrossEntropy{&ran, true});
  BOOST_TEST(ran == 0);
  run_fibers({1, 32}, CrossEntropy{&ran, true}, 0);
  BOOST_TEST(ran == 4);
  run_fibers({1, 32}, CrossEntropy{&ran, false}, 0);
  BOOST_TEST(ran == 1);
}

BOOST_AUTO_TEST_CASE(correct_kernel_agrees_with_serial) {
  emulate({rows}, kernel<Mistake::none>(), 1e-6, y);
  run_serial({rows}, kernel<Mistake::none>());
  double sum = 0;
  for (i64 c = 0; c < cols; ++c) sum += y.data()[c];
  BOOST_TEST(std::abs(sum - 1) < 1e-5);
}

BOOST_AUTO_TEST_CASE(every_block_size) {
  for (int threads : {1, 2, 5, 31, 32, 33, 100, 1024})
    BOOST_TEST(emulated_difference({rows, threads}, 0, kernel<Mistake::none>(), y) <= 1e-6);
}

BOOST_AUTO_TEST_CASE(reduction_covers_all_threads) {
  Tensor<float, 1> out(Shape<1>{3}), ranks(Shape<1>{3});
  for (int threads : {1, 5, 32, 33, 96, 1024}) {
    run_fibers({3, threads}, Count{out.data(), ranks.data()});
    for (int block = 0; block < 3; ++block) {
      BOOST_TEST(out.data()[block] == float(threads));
      BOOST_TEST(ranks.data()[block] == float(threads * (threads - 1) / 2));
    }
  }
}

BOOST_AUTO_TEST_CASE(groups_of_lanes_reduce_in_order) {
  Tensor<float, 1> first(Shape<1>{96}), last(Shape<1>{96});
  for (int lanes : {1, 2, 8, 32}) {
    run_fibers({1, 96}, test::Groups{first.data(), last.data(), lanes});
    for (int rank = 0; rank < 96; ++rank) {
      BOOST_TEST(first.data()[rank] == float(rank / lanes * lanes));
      BOOST_TEST(last.data()[rank] == float(rank / lanes * lanes + lanes - 1));
    }
  }
  for (int lanes : {0, 3, 64}) BOOST_CHECK_THROW(run_fibers({1, 96}, test::Groups{first.data(), last.data(), lanes}), Error);
}

template <class T, int Pending = 0>
float error_on_fibers(u64 seed) {
  return test::error_of_warp_product<T>([&](const Tensor<T, 2>& a, const Tensor<T, 2>& b) {
    const auto c = Tensor<float, 2>::zeros({16, 8});
    run_fibers({1, 32}, test::WarpProduct<T, Pending>{c.data(), a.data(), b.data()}, seed);
    return c.to_vector();
  });
}

BOOST_AUTO_TEST_CASE(warps_multiply) {
  for (u64 seed : {0, 1, 2}) {
    BOOST_TEST(error_on_fibers<bf16>(seed) == 0.f);
    BOOST_TEST(error_on_fibers<f16>(seed) == 0.f);
  }
}

// A warp waits at a product for its own lanes alone, so that one may be far ahead of another, but not beyond a barrier.
BOOST_AUTO_TEST_CASE(warps_run_ahead) {
  struct Products {
    std::vector<int>* seen;
    void operator()(FiberBlock& block) const {
      SumsOfC sums;
      for (int i = 0; i < 3; ++i) {
        block.multiply<bf16>(sums, {}, {});
        if (block.rank() % 32 == 0) seen->push_back(block.rank() / 32);
      }
      block.sync();
      if (block.rank() % 32 == 0) seen->push_back(2);
    }
  };
  std::set<std::vector<int>> orders;
  for (u64 seed = 0; seed < 20; ++seed) {
    std::vector<int> seen;
    run_fibers({1, 64}, Products{&seen}, seed);
    BOOST_TEST((seen.size() == 8u && seen[6] == 2 && seen[7] == 2));
    orders.insert(seen);
  }
  BOOST_TEST(std::any_of(orders.begin(), orders.end(), [](const std::vector<int>& seen) { return seen[0] == seen[1]; }));
}

BOOST_AUTO_TEST_CASE(products_of_part_of_a_warp_are_reported) {
  struct Half {
    void operator()(FiberBlock& block) const {
      SumsOfC sums;
      if (block.rank() < 48) block.multiply<bf16>(sums, {}, {});
      else block.sync();
    }
  };
  try {
    run_fibers({1, 64}, Half{});
    BOOST_ERROR("no error");
  } catch (const Error& error) {
    BOOST_TEST(contains(error.what(), "threads 32 to 47 reached multiply() in line "));
    BOOST_TEST(contains(error.what(), "threads 48 to 63 reached sync() in line "));
  }
}

BOOST_AUTO_TEST_CASE(copies_that_nobody_waits_for_come_late) {
  BOOST_TEST(!(error_on_fibers<bf16, 1>(0) == 0.f));
  BOOST_TEST((error_on_fibers<bf16, 1>(1) == 0.f));  // they may come early, too
}

BOOST_AUTO_TEST_CASE(copies_of_other_memory_than_packets_are_reported) {
  struct Odd {
    const float* x;
    MG_HD i64 shared_bytes() const { return 64; }
    void operator()(FiberBlock& block) const { block.copy_async(block.shared<float>(16), x + 1, true); }
  };
  BOOST_CHECK_EXCEPTION(run_fibers({1, 32}, Odd{x.data()}), Error,
                        [](const Error& error) { return contains(error.what(), "no multiple of 16 bytes"); });
}

BOOST_AUTO_TEST_CASE(order_is_random_and_follows_the_seed) {
  const auto order = [](u64 seed) {
    std::vector<std::pair<i64, int>> seen;
    run_fibers({4, 32}, Order{&seen}, seed);
    return seen;
  };
  const auto first = order(1);
  BOOST_TEST(first.size() == 4u * 32 * 2);
  BOOST_TEST((first == order(1)));
  BOOST_TEST((first != order(2)));
  std::set<i64> blocks;
  for (size_t i = 0; i < first.size(); i += 64) blocks.insert(first[i].first);
  BOOST_TEST(blocks.size() == 4u);
  bool sorted = true, same_order = true;
  for (size_t i = 0; i < 32; ++i) {
    sorted = sorted && first[i].second == int(i);
    same_order = same_order && first[i] == first[i + 32];
  }
  BOOST_TEST(!sorted);
  BOOST_TEST(!same_order);
}

BOOST_AUTO_TEST_CASE(missing_barrier_gives_other_values) {
  for (u64 seed : {0, 1, 2}) BOOST_TEST(emulated_difference({rows, 64}, seed, kernel<Mistake::no_barrier>(), y) > 1e-3);
}

BOOST_AUTO_TEST_CASE(divergent_barrier_is_reported) {
  const std::string text = message<Mistake::divergent_barrier>();
  BOOST_TEST(contains(text, "a barrier that not all threads reach"));
  BOOST_TEST(contains(text, "threads 0 to 31 reached sync() in line "));
  BOOST_TEST(contains(text, "threads 32 to 63 reached reduce() in line "));
  BOOST_TEST(contains(text, "executor_test.cpp"));
  BOOST_TEST(contains(text, "ReversedSoftmax"));
}

BOOST_AUTO_TEST_CASE(different_calls_are_reported) {
  BOOST_TEST(contains(message<Mistake::divergent_call>(), "a barrier that not all threads reach"));
}

BOOST_AUTO_TEST_CASE(barrier_after_others_ended_is_reported) {
  struct Early {
    void operator()(FiberBlock& block) const {
      if (block.rank() != 3) block.sync();
    }
  };
  try {
    run_fibers({1, 32}, Early{});
    BOOST_ERROR("no error");
  } catch (const Error& error) {
    BOOST_TEST(contains(error.what(), "threads 0 to 2, 4 to 31 reached sync()"));
    BOOST_TEST(contains(error.what(), "threads 3 reached its end"));
  }
}

BOOST_AUTO_TEST_CASE(writes_outside_shared_memory_are_reported) {
  const std::string over = message<Mistake::overrun>(), under = message<Mistake::underrun>();
  BOOST_TEST(contains(over, "a thread wrote outside its shared memory"));
  BOOST_TEST(contains(over, "32 wrote at byte 280 before it reached reduce() in line "));
  BOOST_TEST(contains(under, "32 wrote at byte -4 before"));
}

BOOST_AUTO_TEST_CASE(undeclared_shared_memory_is_reported) {
  BOOST_TEST(contains(message<Mistake::undeclared>(), "more shared memory than its shared_bytes() declares"));
}

BOOST_AUTO_TEST_CASE(exception_in_a_kernel_leaves_no_thread_behind) {
  struct Throws {
    void operator()(FiberBlock& block) const {
      block.sync();
      if (block.rank() == 7) throw Error("thread 7 gives up");
      block.sync();
    }
  };
  for (int run = 0; run < 3; ++run)
    BOOST_CHECK_EXCEPTION(run_fibers({2, 64}, Throws{}), Error,
                          [](const Error& error) { return contains(error.what(), "thread 7 gives up"); });
}

BOOST_AUTO_TEST_CASE(too_many_threads) { BOOST_CHECK_THROW(run_fibers({1, 1025}, Count{}), Error); }

BOOST_AUTO_TEST_SUITE_END()
