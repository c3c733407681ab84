// data/dataset.hpp, subset.hpp, augment.hpp, loader.hpp and prefetch.hpp: subsets are nested and even, mixtures have their
// shares, views copy no pixel; a batch is a pure function of (seed, epoch, step) whose augmentation knows no batch, on both
// roads.
#include <mindgap/autograd/loss.hpp>
#include <mindgap/data/loader.hpp>
#include <mindgap/data/statistics.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/nn/freeze.hpp>
#include <mindgap/nn/layers.hpp>
#include <mindgap/train/trainer.hpp>

#include "tests/files.hpp"
#include "tests/streamed.hpp"
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

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
  const Tensor<u8, 4> images(Shape(n, height, width, 1));
  for (i64 i = 0; i < images.size(); ++i) images.data()[i] = u8(i / (height * width));
  std::vector<std::string> names;
  for (size_t c = 0; c < counts.size(); ++c) names.push_back("class " + std::to_string(c));
  return Dataset(images, Tensor<i64, 1>::from(labels, Shape{n}), names, name, "made by a test");
}

std::multiset<int> ids(const Dataset& set) {
  std::multiset<int> out;
  for (i64 i = 0; i < set.size(); ++i) out.insert(set.image(i).pixels[0]);
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
  BOOST_TEST((mixture_counts({a, b}, {1, 3}) == std::vector<i64>{60, 180}));
  REFUSED(mixture_counts({a, b}, {1, 1e-9}), "a share of 6e-07 or more");
  BOOST_TEST(mixture_counts({a, b}, {1 - 6e-7, 6e-7})[1] == 10);
  REFUSED(mix({a, b}, {1}, 1), "2 data sets and 1 weights");
  REFUSED(mix({a, b}, {1, -1}, 1), "the weight -1");
  REFUSED(mix({a, b}, {0, 0}, 1), "all weights are zero");
  REFUSED(concat({a, make_set({1, 1}, 3, 3, "large")}), "different size");
  REFUSED(concat({a, make_set({1, 1, 1}, 2, 2, "more")}), "number 2 is absent");
}

// Of nothing nothing is drawn, and no more than a machine holds.
BOOST_AUTO_TEST_CASE(nothing_to_draw_from) {
  const Dataset set = make_set({3, 3}), empty = select(set, {});
  BOOST_TEST(repeat(empty, 0, 1).size() == 0);
  for (const Dataset& none : {empty, Dataset()}) {
    REFUSED(repeat(none, 5, 1), "5 images of a set that has none");
    REFUSED(mix({set, none}, {1, 1}, 0), "set 1 has no images and the weight 1");
    REFUSED(mix({set, none}, {1, 1}, 0, 10), "set 1 has no images and the weight 1");
    REFUSED(subset(none, 1, 0), "1 images of a set of 0");
    REFUSED(equal_counts(none, 1, 0), "subset: ");
  }
  BOOST_TEST(mix({set, empty}, {1, 0}, 0).size() == 6);
  REFUSED(mix({empty}, {1}, 0), "set 0 has no images");
  REFUSED(mix({set}, {1}, 0, -1), "mix: -1 images in all");
  REFUSED(mix({set}, {1}, 0, i64(1) << 40), "mix: 1099511627776 images in all");
  REFUSED(mix({set, set}, {1e308, 1e308}, 0), "more than a double holds");
  REFUSED(repeat(set, i64(1) << 40, 0), "repeat: 1099511627776 images");
  REFUSED(repeat(set, -1, 0), "repeat: -1 images");
}

