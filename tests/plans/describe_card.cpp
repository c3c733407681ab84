// Writes this machine's GPU as cuDNN describes it (JSON) to standard output: the plans of h100.json without an H100.
//   describe_card > tests/plans/h100.json
#include <mindgap/cuda/cudnn.hpp>

#include <exception>
#include <iostream>

int main() {
  try {
    std::cout << mindgap::cuda::card_description() << "\n";
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
