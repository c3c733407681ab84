// data/subset.hpp, augment.hpp and loader.hpp: subsets are nested and even, mixtures have their shares, and a batch is a
// pure function of (seed, epoch, step) whose augmentation knows no batch.
#include <mindgap/data/loader.hpp>
#include <mindgap/data/subset.hpp>

#include "tests/files.hpp"
#include <boost/test/unit_test.hpp>

using namespace mindgap;
using namespace mindgap::test;

namespace {

// counts[c] images of class c, interleaved; every pixel of image i has the value i.
Dataset make_set(const std::vector<i64>& counts, i64 height = 2, i64 width = 2, const std::string& name = "set") {
  std::vector<i64> labels;
  for (i64 round = 0; round < *std::max_element(counts.begin(), counts.end()); ++round)
    for (size_t c = 0; c < counts.size(); ++c)
      if (round < counts[c]) labels.push_back(i64(c));
  const i64 n = i64(labels.size());
  Dataset set{
      Tensor<u8, 4, Cpu>(Shape(n, height, width, 1)), Tensor<i64, 1, Cpu>::from(labels, Shape{n}), {}, name, "made by a test"};
  for (i64 i = 0; i < set.images.size(); ++i) set.images.data()[i] = u8(i / (height * width));
  for (size_t c = 0; c < counts.size(); ++c) set.class_names.push_back("class " + std::to_string(c));
  return set;
}

std::multiset<int> ids(const Dataset& set) {
  std::multiset<int> out;
  for (i64 i = 0; i < set.size(); ++i) out.insert(set.images.data()[i * (set.images.size() / set.size())]);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(subsets)

BOOST_AUTO_TEST_CASE(nested_and_even) {
  const Dataset set = make_set({20, 20, 20, 20});
  std::multiset<int> smaller;
  for (i64 count = 1; count <= 80; ++count) {
    const Dataset part = subset(set, count, 3);
    const std::multiset<int> larger = ids(part);
    BOOST_TEST(std::includes(larger.begin(), larger.end(), smaller.begin(), smaller.end()));
    BOOST_TEST(std::set<int>(larger.begin(), larger.end()).size() == size_t(count));
    const std::vector<i64> counts = class_counts(part);
    BOOST_TEST(*std::max_element(counts.begin(), counts.end()) - *std::min_element(counts.begin(), counts.end()) <= 1);
    smaller = larger;
  }
  BOOST_TEST((ids(subset(set, 10, 3)) == ids(subset(set, 10, 3))));
  BOOST_TEST((ids(subset(set, 10, 3)) != ids(subset(set, 10, 4))));
  REFUSED(subset(set, 0, 3), "0 images of a set of 80");
  REFUSED(subset(set, 81, 3), "81 images of a set of 80");
}

BOOST_AUTO_TEST_CASE(a_class_may_run_out) {
  const Dataset set = make_set({2, 9, 9});
  BOOST_TEST((class_counts(subset(set, 14, 0))[0] == 2));
  BOOST_TEST(subset(set, 20, 0).size() == 20);
  REFUSED(equal_counts(set, 3, 0), "lacking class 0 (2)");
  BOOST_TEST((class_counts(equal_counts(set, 2, 0)) == std::vector<i64>{2, 2, 2}));
}

// A tenth of each class: none loses all its images, however few it has.
BOOST_AUTO_TEST_CASE(held_out_by_class) {
  const Dataset set = make_set({9, 20, 200});
  const HeldOutSplit parts = held_out_split(set);
  BOOST_TEST((class_counts(select(set, parts.held_out)) == std::vector<i64>{0, 2, 20}));
  BOOST_TEST((class_counts(select(set, parts.fit)) == std::vector<i64>{9, 18, 180}));
}

BOOST_AUTO_TEST_CASE(mixtures) {
  const Dataset a = make_set({30, 30}), b = make_set({5, 5}, 2, 2, "small");
  const Dataset half = mix({a, b}, {0.5, 0.5}, 1);
  BOOST_TEST(half.size() == 120);
  BOOST_TEST(half.name == "set + small");
  BOOST_TEST(ids(select(half,
                        [] {
                          std::vector<i64> epilogue(60);
                          std::iota(epilogue.begin(), epilogue.end(), 60);
                          return epilogue;
                        }()))
                 .count(3) == 6u);  // each of the 10 comes 6 times
  BOOST_TEST(mix({a, b}, {3, 1}, 1, 41).size() == 41);
  BOOST_TEST(mix({a, b}, {1, 0}, 1).size() == 60);
  BOOST_TEST((class_counts(mix({a, b}, {1, 1}, 1, 30)) == std::vector<i64>{15, 15}));
  REFUSED(mix({a, b}, {1}, 1), "2 data sets and 1 weights");
  REFUSED(mix({a, b}, {1, -1}, 1), "the weight -1");
  REFUSED(mix({a, b}, {0, 0}, 1), "all weights are zero");
  REFUSED(concat({a, make_set({1, 1}, 3, 3, "large")}), "different size");
  REFUSED(concat({a, make_set({1, 1, 1}, 2, 2, "more")}), "number 2 is absent");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(augmentation)

BOOST_AUTO_TEST_CASE(placement_against_plain_indexing) {
  const i64 height = 5, width = 4, answer = 7;
  for (i64 channels : {1, 3}) {
    std::vector<u8> image(size_t(height * width * channels));
    for (size_t i = 0; i < image.size(); ++i) image[i] = u8(i * 5 + 1);
    const auto table = normalisation_table<float>({{0.25f}, {2.f}}, channels);
    for (i64 out_height : {1, 5, 7})
      for (i64 out_width : {1, 4, 6})
        for (i64 top = -8; top <= 8; ++top)
          for (i64 left = -8; left <= 8; ++left)
            for (bool flip : {false, true}) {
              std::vector<float> out(size_t(out_height * out_width * channels), -9.f);
              const PlannedImage plan{0, i32(top), i32(left), flip};
              i64 label = -1;
              run_serial({1}, PlaceImages<float>{out.data(), &label, image.data(), &answer, &plan, table.data(), i32(height),
                                                 i32(width), i32(channels), i32(out_height), i32(out_width)});
              i64 wrong = label != answer;
              for (i64 y = 0; y < out_height; ++y)
                for (i64 x = 0; x < out_width; ++x)
                  for (i64 c = 0; c < channels; ++c) {
                    const i64 row = top + y, column = left + (flip ? out_width - 1 - x : x);
                    const bool inside = row >= 0 && row < height && column >= 0 && column < width;
                    const float value = inside ? float(image[size_t((row * width + column) * channels + c)]) : 0.f;
                    wrong += out[size_t((y * out_width + x) * channels + c)] != (value / 255.f - 0.25f) / 2.f;
                  }
              BOOST_REQUIRE(wrong == 0);
            }
  }
}

BOOST_AUTO_TEST_CASE(every_placement_comes_equally_often) {
  const Augmentation a{true, 1, 3, 0};
  std::map<std::tuple<i64, i64, bool>, int> seen;
  for (u64 i = 0; i < 9000; ++i) {
    const Placement p = random_placement(a, 4, 4, Stream(1, "augment", 0, i));
    ++seen[{p.top, p.left, p.flip}];
  }
  BOOST_TEST(seen.size() == 4u * 3u * 2u);  // tops -1 to 2, lefts -1 to 1
  for (const auto& [place, count] : seen) BOOST_TEST((count > 290 && count < 460));
}

BOOST_AUTO_TEST_CASE(normalisation_values) {
  BOOST_TEST(normalisation_table<float>({}, 1)[0] == -1.f);
  BOOST_TEST(normalisation_table<float>({}, 1)[255] == 1.f);
  BOOST_TEST(normalisation_table<float>({{0.f, 1.f}, {1.f}}, 2)[511] == 0.f);
  REFUSED(normalisation_table<float>({{0.f, 1.f}, {1.f}}, 3), "2 values for 3 channels");
  REFUSED(normalisation_table<float>({{0.f}, {0.f}}, 1), "deviation of channel 0 is 0");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(loader)

BOOST_AUTO_TEST_CASE(an_epoch_has_every_image_once_in_an_order_of_its_own) {
  const Loader<float> batches(make_set({50, 53}), training_options(10, 4));
  BOOST_TEST(batches.steps_per_epoch() == 11);
  std::vector<std::vector<i64>> orders;
  for (i64 epoch = 0; epoch < 3; ++epoch) {
    std::vector<i64> order;
    for (i64 step = 0; step < 11; ++step)
      for (i64 i : batches.batch_indices(epoch, step)) order.push_back(i);
    BOOST_TEST(order.size() == 103u);
    BOOST_TEST(std::set<i64>(order.begin(), order.end()).size() == 103u);
    orders.push_back(order);
  }
  BOOST_TEST((orders[0] != orders[1] && orders[1] != orders[2]));
}

BOOST_AUTO_TEST_CASE(last_batches) {
  const auto steps = [](i64 images, i64 batch, LastBatch last) {
    LoaderOptions options = training_options(batch, 0);
    options.last = last;
    return Loader<float>(make_set({images}), options).steps_per_epoch();
  };
  BOOST_TEST(steps(10, 5, LastBatch::keep) == 2);
  BOOST_TEST(steps(11, 5, LastBatch::keep) == 3);
  BOOST_TEST(steps(11, 5, LastBatch::drop) == 2);
  BOOST_TEST(steps(11, 5, LastBatch::keep_unless_one) == 2);  // one image alone has no batch statistics
  BOOST_TEST(steps(12, 5, LastBatch::keep_unless_one) == 3);
  BOOST_TEST(steps(3, 5, LastBatch::keep_unless_one) == 1);
  BOOST_TEST(steps(1, 5, LastBatch::keep) == 1);
  BOOST_TEST(steps(3, 1, LastBatch::keep) == 3);
  REFUSED(steps(1, 5, LastBatch::keep_unless_one), "1 image makes no batch of 5");
  REFUSED(steps(3, 1, LastBatch::keep_unless_one), "batch norm needs 2 images or more");
  REFUSED(steps(3, 5, LastBatch::drop), "use a smaller batch");
  REFUSED(steps(3, 0, LastBatch::keep), "a batch of 0 images");
}

BOOST_AUTO_TEST_CASE(resumed_in_the_middle_of_an_epoch) {
  const Dataset set = make_set({40, 41}, 6, 6);
  const LoaderOptions options = training_options(16, 9, {true, 2, 0, 0});
  const Loader<float> whole(set, options);
  std::vector<Batch<float>> uninterrupted;
  for (i64 step = 0; step < 15; ++step) uninterrupted.push_back(whole.batch(step));
  for (i64 start = 14; start >= 0; --start) {
    const Loader<float> resumed(set, options);
    for (i64 step = start; step < 15; ++step) {
      const Batch<float> batch = resumed.batch(step);
      BOOST_REQUIRE(same_bits(batch.images, uninterrupted[size_t(step)].images));
      BOOST_REQUIRE(same_bits(batch.labels, uninterrupted[size_t(step)].labels));
    }
  }
}

BOOST_AUTO_TEST_CASE(augmentation_knows_neither_batch_nor_threads) {
  const Dataset set = make_set({300}, 28, 28);
  const auto by_image = [&](i64 batch, int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    const Loader<float> loader(set, training_options(batch, 5, {true, 2, 0, 0}));
    std::map<i64, std::vector<float>> images;
    for (i64 step = 0; step < loader.steps_per_epoch(); ++step) {
      const Batch<float> out = loader.batch(2, step);
      const std::vector<i64> indices = loader.batch_indices(2, step);
      for (size_t b = 0; b < indices.size(); ++b) images[indices[b]] = out.images.slice(i64(b), i64(b) + 1).to_vector();
    }
    omp_set_num_threads(before);
    return images;
  };
  const auto reference = by_image(300, 1);
  BOOST_TEST(reference.size() == 300u);
  BOOST_TEST((by_image(7, 2) == reference));
  BOOST_TEST((by_image(128, 3) == reference));
}

BOOST_AUTO_TEST_CASE(evaluation_is_in_order_and_central) {
  const Dataset set = make_set({5}, 4, 4);
  const Loader<bf16> loader(set, evaluation_options(2, {true, 3, 2, 2}));
  BOOST_TEST(loader.steps_per_epoch() == 3);
  BOOST_TEST((loader.batch(0, 2).images.shape() == Shape(1, 2, 2, 1)));
  BOOST_TEST(float(loader.batch(0, 1).images.data()[0]) == float(bf16((2 / 255.f - 0.5f) / 0.5f)));
  BOOST_TEST((loader.batch_indices(0, 1) == std::vector<i64>{2, 3}));
  REFUSED(loader.batch(0, 3), "step 3 of epoch 0, an epoch has 3 steps");
  REFUSED((Loader<float>(set, evaluation_options(2, {false, 0, 9, 2}))), "a crop of 9 x 2 from images of 4 x 4");
  REFUSED((Loader<float>(set, evaluation_options(2, {false, -1, 0, 0}))), "a shift of -1");
}

BOOST_AUTO_TEST_SUITE_END()
