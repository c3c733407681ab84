// The generator in data/generator, by its images: shoes face as real ones do, and no image is a copy of a training image.
//
//   facing   the sign of the correlation of an image with (mean of its class - the mirror image of that mean): an image and its
//            mirror image have opposite signs. Real shoes face one way, all but a few; a generator that was trained on randomly
//            mirrored images makes half of them face the other.
//   copies   the nearest neighbour, by squared distance of pixels, of an image that owes nothing to single training images lies
//            among the training images as often as among as many held-out ones. A few real images are the nearest neighbour of
//            many generated ones. So each real image counts once, however often it is met: whether it is a held-out one is
//            then a coin of its own, and the interval is that of the binomial distribution.
//
// The held-out tenth of the training split is compared with one of the nine tenths that are trained on (even coins), and with
// all nine (one in ten), which also notices copies of images outside that one tenth: of half of the images at least.
// 8 steps of DPM-Solver++(2M) without guidance. Every image is sampled once and serves both; the same methods on real images,
// mirrored or with a little noise, show that they would notice.
#include <mindgap/core/random.hpp>
#include <mindgap/data/dataset.hpp>
#include <mindgap/data/subset.hpp>
#include <mindgap/diffusion/generator.hpp>
#include <mindgap/ops/matmul.hpp>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace mindgap;

namespace {

constexpr i64 side = 28, pixels = side * side;
constexpr i64 shoes[] = {5, 7, 9};               // Sandal, Sneaker, Ankle boot
constexpr i64 of_a_shoe = 100, of_another = 20;  // generated images a class

const u8* image(const Dataset& set, i64 i) { return set.image(i).pixels; }

Dataset of_class(const Dataset& set, i64 label) {
  std::vector<i64> members;
  for (i64 i = 0; i < set.size(); ++i)
    if (set.label(i) == label) members.push_back(i);
  return select(set, members);
}

// A copy whose pixels are change(image number, row, column, the image).
template <class Change>
Dataset changed(const Dataset& set, Change&& change) {
  const Tensor<u8, 4> out(Shape(set.size(), side, side, 1));
  for (i64 i = 0; i < set.size(); ++i)
    for (i64 row = 0; row < side; ++row)
      for (i64 column = 0; column < side; ++column)
        out.data()[i * pixels + row * side + column] = change(i, row, column, image(set, i));
  return Dataset(out, Tensor<i64, 1>::from(all_labels(set), Shape<1>(set.size())), set.class_names);
}

// Real images, and those that the generator makes; read and sampled once.
struct Images {
  Dataset fit = load_dataset("fashion-mnist", "fit"), held_out = load_dataset("fashion-mnist", "held-out");
  Dataset generated;

  Images() {
    const auto generator = load_generator<Cpu, Precision<float>>(MINDGAP_SOURCE_DIR "/data/generator", SamplerKind::dpmpp_2m);
    BOOST_REQUIRE((generator.info.image() == Shape<3>(side, side, 1)));
    BOOST_REQUIRE((generator.info.class_names == fit.class_names));
    std::vector<ImageKey> keys;
    std::vector<i64> labels;
    for (i64 label = 0; label < generator.classes(); ++label)
      for (i64 index = 0; index < (std::ranges::count(shoes, label) ? of_a_shoe : of_another); ++index)
        keys.push_back({42, label, index}), labels.push_back(label);
    generated = Dataset(GeneratedImages(generator, Sampler(generator.info.scheduler, 8), 1, 40)(keys),
                        Tensor<i64, 1>::from(labels, Shape<1>(i64(labels.size()))), generator.info.class_names);
  }
};

const Images& images() {
  static const Images once;
  return once;
}

// Which way the images of a class face.
class Facing {
 public:
  Facing(const Dataset& fit, i64 label) : direction_(size_t(pixels), 0.) {
    const Dataset own = of_class(fit, label);
    for (i64 i = 0; i < own.size(); ++i)
      for (i64 row = 0; row < side; ++row)
        for (i64 column = 0; column < side; ++column) {
          const double share = double(image(own, i)[row * side + column]) / double(own.size());
          direction_[size_t(row * side + column)] += share;
          direction_[size_t(row * side + side - 1 - column)] -= share;
        }
    majority_is_positive_ = positive_share(own) > 0.5;
  }