// A set made in code has the labels and the class list that its maker gave it.
BOOST_AUTO_TEST_CASE(labels_outside_the_class_list) {
  const auto made = [](const std::vector<i64>& labels, const std::vector<std::string>& names) {
    return Dataset(Tensor<u8, 4>::zeros(Shape(i64(labels.size()), 1, 1, 1)), Tensor<i64, 1>::from(labels, Shape{labels.size()}),
                   names, "made");
  };
  for (const auto& [set, words] : std::vector<std::pair<Dataset, std::string>>{
           {made({0, 1, 7}, {"a", "b"}), "image 2 has label 7, the class list has 2 names (labels from 0 to 1)"},
           {made({0, i64(1) << 40}, {"a", "b"}), "image 1 has label 1099511627776"},
           {made({-3, 1}, {"a", "b"}), "image 0 has label -3"},
           {made({0, 0}, {}), "image 0 has label 0, the class list has 0 names\n"}}) {
    BOOST_TEST(set.size() > 0);
    REFUSED(class_counts(set), words);
    REFUSED(stratified_order(set, 0), words);
    REFUSED(held_out_split(set), words);
    REFUSED(subset(set, 1, 0), words);
    REFUSED(equal_counts(set, 1, 0), words);
    REFUSED(repeat(set, 1, 0), words);
    REFUSED(mix({set}, {1}, 0), words);
    REFUSED(class_counts(set), "source  made");
  }
}

BOOST_AUTO_TEST_CASE(sources_that_lie) {
  struct Lying final : Source {
    i64 count = 2;
    Shape<3> says{2, 2, 1}, is{2, 2, 1};
    std::vector<u8> pixels = std::vector<u8>(16);
    bool without = false;
    i64 size() const override { return count; }
    i64 label(i64) const override { return 0; }
    Image image(i64) const override { return {without ? nullptr : pixels.data(), is}; }
    Shape<3> shape() const override { return says; }
  };
  const auto lying = [](auto change) {
    Lying source;
    change(source);
    return Dataset(std::make_shared<Lying>(source), {"a"}, "lying");
  };
  const Dataset good = lying([](Lying&) {});
  BOOST_TEST(good.image(1).pixels[0] == 0);
  for (i64 number : {i64(-1), i64(2), i64(1) << 40}) {
    REFUSED(good.image(number), text("image ", number, " of a set of 2 images"));
    REFUSED(good.label(number), text("image ", number, " of a set of 2 images"));
  }
  REFUSED(Dataset().label(0), "image 0 of a set of 0 images");
  REFUSED(Dataset(std::shared_ptr<const Source>(), {"a"}), "there is no source");
  REFUSED(lying([](Lying& s) { s.count = -1; }), "a source of -1 images");
  REFUSED(lying([](Lying& s) { s.count = i64(1) << 40; }), "a source of 1099511627776 images");
  const auto refused = [](const Dataset& set, const std::string& words) {
    REFUSED(set.image(0), words);
    REFUSED(all_images(set), words);
    REFUSED(content_hash(set), words);
    REFUSED(channel_statistics(set), words);
    REFUSED(Loader<float>(set, evaluation_options(2)).batch(0), words);
  };
  refused(lying([](Lying& s) { s.without = true; }), "image 0, [2, 2, 1], has no pixels");
  refused(lying([](Lying& s) { s.is = Shape(4, 4, 1); }), "image 0 is [4, 4, 1], wanted [2, 2, 1]");
  refused(lying([](Lying& s) { s.says = Shape(2, 2, 3); }), "image 0 is [2, 2, 1], wanted [2, 2, 3]");
  const Dataset various = lying([](Lying& s) { s.says = Shape(0, 0, 3); });  // of any size, but of three channels
  REFUSED(channel_statistics(various), "image 0 is [2, 2, 1], wanted [0, 0, 3]");
  REFUSED(lying([](Lying& s) { s.says = Shape(0, 0, 1), s.is = Shape(-2, -2, 1); }).image(0), "image 0 is [-2, -2, 1]");
}

