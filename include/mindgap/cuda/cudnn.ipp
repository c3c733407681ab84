// Bodies of cudnn.hpp. A convolution is a graph of one operation, and of one more for each part of its epilogue.
#pragma once

#include <mindgap/cuda/cublas_lt.hpp>
#include <mindgap/cuda/cudnn.hpp>
#include <mindgap/cuda/cudnn_graph.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

namespace mindgap::cuda {
namespace detail {

struct ConvKey {
  ConvGeometry g;
  DType type;
  ConvDirection direction;
  bool tf32, any;             // allow_tf32 and allow_any_plan, when the call was made
  ConvEpilogue epilogue;      // forward, and of backward_data the residual
  bool channel_sums = false;  // forward: of y, and of its squares, as well

  auto operator<=>(const ConvKey&) const = default;

  enum Id : i64 { id_x = 1, id_w, id_y, id_residual, id_bias, id_sum, id_square };

  std::string str() const {
    constexpr const char* directions[] = {"forward", "backward_data", "backward_weights"};
    return text(directions[int(direction)], epilogue.residual ? " residual" : "", epilogue.bias ? " bias" : "",
                epilogue.relu ? " relu" : "", channel_sums ? " sums" : "", " ", name(type), tf32 ? " tf32" : " full",
                any ? " any " : " ", g.str());
  }

  // Kernels of plain convolutions, and most of forward ones with an epilogue, come with cuDNN; of a backward one with an epilogue
  // it compiles them. One that gathers sums is not worth compiling.
  int most_compiled() const {
    return channel_sums ? 0 : epilogue == ConvEpilogue{} ? 16 : direction == ConvDirection::forward ? 4 : 1;
  }
  Rules rules() const { return {type == DType::f32 && !tf32, any, i64(1) << 30, 16, most_compiled()}; }

  OperationGraph graph() const {
    OperationGraph out;
    // cuDNN counts extents as NCHW and KCRS whatever the layout; the strides say channels-last.
    struct Layout {
      Extents extents, strides;
    };
    const auto layout = [](i64 n, i64 c, i64 h, i64 w) { return Layout{{n, c, h, w}, {c * h * w, 1, c * w, c}}; };
    const auto tensor = [&](Id id, const Layout& a) -> const Descriptor& { return out.tensor(id, type, a.extents, a.strides); };
    const bool writes_x = direction == ConvDirection::backward_data;
    const Layout input = layout(g.n, g.c_in, g.h, g.w), output = layout(g.n, g.c_out, g.out_h(), g.out_w());
    const Layout& written = writes_x ? input : output;
    const auto sums = [&]() -> const Descriptor& { return out.between(DType::f32, written.extents, written.strides); };
    const Descriptor& x = tensor(id_x, input);
    const Descriptor& w = tensor(id_w, layout(g.c_out, g.c_in, g.kh, g.kw));
    const Descriptor& y = tensor(id_y, output);
    const Descriptor& end = writes_x ? x : y;
    const Descriptor& result = epilogue == ConvEpilogue{} ? end : sums();
    const Extents padding{g.pad_h, g.pad_w};
    const Descriptor& how = out.make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
                                .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, i64(2))
                                .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
                                .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
                                .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, Extents{g.stride_h, g.stride_w})
                                .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, Extents{1, 1})
                                .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, padding)
                                .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, padding)
                                .finalize();
    // The three directions differ in the names of their attributes alone.
    struct Names {
      cudnnBackendDescriptorType_t operation;
      cudnnBackendAttributeName_t x, w, y, how, alpha, beta;
    };
    constexpr Names names[] = {
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    const Names& n = names[int(direction)];
    out.operation(n.operation)
        .set(n.x, writes_x ? result : x)
        .set(n.w, w)
        .set(n.y, writes_x ? y : result)
        .set(n.how, how)
        .set(n.alpha, CUDNN_TYPE_FLOAT, 1.f)
        .set(n.beta, CUDNN_TYPE_FLOAT, 0.f)
        .finalize();
    const Descriptor* last = &result;
    const auto then = [&](cudnnPointwiseMode_t mode, const Descriptor* b, bool more) {
      const Descriptor& next = more ? sums() : end;
      out.pointwise(mode, next, *last, b);
      last = &next;
    };
    if (epilogue.residual) then(CUDNN_POINTWISE_ADD, &tensor(id_residual, written), epilogue.bias || epilogue.relu);
    if (epilogue.bias) then(CUDNN_POINTWISE_ADD, &tensor(id_bias, layout(1, g.c_out, 1, 1)), epilogue.relu);
    if (epilogue.relu) then(CUDNN_POINTWISE_RELU_FWD, nullptr, false);
    if (channel_sums) {
      const Layout row = layout(1, g.c_out, 1, 1);
      out.sums(out.tensor(id_sum, DType::f32, row.extents, row.strides),
               out.tensor(id_square, DType::f32, row.extents, row.strides), y);
    }
    return out;
  }
};

