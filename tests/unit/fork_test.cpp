// A child of fork() computes, and so does its parent afterwards: OpenMP's threads are of the parent alone (cpu/runtime.hpp).
#include <mindgap/ops/conv.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// What fork()'s child ends with, in which f() must be true; a signal where it waits for ever.
template <class F>
int status_of_child(F f) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    bool right = false;
    try {
      right = f();
    } catch (const std::exception&) {
    }
    ::_exit(right ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

// Work for all threads: by oneDNN or a microkernel, and by a kernel of ours.
std::vector<float> compute() {
  const auto x = random_tensor(Shape(8, 28, 28, 32), 1), w = random_tensor(Shape(64, 3, 3, 32), 2);
  return pointwise([](auto y) { return silu(y); }, conv2d(x, w, {}, {1, 1})).to_vector();
}

struct TwoThreads {
  int before = Runtime<Cpu>::threads();
  TwoThreads() { Runtime<Cpu>::set_threads(2); }
  ~TwoThreads() { Runtime<Cpu>::set_threads(before); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(forks, TwoThreads)

BOOST_AUTO_TEST_CASE(child_and_parent_compute) {
  const std::vector<float> expected = compute();
  for (int round = 0; round < 2; ++round) {
    BOOST_TEST(status_of_child([&] { return compute() == expected && Runtime<Cpu>::threads() == 2; }) == 0);
    BOOST_TEST((compute() == expected));
  }
}

BOOST_AUTO_TEST_CASE(from_another_thread) {
  const std::vector<float> expected = compute();
  int first = -1, second = -1;
  std::thread([&] {
    first = status_of_child([&] { return compute() == expected; });  // whose parent's other thread alone has computed
    Runtime<Cpu>::set_threads(2);
    compute();
    second = status_of_child([&] { return compute() == expected; });
  }).join();
  BOOST_TEST(first == 0);
  BOOST_TEST(second == 0);
  BOOST_TEST((compute() == expected));
}

BOOST_AUTO_TEST_CASE(inside_a_parallel_region) {
  const std::vector<float> expected = compute();
  int statuses[2] = {-1, -1};
#pragma omp parallel num_threads(2)
  statuses[omp_get_thread_num()] = status_of_child([] { return true; });
  BOOST_TEST(statuses[0] == 0);
  BOOST_TEST(statuses[1] == 0);
  BOOST_TEST((compute() == expected));
}

BOOST_AUTO_TEST_SUITE_END()
