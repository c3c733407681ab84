// What a device must have: the contract of Runtime<D> and Library<D>, which every op relies on and every backend asserts.
//
//   static_assert(DeviceRuntime<Runtime<Mine>> && DeviceLibrary<Library<Mine>, float>);
//
// Both are specialised for the device with static functions alone. Memory is named by plain pointers; ops check shapes and speak
// of names, a backend trusts what it is given. Work may be queued: it is done in the order of the calls, and a call that waits
// says so here. Errors are thrown as DeviceError.
#pragma once

#include <mindgap/core/config.hpp>
#include <mindgap/core/conv_geometry.hpp>

#include <concepts>
#include <functional>
#include <string>
#include <vector>

namespace mindgap {

struct Grid;  // kernels/block.hpp

namespace detail {

struct NoWork {  // a kernel
  template <class B>
  MG_HD void operator()(B&) const {}
};

}  // namespace detail

// clang-format off
template <class R>
concept DeviceRuntime = requires(void* to, const void* from, i64 bytes, const Grid& grid, const detail::NoWork& kernel,
                                 typename R::Event event, const char* name) {
  { R::asynchronous } -> std::convertible_to<bool>;        // whether work is queued
  { R::captures } -> std::convertible_to<bool>;            // whether it is a GpuRuntime, whose steps are replayed
  { R::allocate(bytes) } -> std::same_as<void*>;           // aligned to 64 bytes or more; an error where none is left
  R::deallocate(to);                                       // when the work that was queued is done
  R::copy(to, from, bytes);                                // within the device
  R::from_host(to, from, bytes);                           // the host's memory may be reused at once
  R::to_host(to, from, bytes);                             // waits
  R::zero(to, bytes);
  R::launch(grid, kernel);                                 // any kernel (kernels/block.hpp)
  R::synchronize();                                        // waits for all work
  event.record();                                          // a point in the device's time
  { event.since(event) } -> std::same_as<double>;          // milliseconds; waits
  R::begin_range(name), R::end_range();                    // of a profiler's timeline
};

// Work that is queued between begin_capture() and end_capture() is not run but becomes a graph. Waiting, copies from and to the
// host and taking memory from the system are errors meanwhile.
template <class R>
concept GpuRuntime = DeviceRuntime<R> && requires(const typename R::Graph& graph) {
  { R::most_shared_bytes() } -> std::same_as<i64>;         // of a block
  { R::capturing() } -> std::same_as<bool>;
  R::begin_capture();
  { R::end_capture() } -> std::same_as<typename R::Graph>;
  R::abandon_capture();                                    // after an error: forgets what was captured
  R::launch(graph);
};

// The products that a library computes, of elements T. Functions that return bool may have no way to do it, or none that is
// faster than the caller's own: then they return false and have done nothing.
template <class L, class T>
concept DeviceLibrary = requires(const ConvGeometry& g, const MatmulGeometry& m, T* out, const T* in, float* sum,
                                 const float* bias, const std::string& name, const std::vector<std::function<bool()>>& ways) {
  { L::template computes<T> } -> std::convertible_to<bool>;           // else the op is an error of compilation
  { L::template narrows_gradients<T> } -> std::convertible_to<bool>;  // whether gradients of weights may be left in T
  { L::template fuses_attention<T> } -> std::convertible_to<bool>;    // whether there may be attention in one pass
  // What results depend on besides their inputs: how f32 is multiplied, and the hash of the plans used since begin_plan_use().
  { L::f32_products() } -> std::same_as<const char*>;
  L::begin_plan_use();
  { L::plan_hash() } -> std::same_as<std::string>;
  // Which of several ways to one end is the fastest on this device. Each says whether it can be taken; the last one always can.
  { L::autotune(name, ways) } -> std::same_as<int>;

  L::conv2d(g, out, in, in, bias);                                                   // y, x, w, bias or null
  { L::conv2d_bias_relu(g, out, in, in, in, in) } -> std::same_as<bool>;             // y, x, w, bias, residual or null
  { L::conv2d_sums(g, out, sum, sum, in, in) } -> std::same_as<bool>;                // y, sums of y and of y^2 a channel, x, w
  L::conv2d_backward_data(g, out, in, in);                                           // grad_x, grad_y, w
  { L::conv2d_backward_data_sum(g, out, in, in, in) } -> std::same_as<bool>;         // and adds the last to grad_x
  { L::conv2d_backward_weights(g, sum, out, sum, in, in) } -> std::same_as<bool>;    // grad_w; false: it is in T, in the second
  L::matmul(m, out, in, in, 1.f, false, bias);                                       // c = alpha a b (+ c) + bias
} && (!L::template fuses_attention<T> || requires(const AttentionGeometry& g, T* out, const T* in, float* statistics) {
  { L::attention(g, out, statistics, in, in, in) } -> std::same_as<bool>;            // y, statistics, q, k, v
  { L::attention_backward(g, out, out, out, in, in, statistics, in, in, in) } -> std::same_as<bool>;
});
// clang-format on

}  // namespace mindgap