  // The share that faces as most training images do.
  double share(const Dataset& set) const { return majority_is_positive_ ? positive_share(set) : 1 - positive_share(set); }

 private:
  // The direction sums to 0, so the product has the sign of the correlation.
  double positive_share(const Dataset& set) const {
    i64 positive = 0;
    for (i64 i = 0; i < set.size(); ++i) {
      double product = 0;
      for (i64 k = 0; k < pixels; ++k) product += direction_[size_t(k)] * double(image(set, i)[k]);
      positive += product > 0 ? 1 : 0;
    }
    return double(positive) / double(set.size());
  }

  std::vector<double> direction_;
  bool majority_is_positive_ = true;
};

// The real training split in tenths of equal counts a class: 0 to 8 are what a generator may be trained on, 9 is held out.
constexpr i64 held_out_tenth = 9;
Dataset tenth(i64 t) {
  if (t == held_out_tenth) return images().held_out;
  const std::vector<i64> order = stratified_order(images().fit, 42);
  const i64 size = images().held_out.size();
  return select(images().fit, {order.begin() + t * size, order.begin() + (t + 1) * size});
}

struct Neighbour {
  float distance;  // squared, less the square of the image that asks
  i64 tenth, member;
};

// The nearest neighbour of every image in every tenth, [tenth][image]: |y|^2 - 2 x y for all pairs, by matrix products.
std::vector<std::vector<Neighbour>> nearest_neighbours(const Dataset& set) {
  const auto floats = [](const Dataset& from, float factor) {
    Tensor<float, 2, Cpu> out(Shape<2>(from.size(), pixels));
    for (i64 k = 0; k < out.size(); ++k) out.data()[k] = factor * float(image(from, k / pixels)[k % pixels]);
    return out;
  };
  const Tensor<float, 2, Cpu> asking = floats(set, -2);
  std::vector<std::vector<Neighbour>> out;
  for (i64 t = 0; t <= held_out_tenth; ++t) {
    const Tensor<float, 2, Cpu> real = floats(tenth(t), 1);
    const Tensor<float, 1, Cpu> squares(Shape<1>(real.extent(0)));
    for (i64 j = 0; j < real.extent(0); ++j)
      squares.data()[j] =
          std::inner_product(&real.data()[j * pixels], &real.data()[(j + 1) * pixels], &real.data()[j * pixels], 0.f);
    const Tensor<float, 2, Cpu> distances = linear(asking, real, squares);
    out.emplace_back();
    for (i64 i = 0; i < set.size(); ++i) {
      const float *row = &distances.data()[i * real.extent(0)], *least = std::min_element(row, row + real.extent(0));
      out.back().push_back({*least, t, least - row});
    }
  }
  return out;
}

// Of the real images that are some image's nearest neighbour: how many are held out. `share` of them are expected to be.
struct HeldOut {
  i64 count, distinct;
  double share;

