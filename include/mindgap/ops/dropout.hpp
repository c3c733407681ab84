// Dropout (Srivastava et al. 2014) as torch.nn.functional.dropout in training: an element is 0 with probability p, else divided
// by 1 - p, so that its mean stays.
//
//   dropout(x, 0.1f, Stream(seed, "dropout of fc1", step))        one key a place and a step
//
// Which elements, the key and the index decide: element i is 0 where number i of the stream is below p, whatever the device, the
// type or the shape. A step that is replayed takes the key as a HostInput<Stream, D>, which is set before each step; with a
// Stream it is an error, since all its runs would drop the same elements.
#pragma once

#include <mindgap/core/host_input.hpp>
#include <mindgap/cpu/runtime.hpp>
#include <mindgap/kernels/dropout.hpp>

namespace mindgap {

namespace detail {

// Overwrites y. stream: on the device.
template <Real T, int N, Device D>
void dropout_into(const Tensor<T, N, D>& y, const Tensor<T, N, D>& x, float p, const Stream* stream) {
  const kernel::Dropout<T> kernel{y.data(), x.data(), stream, x.size(), p, 1.f / (1.f - p)};
  Runtime<D>::launch(Grid{kernel.blocks()}, kernel);
}

}  // namespace detail

// Throws where p is not in [0, 1).
template <Real T, int N, Device D>
Tensor<T, N, D> dropout(const Tensor<T, N, D>& x, float p, const HostInput<Stream, D>& key, Location at = Location::current()) {
  const Caller caller(at);
  if (!(p >= 0 && p < 1)) throw Error(text("dropout: a probability of ", p), {{"remedy", "0 to below 1"}});
  const Op<D> op("dropout");
  const Tensor<T, N, D> y(x.shape());
  op.moves(x, y);
  detail::dropout_into(y, x, p, key.data());
  return y;
}
// Of a tensor or a variable, with a key that goes to the device at once.
template <class X>
X dropout(const X& x, float p, const Stream& key, Location at = Location::current()) {
  const Caller caller(at);
  return dropout(x, p, HostInput<Stream, typename X::device>(std::span(&key, 1)));
}

// With a number for the key.
template <class X, std::integral Seed>
auto dropout(const X& x, float, Seed) {
  static_assert(!std::integral<Seed>, "mindgap: dropout wants a key, which says what is drawn for: Stream(seed, \"fc1\", step)");
  return x;
}

// Overwrites grad_x with the gradient of what was kept. stream: the key that dropout() had, on the device.
template <Real T, int N, Device D>
void dropout_backward(const Tensor<T, N, D>& grad_x, const Tensor<T, N, D>& grad_y, float p, const Stream* stream) {
  written(grad_x);
  const Op<D> op("dropout backward");
  op.moves(grad_x, grad_y);
  detail::dropout_into(grad_x, grad_y, p, stream);
}

}  // namespace mindgap
