// The fiber executor in a source that is watched (kernels/fiber_watch.hpp): a missing barrier is an error in every order of the
// threads, and a correct kernel none.
#include <mindgap/kernels/fiber_watch.hpp>

#include <atomic>
#include <boost/test/unit_test.hpp>

using namespace mindgap;

namespace {

constexpr int threads = 64;

// What run_fibers() reports, the same kind under every seed; or nothing.
template <class Kernel>
std::string report(const Kernel& kernel, i64 blocks = 2) {
  std::string found;
  for (u64 seed = 0; seed < 4; ++seed) {
    std::string what;
    try {
      run_fibers({blocks, threads}, kernel, seed);
    } catch (const Error& error) {
      what = error.what();
    }
    BOOST_TEST_MESSAGE(what);
    if (seed) BOOST_TEST(what.empty() == found.empty(), "only some seeds find it");
    found = what;
  }
  return found;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
bool is_race(const std::string& text) { return contains(text, "two threads touch the same shared memory, with no barrier"); }

// A kernel of a lambda of the block and 8 KiB of shared memory.
template <class F>
struct Body {
  F f;
  i64 shared_bytes() const { return 8192; }
  void operator()(FiberBlock& block) const { f(block, block.shared<float>(2048)); }
};

// Thread 3 writes word 17 in the second interval, and thread 40 reads it there.
struct OneWord {
  float* y;  // [1]
  static constexpr int written = __LINE__ + 7, read = __LINE__ + 8;

  i64 shared_bytes() const { return shared_size(280); }
  template <Block B>
  void operator()(B& block) const {
    float* const row = block.template shared<float>(70);
    block.sync();
    if (block.rank() == 3) row[17] = 1;
    if (block.rank() == 40) *y = load_vector<1>(row + 17).element[0];
  }
};

// Each thread sums the others' values, a step at a time: a round of neighbours through shared memory.
enum class Missing { nothing, before_read, before_next_write, before_read_but_product, before_read_but_groups };
template <Missing missing>
struct Round {
  float* y;        // [blocks, threads]
  const float* x;  // [blocks, threads]

  i64 shared_bytes() const { return shared_size(threads * i64(sizeof(float))); }
  void operator()(FiberBlock& block) const {
    float* const row = block.shared<float>(threads);
    const i64 at = block.id() * threads + block.rank();
    float value = x[at];
    y[at] = 0;
    for (int step = 0; step < 3; ++step) {
      row[block.rank()] = value;
      SumsOfC sums;
      if (missing == Missing::before_read_but_product) block.multiply<bf16>(sums, {}, {});
      else if (missing == Missing::before_read_but_groups) block.reduce(1.f, Sum{}, 32);
      else if (missing != Missing::before_read) block.sync();
      value = row[(block.rank() + 1) % threads];
      y[at] += value;
      if (missing != Missing::before_next_write) block.sync();
    }
  }
};

struct Fixture {
  std::vector<float> x = std::vector<float>(2 * threads, 1.f), y = x;

  template <Missing missing>
  std::string round() {
    return report(Round<missing>{y.data(), x.data()});
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(watch, Fixture)

BOOST_AUTO_TEST_CASE(the_report_names_all) {
  const std::string found = report(OneWord{y.data()});
  BOOST_TEST(is_race(found));
  BOOST_TEST(contains(found, "OneWord"));
  BOOST_TEST(contains(found, "byte 68 (32-bit word 17) of a piece of 280 bytes"));
  BOOST_TEST(contains(found, text("3 wrote it: watch_test.cpp:", OneWord::written, "\n")));
  BOOST_TEST(contains(found, "40 read it: vectorised.hpp:"));
  BOOST_TEST(contains(found, text(", called from watch_test.cpp:", OneWord::read, "\n")));
  BOOST_TEST(contains(found, text("2 of the block, after sync() in line ", OneWord::written - 1, " of watch_test.cpp")));
}

BOOST_AUTO_TEST_CASE(barriers_are_enough) {
  BOOST_TEST(round<Missing::nothing>() == "");
  // Two buffers in turn need one barrier a step.
  const auto in_turn = [](FiberBlock& block, float* memory) {
    float value = 1;
    for (int step = 0; step < 5; ++step) {
      float* const row = memory + step % 2 * threads;
      row[block.rank()] = value;
      block.sync();
      value += row[(block.rank() + 1) % threads];
    }
  };
  BOOST_TEST(report(Body{in_turn}) == "");
  // A reduction over all threads is a barrier.
  const auto reduced = [](FiberBlock& block, float* row) {
    row[block.rank()] = 1;
    block.reduce(1.f, Sum{});
    block.reduce(row[threads - 1 - block.rank()], Sum{});
  };
  BOOST_TEST(report(Body{reduced}) == "");
}

BOOST_AUTO_TEST_CASE(no_barrier_between_write_and_read) { BOOST_TEST(is_race(round<Missing::before_read>())); }

BOOST_AUTO_TEST_CASE(no_barrier_between_read_and_the_next_write) { BOOST_TEST(is_race(round<Missing::before_next_write>())); }

BOOST_AUTO_TEST_CASE(what_waits_for_a_warp_is_no_barrier) {
  BOOST_TEST(is_race(round<Missing::before_read_but_product>()));
  BOOST_TEST(is_race(round<Missing::before_read_but_groups>()));
}

BOOST_AUTO_TEST_CASE(two_writes) {
  BOOST_TEST(is_race(report(Body{[](FiberBlock& block, float* row) {
    if (block.rank() % 60 == 0) row[5] = float(block.rank());
  }})));
}

BOOST_AUTO_TEST_CASE(bytes_are_told_apart) {
  const auto halves = [](FiberBlock& block, float* memory) {
    bf16* const row = reinterpret_cast<bf16*>(memory);
    row[block.rank()] = bf16(1.f);
    row[block.rank()] = bf16(float(row[block.rank()]) + 1);
  };
  BOOST_TEST(report(Body{halves}) == "");
  const auto overlapping = [](FiberBlock& block, float* memory) {
    bf16* const row = reinterpret_cast<bf16*>(memory);
    if (block.rank() == 1) row[9] = bf16(1.f);
    if (block.rank() == 33) store_vector(row + 8, broadcast<8>(bf16(0.f)));
  };
  BOOST_TEST(contains(report(Body{overlapping}), "byte 18 (32-bit word 4)"));
}

BOOST_AUTO_TEST_CASE(atomic_accesses_do_not_race) {
  std::vector<int> seen;
  const auto count = [&](FiberBlock& block, float* memory) {
    std::atomic_ref<int> counter(*reinterpret_cast<int*>(memory));
    if (block.rank() == 0) counter.store(0);
    block.sync();
    counter.fetch_add(2);
    int expected = -1;
    counter.compare_exchange_strong(expected, 7);
    block.sync();
    if (block.rank() == 5) seen.push_back(*reinterpret_cast<int*>(memory));
  };
  BOOST_TEST(report(Body{count}) == "");
  BOOST_TEST(seen.size() == 8u);
  for (int value : seen) BOOST_TEST(value == 2 * threads);
  const auto mixed = [](FiberBlock& block, float* memory) {
    int* const counter = reinterpret_cast<int*>(memory);
    if (block.rank() == 5) *counter = 0;
    else std::atomic_ref<int>(*counter).fetch_add(1);
  };
  BOOST_TEST(is_race(report(Body{mixed})));
}

BOOST_AUTO_TEST_CASE(asynchronous_copies) {
  alignas(16) static float source[4 * threads];
  // Each thread copies a vector and reads its neighbour's, with what is asked for in between.
  enum Step { wait, sync };
  const auto copies = [](std::vector<Step> steps) {
    return Body{[=](FiberBlock& block, float* row) {
      block.copy_async(row + 4 * block.rank(), source + 4 * block.rank(), true);
      block.commit_copies();
      for (Step step : steps)
        if (step == wait) block.wait_copies<0>();
        else block.sync();
      block.reduce(row[4 * ((block.rank() + 1) % threads)], Sum{});
    }};
  };
  BOOST_TEST(report(copies({wait, sync})) == "");
  BOOST_TEST(is_race(report(copies({wait}))));
  BOOST_TEST(is_race(report(copies({sync, sync}))));  // still under way
  BOOST_TEST(is_race(report(copies({sync, wait}))));
}

BOOST_AUTO_TEST_CASE(no_thread_is_left_behind) {
  const auto late = [](FiberBlock& block, float* row) {
    row[0] = 1;
    block.sync();
    block.sync();
  };
  for (int run = 0; run < 3; ++run) BOOST_TEST(is_race(report(Body{late})));
}

BOOST_AUTO_TEST_SUITE_END()
