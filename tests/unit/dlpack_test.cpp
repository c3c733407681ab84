// DLPack in and out: memory is shared and kept alive, and what is not dense, aligned or of the type is refused.
#include <mindgap/interop/dlpack.hpp>

#include "tests/values.hpp"
#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <memory>
#include <vector>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// A struct as another library makes it, with what a test changes of it.
struct Foreign {
  std::vector<float> values = std::vector<float>(24);
  std::vector<std::int64_t> shape{1, 2, 3, 4}, strides{24, 12, 4, 1};
  int deleted = 0;
  dlpack::DLManagedTensorVersioned managed{
      {1, 1},
      this,
      [](dlpack::DLManagedTensorVersioned* self) { ++static_cast<Foreign*>(self->manager_ctx)->deleted; },
      0,
      {values.data(), {dlpack::cpu, 0}, 4, {dlpack::ieee_float, 32, 1}, shape.data(), strides.data(), 0}};
};

}  // namespace

BOOST_AUTO_TEST_SUITE(dlpack_structs)

// As dlpack.h of 1.1 lays them out on 64-bit machines.
BOOST_AUTO_TEST_CASE(layout) {
  using namespace mindgap::dlpack;
  BOOST_TEST(sizeof(DLTensor) == 48u);
  BOOST_TEST(offsetof(DLTensor, ndim) == 16u);
  BOOST_TEST(offsetof(DLTensor, dtype) == 20u);
  BOOST_TEST(offsetof(DLTensor, shape) == 24u);
  BOOST_TEST(offsetof(DLTensor, byte_offset) == 40u);
  BOOST_TEST(sizeof(DLManagedTensorVersioned) == 80u);
  BOOST_TEST(offsetof(DLManagedTensorVersioned, flags) == 24u);
  BOOST_TEST(offsetof(DLManagedTensorVersioned, dl_tensor) == 32u);
}

BOOST_AUTO_TEST_CASE(out_and_in) {
  const auto both_ways = []<class T>(T) {
    auto x = cast<T>(random_tensor(Shape(2, 3), 1));
    dlpack::DLManagedTensorVersioned* const managed = to_dlpack(x);
    BOOST_TEST(managed->version.major == 1u);
    BOOST_TEST(managed->dl_tensor.strides[0] == 3);
    auto y = from_dlpack<T, 2>(managed);
    BOOST_TEST(y.data() == x.data());
    const auto expected = doubles(x);
    x = {};
    BOOST_TEST(doubles(y) == expected);  // alive
  };
  both_ways(float{});
  both_ways(bf16{});
  both_ways(f16{});
  const auto ids = from_dlpack<i64, 1>(to_dlpack(Tensor<i64, 1>::from({1, -2}, Shape<1>(2))));
  BOOST_TEST(ids.to_vector()[1] == -2);
  const auto pixels = from_dlpack<u8, 1>(to_dlpack(Tensor<u8, 1>::from({200}, Shape<1>(1))));
  BOOST_TEST(int(pixels.to_vector()[0]) == 200);
  BOOST_CHECK_THROW(to_dlpack(Tensor<float, 1>()), Error);
}

BOOST_AUTO_TEST_CASE(the_deleter_runs_once_at_the_end) {
  Foreign foreign;
  foreign.values[6] = 5;
  foreign.managed.dl_tensor.byte_offset = 0;
  {
    auto x = from_dlpack<float, 4>(&foreign.managed);
    const auto view = x.reshape(Shape<1>(24)).slice(6, 7);
    x = {};
    BOOST_TEST(foreign.deleted == 0);
    BOOST_TEST(view.item() == 5.f);
  }
  BOOST_TEST(foreign.deleted == 1);
}