BOOST_AUTO_TEST_CASE(views_copy_no_pixel) {
  const Dataset a = make_set({6, 6}), b = make_set({3, 3}, 2, 2, "other");
  const Dataset view = select(repeat(concat({subset(a, 4, 1), b}), 30, 2), {29, 3, 3, 7});
  std::set<const u8*> all;
  for (const Dataset& set : {a, b})
    for (i64 i = 0; i < set.size(); ++i) all.insert(set.image(i).pixels);
  for (i64 i = 0; i < view.size(); ++i) BOOST_TEST(all.contains(view.image(i).pixels));
  BOOST_TEST(view.image(1).pixels == view.image(2).pixels);
  BOOST_TEST(view.resident());
  REFUSED(select(view, {4}), "member 4 of a set of 4");
  REFUSED(select(view, {-1}), "member -1 of a set of 4");
}

// Of one size, in memory or mapped, and 4 GiB at most; a view has a size of its own.
BOOST_AUTO_TEST_CASE(what_is_resident) {
  struct Large final : StreamedSource {
    using StreamedSource::StreamedSource;
    Shape<3> shape() const override { return Shape(1 << 16, 1 << 15, 1); }  // 2 GiB
    bool resident() const override { return true; }
  };
  const Dataset small = make_set({3}), large(std::make_shared<Large>(small), small.class_names);
  BOOST_TEST(small.resident());
  BOOST_TEST(!streamed(small).resident());
  BOOST_TEST(!concat({small, streamed(small)}).resident());
  BOOST_TEST(!large.resident());
  BOOST_TEST(select(large, {2, 0}).resident());
}

// Checkpoints and generators keep these: SHA-256 by Python's hashlib over "[3, 2, 2, 1]", pixels, labels and names with a zero
// each.
BOOST_AUTO_TEST_CASE(hashes_stay) {
  const Dataset set = make_set({2, 1}), view = select(set, {2, 0, 2, 1});
  BOOST_TEST(content_hash(set) == "55f6436c97650d628cb9638ae670444e37ea2f81cac9e73820797ca019c1b2b8");
  BOOST_TEST(content_hash(view) == "f8d252a7d780099674eb95c878a8f82cd7b1491be9ebab0acddca937b6a857b2");
  BOOST_TEST(content_hash(streamed(view)) == content_hash(view));
}

