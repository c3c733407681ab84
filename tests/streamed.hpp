// Sources that are not resident, so that a loader streams them.
#pragma once

#include <mindgap/data/dataset.hpp>

namespace mindgap::test {

// The images of another set; image `bad` cannot be read.
struct StreamedSource : Source {
  Dataset set;
  i64 bad;

  explicit StreamedSource(Dataset set_, i64 bad_ = -1) : set(std::move(set_)), bad(bad_) {}
  i64 size() const override { return set.size(); }
  i64 label(i64 i) const override { return set.label(i); }
  Image image(i64 i) const override {
    if (i == bad) throw Error(text("image ", i, " cannot be read"));
    return set.image(i);
  }
  Shape<3> shape() const override { return set.shape(); }
};

inline Dataset streamed(const Dataset& set, i64 bad = -1) {
  return Dataset(std::make_shared<StreamedSource>(set, bad), set.class_names, set.name);
}

}  // namespace mindgap::test