BOOST_AUTO_TEST_CASE(what_is_refused) {
  const auto refused = [](const char* words, auto change) {
    Foreign foreign;
    change(foreign);
    BOOST_CHECK_EXCEPTION((from_dlpack<float, 4>(&foreign.managed)), Error, [&](const Error& e) {
      const std::string what = e.what();
      BOOST_TEST_CONTEXT(what) BOOST_TEST((what.find(words) != what.npos));
      return what.find("remedy") != what.npos;
    });
    BOOST_TEST(foreign.deleted == 0);  // still the caller's
  };
  refused("version 2.0", [](Foreign& f) { f.managed.version = {2, 0}; });
  refused("device of type 2", [](Foreign& f) { f.managed.dl_tensor.device.device_type = dlpack::cuda; });
  refused("wanted f32", [](Foreign& f) { f.managed.dl_tensor.dtype.bits = 64; });
  refused("wanted f32", [](Foreign& f) { f.managed.dl_tensor.dtype.code = dlpack::signed_integer; });
  refused("2 lanes", [](Foreign& f) { f.managed.dl_tensor.dtype.lanes = 2; });
  refused("3 axes", [](Foreign& f) { f.managed.dl_tensor.ndim = 3; });
  refused("the shape of 4 axes is null", [](Foreign& f) { f.managed.dl_tensor.shape = nullptr; });
  refused("read-only", [](Foreign& f) { f.managed.flags = 1; });
  // [n, h, w, c] of a torch tensor [n, c, h, w] in its default order
  refused("strides [24, 4, 1, 6]", [](Foreign& f) {
    f.strides = {24, 4, 1, 6};
    f.managed.dl_tensor.strides = f.strides.data();
  });
  refused("multiple of 4 bytes", [](Foreign& f) { f.managed.dl_tensor.byte_offset = 2; });
}

// Strides say nothing of axes of one element, and of tensors without any; null stands for dense.
BOOST_AUTO_TEST_CASE(what_is_dense) {
  const auto taken = [](auto change) {
    Foreign foreign;
    change(foreign);
    const auto x = from_dlpack<float, 4>(&foreign.managed);
    BOOST_TEST(x.data() == foreign.values.data());
  };
  taken([](Foreign& f) { f.managed.dl_tensor.strides = nullptr; });
  taken([](Foreign& f) { f.strides[0] = 7; });
  taken([](Foreign& f) { f.shape[1] = 0; });
  taken([](Foreign& f) { f.shape = {0, i64(1) << 40, i64(1) << 40, 4}; });
}

BOOST_AUTO_TEST_CASE(structs_that_lie) {
  Foreign foreign;
  const auto refused = [&](const char* words) {
    BOOST_CHECK_EXCEPTION((from_dlpack<float, 4>(&foreign.managed)), Error,
                          [&](const Error& e) { return std::string(e.what()).find(words) != std::string::npos; });
    BOOST_TEST(foreign.deleted == 0);  // still the caller's
  };
  foreign.shape = {1, -2, -3, 4};
  refused("negative extent");
  foreign.managed.dl_tensor.strides = nullptr;
  refused("negative extent");
  foreign.shape = {i64(1) << 20, i64(1) << 20, i64(1) << 20, i64(1) << 20};
  refused("more than 2^63 elements");
  foreign.shape = {1, i64(1) << 20, i64(1) << 20, i64(1) << 21};
  refused("more bytes");
  foreign.shape = {1, 2, 3, 4};
  foreign.managed.dl_tensor.data = nullptr;
  refused("no memory");
  BOOST_CHECK_EXCEPTION((from_dlpack<float, 4>(nullptr)), Error,
                        [](const Error& e) { return std::string(e.what()).find("the struct is null") != std::string::npos; });
  foreign.managed.dl_tensor.shape = nullptr;
  refused("the shape of 4 axes is null");
  foreign.managed.dl_tensor.shape = foreign.shape.data();
  foreign.shape = {1, 0, 3, 4};
  from_dlpack<float, 4>(&foreign.managed);
  BOOST_TEST(foreign.deleted == 1);
}

BOOST_AUTO_TEST_SUITE_END()