inline ConvKey conv_key(const ConvGeometry& g, DType type, ConvDirection direction, ConvEpilogue epilogue = {},
                        bool channel_sums = false) {
  return {g, type, direction, type == DType::f32 && allow_tf32(), allow_any_plan(), epilogue, channel_sums};
}

// Milliseconds of a pass of ours that reads and writes `bytes` in all, as a copy takes them.
inline float time_of_pass(Stream stream, TimingMemory& memory, i64 bytes) {
  const i64 half = bytes / 2;
  if (!memory.grow(2 * half)) return std::numeric_limits<float>::infinity();
  return least_time(stream, [&] {
    cudaMemcpyAsync(static_cast<char*>(memory.get()) + half, memory.get(), size_t(half), cudaMemcpyDeviceToDevice, stream);
  });
}
inline float time_of_plan(cudnnHandle_t handle, Stream stream, TimingMemory& memory, const Plan* plan,
                          std::span<const Pointer> pointers) {
  if (!plan || !memory.grow(plan->workspace_bytes)) return std::numeric_limits<float>::infinity();
  return least_time(stream, [&] { plan->run(handle, memory.get(), pointers); });
}
// Milliseconds of a call that says whether it could be made.
inline float time_of_call(Stream stream, const std::function<bool()>& call) {
  return least_time(stream, [&] {
    bool made = false;
    try {
      made = call();
    } catch (const DeviceError&) {
      throw;
    } catch (const Error&) {  // cuBLAS refuses it
    }
    if (!made) throw LibraryFailure();
  });
}

// Whether `product`, which computes the same as a key, takes less time than cuDNN's plan and a pass over `bytes_after` that only
// the plan needs: as the cache says, else by timing.
inline bool product_is_faster(Stream stream, const ConvKey& key, std::span<const Pointer> pointers, i64 bytes_after,
                              const std::function<bool()>& product) {
  const int way = chosen_way(stream, "product_or_" + key.str(), [&](TimingMemory& memory) {
    std::lock_guard lock(cudnn_mutex());
    const cudnnHandle_t handle = cudnn(stream);
    float of_plan = time_of_plan(handle, stream, memory, plan_for(handle, stream, key, pointers), pointers);
    if (bytes_after) of_plan += time_of_pass(stream, memory, bytes_after);
    return time_of_call(stream, product) <= of_plan ? 0 : 1;
  });
  return way == 0;
}

// How a convolution with an epilogue is computed: by a plan of cuDNN's with the epilogue in it, without and then in a pass of the
// caller's that reads what was written and the residual and writes it, or, for those of 1x1, by a product with the epilogue in
// it. cuDNN has a plan for nearly every epilogue, but some are slower than the pass that they spare.
enum class EpilogueWay { plan, pass, product };

// As the cache says, else by timing. product: empty where there is none.
inline EpilogueWay autotune_epilogue(Stream stream, const ConvKey& key, std::span<const Pointer> pointers,
                                     const std::function<bool()>& product) {
  return EpilogueWay(chosen_way(stream, "epilogue_of_" + key.str(), [&](TimingMemory& memory) {
    std::lock_guard lock(cudnn_mutex());
    const cudnnHandle_t handle = cudnn(stream);
    ConvKey plain = key;
    plain.epilogue = {};
    const i64 elements = key.direction == ConvDirection::backward_data ? key.g.x_size() : key.g.y_size();
    const auto plan_time = [&](const ConvKey& of, std::span<const Pointer> at) {
      return time_of_plan(handle, stream, memory, plan_for(handle, stream, of, at), at);
    };
    float times[3];
    times[int(EpilogueWay::plan)] = plan_time(key, pointers);
    times[int(EpilogueWay::pass)] = plan_time(plain, pointers.first(3)) +
                                    time_of_pass(stream, memory, elements * bytes(key.type) * (key.epilogue.residual ? 3 : 2));
    times[int(EpilogueWay::product)] = product ? time_of_call(stream, product) : std::numeric_limits<float>::infinity();
    const float* best = std::min_element(times, times + 3);
    return *best < std::numeric_limits<float>::infinity() ? int(best - times) : int(EpilogueWay::pass);
  }));
}

