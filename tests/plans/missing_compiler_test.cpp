// Without a driver or libnvrtc cuDNN cannot compile kernels, and then proposes fewer plans, or none, without an error: we say so,
// once. It runs with a libcuda.so.1 that is empty.
#include <mindgap/cuda/cudnn_attention.hpp>
#include <mindgap/io/file.hpp>

#include <boost/test/unit_test.hpp>
#include <iostream>
#include <sstream>

using namespace mindgap;

BOOST_AUTO_TEST_SUITE(missing_compiler)

BOOST_AUTO_TEST_CASE(is_said_once) {
  using namespace cuda::detail;
  std::ostringstream said;
  std::streambuf* const before = std::cerr.rdbuf(said.rdbuf());
  size_t plans = 0;
  for (int i = 0; i < 2; ++i) {
    const Card card(read_file(MINDGAP_SOURCE_DIR "/tests/plans/h100.json"));
    const OperationGraph operations = AttentionKey{{2, 2, 64, 64, 40}, DType::bf16, false}.graph();
    plans += proposals(operations.finalized(card), card).size();
  }
  std::cerr.rdbuf(before);
  BOOST_TEST(plans == 0u);
  const std::string text = said.str();
  BOOST_TEST(text.find("cuDNN cannot compile kernels here") != text.npos, text);
  BOOST_TEST(text.find("libnvrtc") != text.npos, text);
  BOOST_TEST(text.find("mindgap:") == text.rfind("mindgap:"), text);
}

BOOST_AUTO_TEST_SUITE_END()