  // The 99 % interval: Boost.Math's quantiles 0.005 and 0.995 of the binomial distribution, rounded outwards.
  boost::math::binomial expected() const { return boost::math::binomial(double(distinct), share); }
  i64 least() const { return i64(boost::math::quantile(expected(), 0.005)); }
  i64 most() const { return i64(boost::math::quantile(boost::math::complement(expected(), 0.005))); }
  bool usual() const { return least() <= count && count <= most(); }
};
std::ostream& operator<<(std::ostream& out, const HeldOut& h) {
  return out << h.count << " of " << h.distinct << " nearest neighbours are held out, usual are " << h.least() << " to "
             << h.most();
}

HeldOut count_held_out(const std::vector<std::vector<Neighbour>>& neighbours, const std::vector<i64>& tenths) {
  std::set<std::pair<i64, i64>> met;
  for (size_t i = 0; i < neighbours[0].size(); ++i) {
    Neighbour nearest = neighbours[size_t(tenths[0])][i];
    for (i64 t : tenths)
      if (const Neighbour& other = neighbours[size_t(t)][i]; other.distance < nearest.distance) nearest = other;
    met.emplace(nearest.tenth, nearest.member);
  }
  return {std::ranges::count_if(met, [](const auto& one) { return one.first == held_out_tenth; }), i64(met.size()),
          1 / double(tenths.size())};
}
const std::vector<i64> one_to_one = {0, held_out_tenth}, nine_to_one = {0, 1, 2, 3, 4, 5, 6, 7, 8, held_out_tenth};

// With noise of 16 of 255 grey levels at most.
Dataset copies(const Dataset& of) {
  return changed(of, [](i64 i, i64 row, i64 column, const u8* from) {
    const i64 noise = i64(Stream(1, "noise of a copy", u64(i)).below(u64(row * side + column), 33)) - 16;
    return u8(std::clamp<i64>(from[row * side + column] + noise, 0, 255));
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shipped_generator)

BOOST_AUTO_TEST_CASE(generated_shoes_face_as_real_ones_do) {
  for (i64 label : shoes) {
    const Facing facing(images().fit, label);
    const double real = facing.share(of_class(images().held_out, label)),
                 generated = facing.share(of_class(images().generated, label));
    BOOST_TEST_MESSAGE(images().fit.class_names[size_t(label)] << ": real " << real << ", generated " << generated);
    BOOST_TEST(real > 0.85);  // else there is no way that they face
    BOOST_TEST(std::abs(generated - real) <= 0.1,
               images().fit.class_names[size_t(label)] << ": " << generated << " face as the majority, of real images " << real);
  }
}

BOOST_AUTO_TEST_CASE(mirrored_shoes_are_noticed) {
  for (i64 label : shoes) {
    const Facing facing(images().fit, label);
    const Dataset real = of_class(images().held_out, label);
    const auto mirrored = [&](i64 every) {
      return facing.share(changed(real, [&](i64 i, i64 row, i64 column, const u8* from) {
        return from[row * side + (i % every == 0 ? side - 1 - column : column)];
      }));
    };
    BOOST_TEST_MESSAGE("mirrored " << mirrored(1) << ", every second " << mirrored(2));
    BOOST_TEST(std::abs(mirrored(1) - (1 - facing.share(real))) < 1e-9);
    BOOST_TEST(std::abs(mirrored(2) - facing.share(real)) > 0.1);  // what random flips in training lead to
  }
}

BOOST_AUTO_TEST_CASE(generated_images_are_no_copies) {
  BOOST_TEST(images().generated.size() >= 300);
  for (i64 t = 0; t <= held_out_tenth; ++t) BOOST_REQUIRE((class_counts(tenth(t)) == std::vector<i64>(10, 600)));
  const auto neighbours = nearest_neighbours(images().generated);
  for (const auto& tenths : {one_to_one, nine_to_one}) {
    const HeldOut held_out = count_held_out(neighbours, tenths);
    BOOST_TEST_MESSAGE(held_out);
    BOOST_TEST(held_out.usual(), held_out);
  }
}

BOOST_AUTO_TEST_CASE(copies_are_noticed_and_new_images_are_not) {
  const i64 n = images().generated.size();
  const auto check = [](const std::string& what, const HeldOut& held_out, bool usual) {
    BOOST_TEST_MESSAGE(what << ": " << held_out);
    BOOST_TEST(held_out.usual() == usual, what << ": " << held_out);
  };
  const Dataset test = load_dataset("fashion-mnist", "test");
  const auto of_new = nearest_neighbours(subset(test, n, 1));
  check("new images", count_held_out(of_new, one_to_one), true);
  check("new images", count_held_out(of_new, nine_to_one), true);
  check("copies", count_held_out(nearest_neighbours(copies(subset(tenth(0), n, 1))), one_to_one), false);
  // Half of them new, the others copies of any training images.
  const Dataset half = concat({subset(test, n / 2, 1), copies(subset(images().fit, n / 2, 1))});
  check("half copies", count_held_out(nearest_neighbours(half), nine_to_one), false);
}

BOOST_AUTO_TEST_SUITE_END()
