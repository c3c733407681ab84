// A classifier behind a C ABI, for programs in other languages: own_c_api.py calls it from Python.
//
// No exception crosses the boundary: each function returns a code, and last_error() has the text of this thread's last failure.
// Arrays are the caller's; sizes travel with them and are checked.
#include <mindgap/models/resnet.hpp>
#include <mindgap/nn/state_dict.hpp>

#include <cstring>

using namespace mindgap;

namespace {

thread_local std::string failure;
enum Code { done = 0, wrong_use = 1, device_failed = 2, broken = 3 };

// f(), with what it throws as a code and a text. An Error's is one block: what, the values, the remedy.
template <class F>
int guarded(F&& f) noexcept {
  try {
    f();
    return done;
  } catch (const std::exception& error) {
    failure = error.what();
    return dynamic_cast<const DeviceError*>(&error) ? device_failed : dynamic_cast<const Error*>(&error) ? wrong_use : broken;
  }
}
}  // namespace

extern "C" {
struct Classifier {
  ResNet<Cpu, Precision<float>> net;
};

const char* last_error() { return failure.c_str(); }

int classifier_new(const char* name, int64_t width, int64_t classes, uint64_t seed, Classifier** out) {
  return guarded([&] { *out = new Classifier{{ResNetConfig::make(name, width, /*channels*/ 1, classes, Stem::small), seed}}; });
}
int classifier_load(Classifier* self, const char* file) {
  return guarded([&] { load(self->net, file); });
}
int classifier_save(Classifier* self, const char* file) {
  return guarded([&] { save(self->net, file); });
}
void classifier_free(Classifier* self) { delete self; }

// images [n, height, width] grey -> logits [n, classes], `room` floats
int classifier_run(Classifier* self, const float* images, int64_t n, int64_t height, int64_t width, float* logits, int64_t room) {
  return guarded([&] {
    const Shape<4> shape(n, height, width, 1);
    const auto x = Tensor<float, 4>::from(std::span(images, size_t(shape.size())), shape);
    set_training(self->net, false);
    const auto y = self->net(x);
    if (y.size() != room) throw Error("run: the logits do not fit", {{"logits", y.str()}, {"room", std::to_string(room)}});
    std::memcpy(logits, y.data(), size_t(y.bytes()));
  });
}
}
