// The device cases of linear.hpp on the GPU: cuDNN and cuBLAS against the CPU's f32. Repetition, capture, the autotune cache.
#include <mindgap/cuda/library.hpp>

#include "tests/cuda/parity.hpp"
#include "tests/device_cases/linear.hpp"

using namespace mindgap;

BOOST_AUTO_TEST_SUITE(linear)

BOOST_AUTO_TEST_CASE(agrees_with_cpu) { compare_with_cpu(test::linear_cases<Cpu>(), test::linear_cases<Cuda>()); }

BOOST_AUTO_TEST_CASE(plans_are_kept) {
  test::convolution<Cuda, float>(Shape(2, 8, 8, 16), 16, 3, 1);
  const std::string table = cuda::autotune_cache();
  BOOST_TEST(table.find("forward f32 full 2 8 8 16 16 3 3 1 1 1 1") != table.npos, table);
  BOOST_TEST(cuda::read_autotune_cache(table) > 0);
  BOOST_TEST(cuda::read_autotune_cache("card of another name\n0 forward\n") == 0);
  BOOST_TEST(cuda::plan_hash().size() == 16u);
}

// The same bits in every run: plans that add up in another order each time are passed over.
BOOST_AUTO_TEST_CASE(repeats) {
  const auto convolution = [] { return test::convolution<Cuda, bf16>(Shape(64, 28, 28, 16), 32, 3, 1); };
  const auto attention = [] { return test::attention_both_ways<Cuda, bf16>({4, 8, 512, 512, 40}); };
  for (int run = 0; run < 3; ++run) {
    BOOST_TEST(test::largest_difference(convolution(), convolution()) == 0.);
    BOOST_TEST(test::largest_difference(attention(), attention()) == 0.);
  }
}

// Attention of 16-bit types is made in one pass: it saves no probabilities.
BOOST_AUTO_TEST_CASE(attention_is_fused) {
  const auto attended = [](auto element, i64 d) {
    const auto x = test::random_on<Cuda, decltype(element)>(Shape<3>(2, 64, 2 * d), 1);
    return attention(x, x, x, 2);
  };
  BOOST_TEST(attended(bf16{}, 40).statistics.defined());
  BOOST_TEST(!attended(bf16{}, 40).probabilities.defined());
  BOOST_TEST(attended(f16{}, 160).statistics.defined());
  BOOST_TEST(attended(f16{}, 12).probabilities.defined());
  BOOST_TEST(attended(float{}, 40).probabilities.defined());
}

// Calls of known plans only queue, so they may be captured; a call whose plan is not known says what to do.
BOOST_AUTO_TEST_CASE(captures) {
  const auto x = test::random_on<Cuda, bf16>(Shape(8, 14, 14, 24), 1), w = test::random_on<Cuda, bf16>(Shape(40, 3, 3, 24), 2);
  const cudaStream_t stream = Runtime<Cuda>::stream();
  const auto captured = [&](const auto& step) {
    cudaGraph_t graph = nullptr;
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
    std::string message;
    try {
      step();
    } catch (const Error& error) {
      message = error.what();
    }
    BOOST_TEST(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    if (graph) cudaGraphDestroy(graph);
    return message;
  };
  const auto step = [&] { conv2d(x, w, {}, {1, 1}); };
  const std::string refused = captured(step);
  BOOST_TEST(refused.find("run the step once before it is captured") != refused.npos, refused);
  step();
  BOOST_TEST(captured(step) == "");
}

BOOST_AUTO_TEST_SUITE_END()