// The product that a 1x1 convolution of stride 1 is, and which of its tensors are the product's.
struct ProductOfConv {
  MatmulGeometry g;
  ConvKey::Id a, b, c;
};
inline std::optional<ProductOfConv> as_product(const ConvKey& key) {
  const ConvGeometry& g = key.g;
  if (g.kh != 1 || g.kw != 1 || g.stride_h != 1 || g.stride_w != 1 || g.pad_h || g.pad_w) return std::nullopt;
  const i64 pixels = g.n * g.h * g.w;
  switch (key.direction) {
    case ConvDirection::forward:  // y = x w^T
      return ProductOfConv{MatmulGeometry::dense(pixels, g.c_out, g.c_in, false, true), ConvKey::id_x, ConvKey::id_w,
                           ConvKey::id_y};
    case ConvDirection::backward_data:  // grad_x = grad_y w
      return ProductOfConv{MatmulGeometry::dense(pixels, g.c_in, g.c_out), ConvKey::id_y, ConvKey::id_w, ConvKey::id_x};
    default:  // grad_w = grad_y^T x
      return ProductOfConv{MatmulGeometry::dense(g.c_out, g.c_in, pixels, true, false), ConvKey::id_y, ConvKey::id_x,
                           ConvKey::id_w};
  }
}

// wide: null, or where the result may be written in f32 instead. Whether it was.
inline bool convolve(Stream stream, Scratch scratch, const ConvKey& key, void* x, void* w, void* y, float* wide = nullptr) {
  require_aligned("conv2d", {x, w, y, wide});
  const Pointer pointers[] = {{ConvKey::id_x, x}, {ConvKey::id_w, w}, {ConvKey::id_y, y}};
  if (const auto product = as_product(key)) {
    const auto of = [&](ConvKey::Id id) { return pointers[id - ConvKey::id_x].to; };
    const auto multiply = [&, c_type = wide ? DType::f32 : key.type, c = wide ? wide : of(product->c), a = of(product->a),
                           b = of(product->b)] {
      if (!matmul_with_epilogue(stream, scratch, product->g, c_type, c, key.type, a, b, {}))
        matmul(stream, product->g, c_type, c, key.type, a, b, 1.f, false);
      return true;
    };
    const i64 bytes_after = wide ? key.g.weight_size() * (bytes(key.type) + bytes(DType::f32)) : 0;
    if (product_is_faster(stream, key, pointers, bytes_after, multiply)) {
      multiply();
      return wide != nullptr;
    }
  }
  if (run_plan(stream, scratch, key, pointers)) return false;
  throw Error("conv2d: cuDNN has no plan for this geometry",
              {{"geometry", key.str()},
               {"rules", "the same bits in every run, at most 1 GiB of workspace, TF32 only where it is allowed"},
               {"cudnn", cudnn_version()},
               {"remedy", "channels in multiples of 8, or another precision"}});
}

}  // namespace detail

MINDGAP_INLINE std::string card_description() {
  using namespace detail;
  try {
    Descriptor card(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    card.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, std::int32_t(0)).finalize();
    i64 bytes = 0;
    check(cudnnBackendGetAttribute(card.get(), CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0, &bytes, nullptr));
    std::string json(size_t(bytes), '\0');
    check(cudnnBackendGetAttribute(card.get(), CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, bytes, &bytes,
                                   json.data()));
    json.resize(std::min(json.size(), json.find('\0')));
    return json;
  } catch (const CudnnFailure& failure) {
    throw Error("cuda: cuDNN does not describe this machine's GPU",
                {{"cudnn", cudnn_version() + ": " + cudnnGetErrorString(failure.status)},
                 {"remedy", "this needs a GPU with a driver, and cuDNN 9.8 or newer"}});
  }
}

