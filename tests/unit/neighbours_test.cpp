// Threads that wait do not spin where others want the cores (cpu/neighbours.hpp). ctest runs this without OMP_WAIT_POLICY.
#include <mindgap/cpu/neighbours.hpp>

#include <boost/test/unit_test.hpp>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

using namespace mindgap;

namespace {

// Seconds of the cores that this process took while its main thread slept after a parallel region.
double taken_by_waiting() {
  const auto taken = [] {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
  };
  std::atomic<int> members = 0;
#pragma omp parallel num_threads(2)
  ++members;
  BOOST_TEST(members == 2);
  const double before = taken();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  return taken() - before;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(neighbours)

BOOST_AUTO_TEST_CASE(idle_team_ends_spinning) {
  {
    const detail::IdleTeam team;
    // The team comes to be on a thread of its own.
    double taken = taken_by_waiting();
    for (int tries = 0; tries < 100 && taken > 0.0005; ++tries) taken = taken_by_waiting();
    BOOST_TEST(taken <= 0.0005);
  }
  BOOST_TEST(taken_by_waiting() >= 0);  // ends, and works on
}

BOOST_AUTO_TEST_CASE(others_are_noticed) {
  const Neighbours neighbours;
  BOOST_TEST(!neighbours.sharing());
  std::atomic<bool> stop = false;
  std::vector<std::thread> busy;
  for (int i = 0; i < 2 * omp_get_num_procs() + 1; ++i)
    busy.emplace_back([&] {
      while (!stop) {
      }
    });
  for (int tries = 0; tries < 600 && !neighbours.sharing(); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  BOOST_TEST(neighbours.sharing());
  stop = true;
  for (std::thread& thread : busy) thread.join();
}

// The child has no thread to wait for.
BOOST_AUTO_TEST_CASE(a_child_ends_it) {
  auto neighbours = std::make_unique<Neighbours>();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // its thread waits
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    neighbours.reset();
    _exit(0);
  }
  int status = -1;
  BOOST_REQUIRE(waitpid(child, &status, 0) == child);
  BOOST_TEST(status == 0);
}

BOOST_AUTO_TEST_SUITE_END()
