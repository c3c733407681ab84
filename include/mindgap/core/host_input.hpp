// What the host tells a step that may be replayed (core/replay.hpp): which images, learning rate, noise.
//
//   HostInput<float, D> rate(1);                 numbers of the host in memory of the device that stays
//   rate.set({&value, 1});                       before a step: goes to the device at once
//   launch(..., rate.data());                    in the step
//
// A copy costs the host and the device some microseconds, whatever its size. So whoever runs a step that is told several things
// packs them:
//
//   PackedInputs<D> inputs(rate, optimizer);     before the first step: they lie side by side from now on
//   rate.set(...), optimizer.prepare(...);       before a step: noted on the host,
//   inputs.send();                               and sent in one copy
//
// To read an input, eagerly or in a replay, before what was set has been sent is an error: no step uses old numbers.
#pragma once

#include <mindgap/core/replay.hpp>
#include <mindgap/core/tensor.hpp>

#include <span>

namespace mindgap {

template <Device D>
class PackedInputs;

namespace detail {

// Inputs that go to the device together.
template <Device D>
struct InputBuffer {
  InputBuffer(i64 bytes, bool is_packed) : device(Shape<1>(bytes)), host(size_t(bytes)), packed(is_packed) {}

  Tensor<u8, 1, D> device;  // first: it says what is too large
  std::vector<u8> host;
  const bool packed;  // sent by a PackedInputs
  bool sent = false;  // whether the device has what the host has

  void send() {
    Runtime<D>::from_host(device.data(), host.data(), device.bytes());
    sent = true;
  }
  void check_sent() const {
    if (sent) return;
    throw Error("a step reads inputs of the host that were not sent",
                {{"remedy", packed ? "PackedInputs::send() after the last set() or prepare() and before the step"
                                   : "set() or prepare() before the step; pack inputs before a step reads them"}});
  }
};

// Where an input lies in its buffer; shared by the copies of the input.
template <Device D>
struct InputPlace {
  std::shared_ptr<InputBuffer<D>> buffer;
  i64 offset, room;  // bytes
  i64 size;          // values that were set last
};

}  // namespace detail

// A handle, as a tensor is: a copy is the same input.
template <class T, Device D>
class HostInput {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);

 public:
  // room: values, at most. Throws where it is negative or more than any memory has.
  explicit HostInput(i64 room) {
    if (room < 0 || room > std::numeric_limits<i64>::max() / 2 / i64(sizeof(T)))
      throw Error(text("input: room for ", room, " values"), {{"remedy", "0 or more, and no more than a step reads"}});
    const i64 bytes = room * i64(sizeof(T));
    place_ = std::make_shared<Place>(Place{std::make_shared<detail::InputBuffer<D>>(bytes, false), 0, bytes, 0});
  }
  explicit HostInput(std::span<const T> values) : HostInput(i64(values.size())) { set(values); }

  void set(std::span<const T> values) {
    detail::InputBuffer<D>& buffer = *place_->buffer;
    if (i64(values.size_bytes()) > place_->room)
      throw Error(text("input: ", values.size(), " values, there is room for ", place_->room / i64(sizeof(T))));
    std::copy_n(reinterpret_cast<const u8*>(values.data()), values.size_bytes(), buffer.host.begin() + place_->offset);
    place_->size = i64(values.size());
    buffer.sent = false;
    if (!buffer.packed) buffer.send();
  }

  i64 size() const { return place_->size; }
  // For a step: the values on the device.
  const T* data() const { return reinterpret_cast<const T*>(bytes().data()); }
  auto tensor() const requires Element<T> { return bytes().template as<T>(); }

  // What a PackedInputs asks its parts for.
  template <class F>
  void each_input(F&& f) {
    f(*this);
  }

 private:
  friend class PackedInputs<D>;
  using Place = detail::InputPlace<D>;

  Tensor<u8, 1, D> bytes() const {
    each_run([buffer = place_->buffer] { buffer->check_sent(); });
    return place_->buffer->device.slice(place_->offset, place_->offset + size() * i64(sizeof(T)));
  }

  std::shared_ptr<Place> place_;
};

template <Device D>
class PackedInputs {
 public:
  // parts: inputs, and whatever holds some (each_input). An input is packed once.
  template <class... Parts>
  explicit PackedInputs(Parts&... parts) {
    std::vector<detail::InputPlace<D>*> places;
    const auto add = [&](auto& input) { places.push_back(input.place_.get()); };
    (parts.each_input(add), ...);
    constexpr auto aligned = [](i64 bytes) { return (bytes + 15) / 16 * 16; };
    i64 bytes = 0;
    for (const auto* place : places) {
      if (place->buffer->packed)
        throw Error("an input is packed already", {{"remedy", "whoever runs the step packs its inputs"}});
      bytes += aligned(place->room);
    }
    buffer_ = std::make_shared<detail::InputBuffer<D>>(bytes, true);
    i64 offset = 0;
    for (auto* place : places) {
      std::copy_n(place->buffer->host.begin(), place->room, buffer_->host.begin() + offset);
      place->buffer->sent = false;  // a step that was captured with this place would read old numbers
      place->buffer = buffer_;
      place->offset = std::exchange(offset, offset + aligned(place->room));
    }
  }

  void send() { buffer_->send(); }

 private:
  std::shared_ptr<detail::InputBuffer<D>> buffer_;
};

}  // namespace mindgap
