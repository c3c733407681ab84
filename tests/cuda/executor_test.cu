// The CUDA executor: tensors on the GPU, and kernels that agree with the serial executor. Needs a GPU to run; that it
// compiles and links is tested everywhere.
#include <mindgap/core/random.hpp>
#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/cuda/runtime.hpp>

#include "tests/device_cases/executor.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;

namespace {

struct Mean {
  float sum, count;
};
struct Merge {
  MG_HD Mean operator()(Mean a, Mean b) const { return {a.sum + b.sum, a.count + b.count}; }
};

// y[r, c] = softmax(x[r])[cols - 1 - c]; rank_mean[r] = mean of the block's ranks
template <class T>
struct ReversedSoftmax {
  T* y;              // [rows, cols]
  float* rank_mean;  // [rows]
  const T* x;        // [rows, cols]
  i64 cols;

  i64 shared_bytes() const { return shared_size(cols * 4) + shared_size(64); }

  template <Block B>
  MG_HD void operator()(B& block) const {
    const T* in = x + block.id() * cols;
    float* unused = block.template shared<float>(16);
    float* terms = block.template shared<float>(cols);
    if (block.rank() == 0) unused[15] = 1;
    float largest = -1e30f, sum = 0;
    for (i64 c = block.rank(); c < cols; c += block.size()) largest = float(in[c]) > largest ? float(in[c]) : largest;
    largest = block.reduce(largest, Max{});
    for (i64 c = block.rank(); c < cols; c += block.size()) sum += terms[c] = exp_f32(float(in[c]) - largest);
    sum = block.reduce(sum, Sum{});
    const Mean ranks = block.reduce(Mean{float(block.rank()), 1.f}, Merge{});
    for (i64 c = block.rank(); c < cols; c += block.size()) y[block.id() * cols + c] = T(terms[cols - 1 - c] / sum);
    if (block.rank() == 0) rank_mean[block.id()] = ranks.sum / ranks.count;
  }
};

// y[4 i + j] = normal 4 i + j of a stream
struct Normals {
  float* y;
  Stream stream;
  i64 blocks_of_four;

  template <Block B>
  MG_HD void operator()(B& block) const {
    const i64 i = block.id() * block.size() + block.rank();
    if (i < blocks_of_four) stream.normals(u64(i), y + 4 * i);
  }
};

template <class T>
void compare(i64 rows, i64 cols, int threads, float tolerance) {
  Tensor<T, 2> x(Shape<2>{rows, cols}), y(Shape<2>{rows, cols});
  Tensor<float, 1> mean(Shape<1>{rows});
  const Stream stream(3, "cuda executor test");
  for (i64 i = 0; i < x.size(); ++i) x.data()[i] = T(stream.normal(u64(i)));
  const auto x_gpu = x.template to<Cuda>();
  auto y_gpu = Tensor<T, 2, Cuda>::zeros(y.shape());
  auto mean_gpu = Tensor<float, 1, Cuda>::zeros(mean.shape());
  Runtime<Cpu>::launch({rows}, ReversedSoftmax<T>{y.data(), mean.data(), x.data(), cols});
  Runtime<Cuda>::launch({rows, threads}, ReversedSoftmax<T>{y_gpu.data(), mean_gpu.data(), x_gpu.data(), cols});
  const std::vector<T> got = y_gpu.to_vector();
  for (i64 i = 0; i < y.size(); ++i) BOOST_REQUIRE_SMALL(float(got[size_t(i)]) - float(y.data()[i]), tolerance);
  for (float value : mean_gpu.to_vector()) BOOST_REQUIRE_EQUAL(value, float(threads - 1) / 2);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(executor)

BOOST_AUTO_TEST_CASE(agrees_with_serial) {
  for (int threads : {32, 96, 256, 1024}) {
    compare<float>(5, 70, threads, 1e-6f);
    compare<bf16>(5, 333, threads, 1e-3f);
    compare<f16>(5, 333, threads, 1e-4f);
  }
  compare<float>(3, 20'000, 256, 1e-6f);  // more than 48 KiB of shared memory
}

BOOST_AUTO_TEST_CASE(groups_of_lanes_reduce_in_order) {
  Tensor<float, 1, Cuda> first(Shape<1>{96}), last(Shape<1>{96});
  for (int lanes : {1, 2, 8, 32}) {
    Runtime<Cuda>::launch({1, 96}, test::Groups{first.data(), last.data(), lanes});
    const auto from = first.to_vector(), to = last.to_vector();
    for (int rank = 0; rank < 96; ++rank) {
      BOOST_TEST(from[size_t(rank)] == float(rank / lanes * lanes));
      BOOST_TEST(to[size_t(rank)] == float(rank / lanes * lanes + lanes - 1));
    }
  }
}

template <class T>
float error_on_gpu() {
  return test::error_of_warp_product<T>([](const Tensor<T, 2>& a, const Tensor<T, 2>& b) {
    const auto c = Tensor<float, 2, Cuda>::zeros({16, 8});
    const auto a_gpu = a.template to<Cuda>(), b_gpu = b.template to<Cuda>();
    Runtime<Cuda>::launch({1, 32}, test::WarpProduct<T, 0>{c.data(), a_gpu.data(), b_gpu.data()});
    return c.to_vector();
  });
}

BOOST_AUTO_TEST_CASE(warps_multiply) {
  BOOST_TEST(error_on_gpu<bf16>() == 0.f);
  BOOST_TEST(error_on_gpu<f16>() == 0.f);
}

BOOST_AUTO_TEST_CASE(same_normals_on_both_devices) {
  const i64 n = 1000;
  Tensor<float, 1> cpu(Shape<1>{4 * n});
  Tensor<float, 1, Cuda> gpu(Shape<1>{4 * n});
  const Stream stream(7, "normals");
  Runtime<Cpu>::launch({n}, Normals{cpu.data(), stream, n});
  Runtime<Cuda>::launch({(n + 255) / 256}, Normals{gpu.data(), stream, n});
  BOOST_TEST(same_bits(cpu, gpu.to<Cpu>()));
}

BOOST_AUTO_TEST_CASE(tensor_factories) {
  const auto full = Tensor<bf16, 2, Cuda>::full({3, 4}, bf16(1.5f));
  const auto copy = full.clone();
  BOOST_TEST(copy.str() == "bf16 [3, 4] cuda");
  for (bf16 value : copy.slice(1, 3).to_vector()) BOOST_TEST(float(value) == 1.5f);
  BOOST_TEST((Tensor<i64, 1, Cuda>::from({5}, {1}).item()) == 5);
}

BOOST_AUTO_TEST_CASE(errors_name_the_kernel) {
  const auto names_kernel = [](const Error& error) { return std::string(error.what()).find("Normals") != std::string::npos; };
  const Normals kernel{nullptr, Stream(7, "normals"), 0};
  Runtime<Cuda>::launch({0}, kernel);
  BOOST_CHECK_EXCEPTION(Runtime<Cuda>::launch({1, 33}, kernel), Error, names_kernel);
  BOOST_CHECK_EXCEPTION(Runtime<Cuda>::launch({-1}, kernel), Error, names_kernel);
}

BOOST_AUTO_TEST_SUITE_END()