// A large set's hash is that of its files, and no pixel is read for it.
BOOST_AUTO_TEST_CASE(hashes_of_files) {
  struct Files final : StreamedSource {
    std::string files;
    Files(const Dataset& set_, std::string files_) : StreamedSource(set_), files(std::move(files_)) {}
    Image image(i64) const override { throw Error("a pixel was read"); }
    std::string files_hash() const override { return files; }
  };
  const Dataset set = make_set({3, 3});
  const auto of_files = [&](const std::string& files) { return Dataset(std::make_shared<Files>(set, files), set.class_names); };
  const std::string one = content_hash(of_files("1"));
  BOOST_TEST(one == content_hash(select(of_files("1"), {0, 1, 2, 3, 4, 5})));
  BOOST_TEST(one != content_hash(of_files("2")));
  BOOST_TEST(one != content_hash(select(of_files("1"), {2, 1, 0, 3, 4, 5})));  // of the same labels
  Dataset renamed = of_files("1");
  renamed.class_names[0] = "x";
  BOOST_TEST(one != content_hash(renamed));
  const auto mixture = [&](const Dataset& memory) { return content_hash(concat({of_files("1"), memory})); };
  BOOST_TEST(mixture(set) == mixture(select(set, {0, 1, 2, 3, 4, 5})));
  BOOST_TEST(mixture(set) != mixture(make_set({2, 3})));
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
              run_serial({1},
                         kernel::PlaceImages<float>{out.data(), &label, image.data(), &answer, &plan, table.data(), i32(height),
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
  REFUSED(normalisation_table<float>({{0.f}, {0.f}}, 1), "std of channel 0 is 0");
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

BOOST_AUTO_TEST_SUITE(streamed_road)

namespace {

template <class T>
void require_same(const Batch<T>& a, const Batch<T>& b) {
  BOOST_REQUIRE(same_bits(a.images, b.images));
  BOOST_REQUIRE(same_bits(a.labels, b.labels));
}

struct OneLayer {
  Linear<Cpu, Precision<float>> only{3072, 10};
  MINDGAP_MODULE(only)
};

LoaderOptions with_workers(LoaderOptions options, i64 workers) {
  options.workers = workers;
  return options;
}

}  // namespace

BOOST_AUTO_TEST_CASE(both_roads_make_the_same_bits) {
  const Dataset grey = make_set({31, 20}, 6, 5);
  const Dataset mixture = mix({subset(grey, 20, 1), make_set({4, 4}, 6, 5, "small")}, {1, 2}, 3, 51);
  const Normalisation normalisation{{0.3f}, {0.7f}};
  for (const Dataset& set : {grey, mixture})
    for (const LoaderOptions& options : {training_options(8, 4, {true, 2, 0, 0}, normalisation),
                                         training_options(51, 5, {false, 0, 3, 4}), evaluation_options(7, {true, 3, 2, 2})}) {
      const Loader<float> resident(set, options);
      for (i64 workers : {0, 1, 3}) {
        const Loader<float> streams(streamed(set), with_workers(options, workers));
        for (i64 step = 0; step < 3 * resident.steps_per_epoch(); ++step) require_same(streams.batch(step), resident.batch(step));
      }
      const Loader<bf16> low(set, options), low_streams(streamed(set), options);
      require_same(low_streams.batch(1, 0), low.batch(1, 0));
    }
}

// Steps in any order, and two runs that share a loader.
BOOST_AUTO_TEST_CASE(in_any_order) {
  const Dataset set = make_set({60}, 4, 4);
  const LoaderOptions options = training_options(7, 2, {true, 1, 0, 0});
  const Loader<float> resident(set, options);
  for (i64 workers : {0, 1, 3}) {
    const Loader<float> streams(streamed(set), with_workers(options, workers));
    auto first = streams.make_plan(), second = streams.make_plan();
    for (u64 i = 0; i < 100; ++i) {
      const i64 step = Stream(1, "steps").below(i, 40), other = i64(i);
      BOOST_REQUIRE(streams.prepare(first, step) == resident.batch(step).labels.to_vector());
      streams.prepare(second, other);
      require_same(streams.read(first), resident.batch(step));
      require_same(streams.read(second), resident.batch(other));
      require_same(streams.read(first), resident.batch(step));
    }
    REFUSED(streams.batch(0, 9), "step 9 of epoch 0, an epoch has 9 steps");
    REFUSED(streams.prepare(first, -1), "an epoch has 9 steps");
  }
}

// Its batch has the error, whenever it is asked for; others have none.
BOOST_AUTO_TEST_CASE(an_image_that_cannot_be_read) {
  const Dataset set = make_set({40}, 4, 4);
  const LoaderOptions options = evaluation_options(5);
  const Loader<float> resident(set, options);
  for (i64 workers : {0, 1, 3}) {
    const Loader<float> streams(streamed(set, 12), with_workers(options, workers));
    for (int round = 0; round < 3; ++round)
      for (i64 step = 0; step < 8; ++step)
        for (int again = 0; again < 2; ++again) {
          if (step == 2) REFUSED(streams.batch(0, step), "image 12 cannot be read");
          else require_same(streams.batch(0, step), resident.batch(0, step));
        }
    // Of several errors in a batch it is the first, whoever was faster.
    LoaderOptions failing = with_workers(options, workers);
    failing.transform = {4, 4, [](const Image& image, const Stream&, u8*) {
                           if (image.pixels[0] == 1) ::usleep(2000);
                           if (image.pixels[0] % 2 == 1) throw Error(text("pixel ", int(image.pixels[0])));
                         }};
    const Loader<float> fails(set, failing);
    REFUSED(fails.batch(0, 0), "pixel 1");
    REFUSED(fails.batch(0, 1), "pixel 5");
  }
}

// Its threads stay behind in the parent: an error there, whose unwinding waits for nobody. What makes images itself goes on.
BOOST_AUTO_TEST_CASE(a_fork_leaves_the_threads_behind) {
  const Dataset set = make_set({40}, 4, 4);
  const LoaderOptions options = evaluation_options(5);
  const Loader<float> resident(set, options), alone(streamed(set), with_workers(options, 0));
  auto with_threads = std::make_unique<Loader<float>>(streamed(set), with_workers(options, 3));
  alone.batch(0, 0), with_threads->batch(0, 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    bool refused = false;
    try {
      with_threads->batch(0, 1);
    } catch (const Error& error) {
      refused = std::string(error.what()).find("its worker threads are in the process that forked this one") != std::string::npos;
    }
    with_threads = std::make_unique<Loader<float>>(streamed(set), with_workers(options, 3));
    const bool same = same_bits(with_threads->batch(0, 1).images, resident.batch(0, 1).images) &&
                      same_bits(alone.batch(0, 1).images, resident.batch(0, 1).images);
    ::_exit(refused && same ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  BOOST_TEST(status == 0);
  require_same(with_threads->batch(0, 1), resident.batch(0, 1));
}

// A run may end at any moment: nothing hangs, no image is asked for afterwards, no thread holds the set, and at most the ring was
// made.
BOOST_AUTO_TEST_CASE(stops_at_any_moment) {
  struct Counting final : StreamedSource {
    mutable std::atomic<i64> asked = 0;
    using StreamedSource::StreamedSource;
    Image image(i64 i) const override {
      if (++asked % 3 == 0) ::usleep(100);
      return StreamedSource::image(i);
    }
  };
  for (i64 workers : {0, 1, 3})
    for (i64 taken = 0; taken < 12; ++taken)
      for (i64 bad : {-1, 2}) {
        const auto source = std::make_shared<Counting>(make_set({23}), bad);
        {
          const Loader<float> streams(Dataset(source, {"a"}), with_workers(training_options(4, 1), workers));
          auto plan = streams.make_plan();
          for (i64 step = 0; step < taken; ++step) try {
              streams.prepare(plan, step);
            } catch (const Error&) {
              BOOST_TEST(bad >= 0);
            }
          if (taken % 2) ::usleep(300);
        }
        const i64 asked = source->asked;
        BOOST_TEST(asked <= (taken + 3) * 4);
        BOOST_TEST((taken == 0) == (asked == 0));
        BOOST_TEST(source.use_count() == 1);
        ::usleep(200);
        BOOST_TEST(source->asked == asked);
      }
}

// Images of any size, whose transform makes them one: here a pixel each of the quarters, which one is drawn.
BOOST_AUTO_TEST_CASE(images_of_any_size) {
  struct Various final : Source {
    i64 size() const override { return 20; }
    i64 label(i64 i) const override { return i % 2; }
    Shape<3> shape() const override { return Shape(0, 0, 3); }
    Image image(i64 i) const override {
      const Shape<3> shape(2 + i % 5, 2 + i % 3, 3);
      const auto pixels = std::make_shared<std::vector<u8>>(size_t(shape.size()));
      for (size_t k = 0; k < pixels->size(); ++k) (*pixels)[k] = u8(17 * i + 5 * i64(k));
      return {pixels->data(), shape, pixels};
    }
  };
  const auto pick = [](const Image& image, const Stream& random, u8* out) {
    const i64 row = random.below(0, u32(image.shape[0] - 1)), column = random.below(1, u32(image.shape[1] - 1));
    for (i64 y = 0; y < 2; ++y) std::copy_n(image.pixels + ((row + y) * image.shape[1] + column) * 3, 6, out + y * 6);
  };
  const auto source = std::make_shared<Various>();
  const Dataset set(source, {"even", "odd"}, "various");
  BOOST_TEST(!set.resident());
  BOOST_TEST(!content_hash(set).empty());
  BOOST_TEST((content_hash(set) != content_hash(select(set, {1, 0, 3, 2}))));
  LoaderOptions options = training_options(6, 3, {true, 0, 0, 0});
  REFUSED(Loader<float>(set, options), "the images differ in size");
  options.transform = {2, 2, pick};
  for (i64 workers : {0, 1, 3}) {
    const Loader<float> loader(subset(set, 20, 0), with_workers(options, workers));
    BOOST_TEST(loader.out_height() == 2);
    for (i64 epoch = 0; epoch < 3; ++epoch)
      for (i64 step = 0; step < loader.steps_per_epoch(); ++step) {
        const Batch<float> batch = loader.batch(epoch, step);
        const std::vector<i64> images = loader.batch_indices(epoch, step);
        for (size_t b = 0; b < images.size(); ++b) {
          const Image image = loader.dataset().image(images[b]);
          u8 wanted[12];
          pick(image, Stream(3, "transform", u64(epoch), u64(images[b])), wanted);
          const bool flip = random_placement({true, 0, 0, 0}, 2, 2, Stream(3, "augment", u64(epoch), u64(images[b]))).flip;
          for (i64 k = 0; k < 12; ++k) {
            const i64 from = flip ? k / 6 * 6 + (1 - k % 6 / 3) * 3 + k % 3 : k;
            BOOST_REQUIRE(batch.images.data()[i64(b) * 12 + k] == (float(wanted[from]) / 255.f - 0.5f) / 0.5f);
          }
        }
      }
  }
  // A source that says one size and has another.
  struct Wrong final : StreamedSource {
    using StreamedSource::StreamedSource;
    Shape<3> shape() const override { return Shape(3, 2, 1); }
  };
  const Dataset wrong(std::make_shared<Wrong>(make_set({4})), {"a"}, "wrong");
  REFUSED(Loader<float>(wrong, evaluation_options(2)).batch(0, 0), "image 0 is [2, 2, 1], wanted [3, 2, 1]");
}

BOOST_AUTO_TEST_CASE(what_it_refuses) {
  const Dataset set = streamed(make_set({4}));
  REFUSED(Loader<float>(set, with_workers(evaluation_options(2), -1)), "-1 workers");
  REFUSED(concat({set, streamed(make_set({4}, 3, 3))}), "different size");
  const Loader<float> loader(set, evaluation_options(2));
  auto plan = loader.make_plan();
  loader.prepare(plan, 0);
  REFUSED(loader.read(plan, Tensor<float, 4>(Shape(4, 1, 1, 1))), "only a resident set");
  REFUSED(loader.prepare(plan, i64(1) << 62, 0), "epoch 4611686018427387904 of 2 steps");
  const auto to = [&](i64 height, i64 width, i64 batch = 2) {
    LoaderOptions options = evaluation_options(batch);
    options.transform = {height, width, [](const Image&, const Stream&, u8*) {}};
    Loader<float>(set, options);
  };
  REFUSED(to(0, 2), "a transform to 0 x 2 pixels");
  REFUSED(to(2, -1), "a transform to 2 x -1 pixels");
  REFUSED(to(i64(1) << 40, 1), "a transform to 1099511627776 x 1 pixels");
  REFUSED(to(1 << 20, 1 << 20), "more than 4 GiB");
  REFUSED(to(1 << 16, 1 << 15, 3), "a batch of 3 images of [65536, 32768, 1] is more than 4 GiB");
}

// A plan names images of one set, and on the streamed road brings their pixels.
BOOST_AUTO_TEST_CASE(plans_of_other_loaders) {
  const Dataset large = make_set({30}, 4, 4), small = make_set({2}, 4, 4);
  const Loader<float> a(large, evaluation_options(20)), b(small, evaluation_options(20)),
      c(streamed(large), evaluation_options(20));
  auto of_a = a.make_plan(), of_c = c.make_plan();
  a.prepare(of_a, 0), c.prepare(of_c, 0);
  for (const auto& [loader, plan] : {std::pair(&b, &of_a), std::pair(&c, &of_a), std::pair(&a, &of_c), std::pair(&b, &of_c)}) {
    REFUSED(loader->read(*plan), "the plan is of another loader");
    REFUSED(loader->prepare(*plan, 0), "the plan is of another loader");
    if (loader != &c)
      REFUSED(loader->read(*plan, Tensor<float, 4>(Shape(loader->dataset().size(), 1, 1, 1))), "the plan is of another loader");
  }
  const Loader<float> copy = a;
  require_same(copy.read(of_a), a.batch(0));
  for (i64 rows : {0, 2, 29, 31})
    REFUSED(a.read(of_a, Tensor<float, 4>(Shape(rows, 1, 1, 3))), text(rows, " rows for a set of 30 images"));
  BOOST_TEST((a.read(of_a, Tensor<float, 4>::zeros(Shape(30, 1, 1, 3))).images.shape() == Shape(20, 1, 1, 3)));
}

// A set that is larger than any memory: 500 steps leave no more behind than 100, and no worker changes a bit.
BOOST_AUTO_TEST_CASE(a_million_images_made_on_demand) {
  struct Million final : Source {
    i64 size() const override { return 1'000'000; }
    i64 label(i64 i) const override { return i % 10; }
    Shape<3> shape() const override { return Shape(32, 32, 3); }
    Image image(i64 i) const override {
      const auto pixels = std::make_shared<std::vector<u8>>(size_t(shape().size()));
      for (size_t k = 0; k < pixels->size(); k += 16) {
        const PhiloxBlock words = Stream(1, "made", u64(i)).block(k / 16);
        std::memcpy(pixels->data() + k, words.words, 16);
      }
      for (i64 k = 0; k < 300; ++k) (*pixels)[size_t(300 * label(i) + k)] = 255;  // what tells its class
      return {pixels->data(), shape(), pixels};
    }
  };
  const auto resident_bytes = [] {
    std::ifstream file("/proc/self/statm");
    i64 all = 0, resident = 0;
    file >> all >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
  };
  constexpr i64 batch = 16, steps = 500;
  const Dataset set(std::make_shared<Million>(), std::vector<std::string>(10, "a class"));
  const auto train = [&](i64 workers) {
    const Loader<float> loader(set, with_workers(training_options(batch, 1, {true, 2, 0, 0}), workers));
    OneLayer net;
    initialise(net, 1);
    auto plan = loader.make_plan();
    TrainerOptions options;
    options.schedule.steps = steps;
    options.optimizer = SgdOptions{};
    options.learning_rate = 0.01;
    Trainer<Cpu> trainer(net,
                         {[&](i64 step) { return loader.prepare(plan, step), plan.size(); },
                          [&](Tape& tape) {
                            const auto part = loader.read(plan);
                            const auto rows = part.images.reshape(Shape<2>(plan.size(), 3072));
                            return cross_entropy(net.only(constant(tape, rows)), part.labels);
                          }},
                         options, plan);
    std::vector<float> out;
    i64 before = 0;
    while (!trainer.finished()) {
      if (trainer.done() == 100) before = resident_bytes();
      for (const TrainingRecord& record : trainer.step()) out.push_back(record.loss);
    }
    const i64 kept = resident_bytes() - before;
    BOOST_TEST_MESSAGE(workers << " workers: " << kept << " bytes more after " << steps << " steps than after 100");
#if !defined(__SANITIZE_ADDRESS__)  // which keeps what was freed
    // The pixels alone of the 400 steps between are 20 MB, as f32 they are 79 MB.
    BOOST_TEST(kept < 4'000'000);
#endif
    BOOST_TEST(out.size() == size_t(steps));
    BOOST_TEST(out.back() < 0.5f * out.front());
    for (const StateItem& item : state_items(net))
      for (float weight : item.get()) out.push_back(weight);
    return out;
  };
  // OpenMP's threads spin while they wait, which on a machine that is shared with other programs takes minutes.
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const std::vector<float> one = train(1), three = train(3);
  BOOST_TEST((one == three));
  BOOST_TEST((train(0) == one));
  omp_set_num_threads(before);
}

BOOST_AUTO_TEST_SUITE_END()
