// What a training step does besides the network, on fibers: batches cut from a data set, optimizers, clipping and the loss scale.
#include <mindgap/kernels/augment.hpp>
#include <mindgap/kernels/fill.hpp>
#include <mindgap/kernels/optimizer.hpp>

#include "tests/emulate.hpp"

using namespace mindgap;
using namespace mindgap::test;

namespace {

Tensor<u8, 1> pixels(i64 n) {
  Tensor<u8, 1> out{Shape<1>(n)};
  for (i64 i = 0; i < n; ++i) out.data()[i] = u8(Stream(3, "pixels").below(u64(i), 256));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(training)

BOOST_AUTO_TEST_CASE(place_images) {
  const i64 images = 4;
  for (i32 channels : {1, 3}) {
    const i32 height = 7, width = 9, out_height = 8, out_width = 6;
    const auto set = pixels(images * height * width * channels);
    const Tensor<i64, 1> all_labels = Tensor<i64, 1>::from({3, 1, 4, 1}, Shape<1>(images)), labels{Shape<1>(5)};
    const PlannedImage plan[] = {{2, -3, 1, 1}, {0, 0, 3, 0}, {3, 2, -2, 1}, {1, 20, 0, 0}, {2, -1, -20, 1}};
    const auto table = random_tensor<bf16>(Shape<1>(256 * channels), 1);
    const Tensor<bf16, 4> out(Shape<4>(5, out_height, out_width, channels));
    const kernel::PlaceImages<bf16> kernel{out.data(), labels.data(), set.data(), all_labels.data(), plan,     table.data(),
                                           height,     width,         channels,   out_height,        out_width};
    emulate({5}, kernel, 0, out, labels);
    run_serial({5}, kernel);
    BOOST_TEST((labels.to_vector() == std::vector<i64>{4, 3, 1, 1, 4}));
  }
}

BOOST_AUTO_TEST_CASE(gather_rows) {
  const PlannedImage plan[] = {{2, 0, 0, 0}, {0, 0, 0, 0}, {2, 0, 0, 0}};
  for (i64 size : {64, 77}) {
    const auto rows = random_tensor(Shape(3, size), 1);
    const Tensor<i64, 1> all_labels = Tensor<i64, 1>::from({7, 8, 9}, Shape<1>(3)), labels{Shape<1>(3)};
    const Tensor<float, 2> out(Shape(3, size));
    const kernel::GatherRows<float> kernel{out.data(), labels.data(), rows.data(), all_labels.data(), plan, size};
    emulate({3}, kernel, 0, out, labels);
    run_serial({3}, kernel);
    BOOST_TEST((labels.to_vector() == std::vector<i64>{9, 7, 9}));
    for (i64 i = 0; i < size; ++i) BOOST_TEST(out.data()[size + i] == rows.data()[i]);
  }
}

// Two blocks, the second short; rates and decays differ from group to group. With and without an average, a factor, a working
// copy.
BOOST_AUTO_TEST_CASE(optimizer_steps) {
  const i64 groups = 64 + 3, n = groups * kernel::optimizer_group;
  const auto rate = random_tensor(Shape<1>(groups), 1, 1.f, 0.1f), decay = random_tensor(Shape<1>(groups), 2, 0.f, 0.1f);
  const auto gradient = random_tensor(Shape<1>(n), 3);
  const auto value = random_tensor(Shape<1>(n), 4), velocity = random_tensor(Shape<1>(n), 5),
             average = random_tensor(Shape<1>(n), 6);
  const auto first = random_tensor(Shape<1>(n), 7), second = Tensor<float, 1>::full(Shape<1>(n), 0.3f);
  const Tensor<bf16, 1> working = random_tensor<bf16>(Shape<1>(n), 8);
  const float schedule[] = {0.1f, 0.2f, 0.3f}, average_step = 0.05f;
  const kernel::FlatGroups flat{rate.data(), decay.data(), groups};
  for (float factor : {1.f, 0.25f, 0.f})
    for (bool whole : {false, true}) {
      const kernel::Updated<bf16> target{value.data(), whole ? working.data() : nullptr, whole ? average.data() : nullptr,
                                         &average_step};
      const kernel::ScaledGradient source{gradient.data(), whole ? &factor : nullptr};
      emulate({2}, kernel::SgdStep<bf16>{target, velocity.data(), source, schedule, flat, 0.9f, whole}, 1e-6, value, velocity,
              working, average);
      emulate({2}, kernel::AdamWStep<bf16>{target, first.data(), second.data(), source, schedule, flat, 0.9f, 0.99f, 1e-8f}, 1e-5,
              value, first, second, working, average);
    }
  // A factor of 0 leaves everything alone.
  const auto before = value.clone();
  const float none = 0;
  run_serial({2}, kernel::SgdStep<bf16>{{value.data(), working.data(), average.data(), &average_step},
                                        velocity.data(),
                                        {gradient.data(), &none},
                                        schedule,
                                        flat,
                                        0.9f,
                                        false});
  BOOST_TEST(same_bits(value, before));
}

BOOST_AUTO_TEST_CASE(norms_and_loss_scales) {
  const i64 n = kernel::optimizer_chunk + 3 * kernel::optimizer_group;
  const auto x = random_tensor(Shape<1>(n), 1);
  const Tensor<float, 1> partial = Tensor<float, 1>::zeros(Shape<1>(2)), factor{Shape<1>(1)}, norm{Shape<1>(1)};
  emulate({2}, kernel::SquareSums{partial.data(), x.data(), n}, 1e-5, partial);
  run_serial({2}, kernel::SquareSums{partial.data(), x.data(), n});
  const auto many = random_tensor(Shape<1>(300), 2, 3.f);
  for (float limit : {0.f, 0.5f, 1e6f})
    for (float bad : {0.f, INFINITY, NAN}) {
      const auto scale = Tensor<float, 1>::from({1024.f, 1999.f, 1.f}, Shape<1>(3));
      const auto sums = many.clone();
      sums.data()[299] += bad;
      emulate({1}, kernel::GradientFactor{factor.data(), norm.data(), nullptr, sums.data(), 300, limit}, 1e-6, factor, norm);
      emulate({1}, kernel::GradientFactor{factor.data(), norm.data(), scale.data(), sums.data(), 300, limit}, 1e-6, factor, norm,
              scale);
      run_serial({1}, kernel::GradientFactor{factor.data(), norm.data(), scale.data(), sums.data(), 300, limit});
      if (bad == 0) BOOST_TEST((scale.to_vector() == std::vector<float>{2048.f, 0.f, 1.f}));
      else BOOST_TEST((scale.to_vector() == std::vector<float>{512.f, 0.f, 2.f}));
      BOOST_TEST((factor.item() == 0) == (bad != 0));
    }
}

BOOST_AUTO_TEST_CASE(fill) {
  const i64 n = kernel::Fill<float>::per_block + 5;
  const Tensor<float, 1> out{Shape<1>(n)};
  emulate({2}, kernel::Fill<float>{out.data(), n, 2.5f}, 0, out);
  run_serial({2}, kernel::Fill<float>{out.data(), n, 2.5f});
  for (i64 i = 0; i < n; ++i) BOOST_TEST(out.data()[i] == 2.5f);
}

BOOST_AUTO_TEST_SUITE_END()