MINDGAP_INLINE bool worth_compiling_a_sum(const ConvGeometry& g, DType type) {
  constexpr i64 least_bytes = i64(32) << 20;  // of a tensor: a pass over two and a third takes 40 us on an H100
  return g.x_size() * bytes(type) >= least_bytes && !detail::as_product(detail::conv_key(g, type, ConvDirection::backward_data));
}

MINDGAP_INLINE void conv2d_forward(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* y, const void* x,
                                   const void* w) {
  using namespace detail;
  convolve(stream, scratch, conv_key(g, type, ConvDirection::forward), writable(x), writable(w), y);
}

MINDGAP_INLINE bool conv2d_forward(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, ConvEpilogue epilogue,
                                   void* y, const void* x, const void* w, const void* bias, const void* residual) {
  using namespace detail;
  require_aligned("conv2d", {x, w, y, epilogue.bias ? bias : nullptr, epilogue.residual ? residual : nullptr});
  const ConvKey key = conv_key(g, type, ConvDirection::forward, epilogue);
  std::vector<Pointer> pointers{{ConvKey::id_x, writable(x)}, {ConvKey::id_w, writable(w)}, {ConvKey::id_y, y}};
  if (epilogue.bias) pointers.push_back({ConvKey::id_bias, writable(bias)});
  if (epilogue.residual) pointers.push_back({ConvKey::id_residual, writable(residual)});
  std::function<bool()> multiply;
  if (const auto product = as_product(key))
    multiply = [=, g = product->g] {
      return matmul_with_epilogue(stream, scratch, g, type, y, type, x, w,
                                  {epilogue.residual ? residual : nullptr, epilogue.bias ? bias : nullptr, epilogue.relu});
    };
  switch (autotune_epilogue(stream, key, pointers, multiply)) {
    case EpilogueWay::product:
      return multiply && multiply();
    case EpilogueWay::plan:
      return run_plan(stream, scratch, key, pointers);
    default:
      return false;
  }
}

MINDGAP_INLINE bool conv2d_forward_sums(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* y, float* sum,
                                        float* square, const void* x, const void* w) {
  using namespace detail;
  require_aligned("conv2d", {x, w, y, sum, square});
  const Pointer pointers[] = {{ConvKey::id_x, writable(x)},
                              {ConvKey::id_w, writable(w)},
                              {ConvKey::id_y, y},
                              {ConvKey::id_sum, sum},
                              {ConvKey::id_square, square}};
  return run_plan(stream, scratch, conv_key(g, type, ConvDirection::forward, {}, true), pointers);
}

MINDGAP_INLINE bool conv2d_backward_data(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* grad_x,
                                         const void* grad_y, const void* w, const void* before) {
  using namespace detail;
  require_aligned("conv2d", {grad_x, grad_y, w, before});
  if (const auto product = as_product(conv_key(g, type, ConvDirection::backward_data)))
    return matmul_with_epilogue(stream, scratch, product->g, type, grad_x, type, grad_y, w, {before});
  if (!worth_compiling_a_sum(g, type)) return false;
  const ConvKey key = conv_key(g, type, ConvDirection::backward_data, {true, false, false});
  const Pointer pointers[] = {{ConvKey::id_x, grad_x},
                              {ConvKey::id_w, writable(w)},
                              {ConvKey::id_y, writable(grad_y)},
                              {ConvKey::id_residual, writable(before)}};
  return autotune_epilogue(stream, key, pointers, {}) == EpilogueWay::plan && run_plan(stream, scratch, key, pointers);
}

MINDGAP_INLINE void conv2d_backward_data(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, void* grad_x,
                                         const void* grad_y, const void* w) {
  using namespace detail;
  convolve(stream, scratch, conv_key(g, type, ConvDirection::backward_data), grad_x, writable(w), writable(grad_y));
}

MINDGAP_INLINE bool conv2d_backward_weights(Stream stream, Scratch scratch, const ConvGeometry& g, DType type, float* grad_w,
                                            void* narrow, const void* x, const void* grad_y) {
  using namespace detail;
  const ConvKey key = conv_key(g, type, ConvDirection::backward_weights);
  const bool full = type == DType::f32;
  return convolve(stream, scratch, key, writable(x), full ? grad_w : narrow, writable(grad_y), full ? nullptr : grad_w) || full;
}

}  // namespace mindgap::cuda
