// A record lies in a chunk of the tape.
// expect_first: mindgap: a record is at most 64 KiB
#include <mindgap/autograd/tape.hpp>

#include <array>

using namespace mindgap;

void keep(Tape& tape, const std::array<double, 10000>& numbers) {
  tape.record([numbers] { (void)numbers; });
}
