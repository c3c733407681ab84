// Bodies of cudnn.hpp: the only file that includes cuDNN.
//
// A graph of one operation is described by finalized descriptors (cuDNN's backend interface); heuristics propose engine
// configurations; a configuration makes a plan; a variant pack gives a plan its pointers. Descriptor owns one of these.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/cuda/cudnn.hpp>

#include <algorithm>
#include <array>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <utility>
#include <vector>

namespace mindgap {
namespace cuda {
namespace detail {

enum class Direction : u8 { forward, backward_data, backward_weights };

// A failure inside cuDNN; caught where a plan is looked for, where another one may do.
struct CudnnFailure {
  cudnnStatus_t status;
};
inline void check(cudnnStatus_t status) {
  if (status != CUDNN_STATUS_SUCCESS) throw CudnnFailure{status};
}

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) { check(cudnnBackendCreateDescriptor(type, &handle_)); }
  ~Descriptor() {
    if (handle_) cudnnBackendDestroyDescriptor(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const std::vector<T>& values) {
    check(cudnnBackendSetAttribute(handle_, name, type, i64(values.size()), values.data()));
    return *this;
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    check(cudnnBackendSetAttribute(handle_, name, type, 1, &value));
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.handle_);
  }
  void finalize() { check(cudnnBackendFinalize(handle_)); }
  cudnnBackendDescriptor_t get() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

inline cudnnDataType_t cudnn_type(DType type) {
  return type == DType::f32 ? CUDNN_DATA_FLOAT : type == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

inline cudnnHandle_t cudnn(Stream stream) {
  static const cudnnHandle_t created = [] {
    cudnnHandle_t h = nullptr;
    const cudnnStatus_t status = cudnnCreate(&h);
    if (status != CUDNN_STATUS_SUCCESS)
      throw Error("cuda: cuDNN did not start",
                  {{"cudnn", cudnnGetErrorString(status)}, {"remedy", "is there a GPU with a driver for CUDA 13?"}});
    return h;
  }();
  cudnnSetStream(created, stream);
  return created;
}

// Names of tensors in a graph.
enum Id : i64 { id_x = 1, id_w = 2, id_y = 3 };

// cuDNN counts extents as NCHW and KCRS whatever the layout; the strides say channels-last.
inline Descriptor tensor(Id id, DType type, i64 n, i64 c, i64 h, i64 w) {
  Descriptor out(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  out.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, cudnn_type(type))
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::vector<i64>{n, c, h, w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::vector<i64>{c * h * w, 1, c * w, c})
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, i64(id))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, i64(16));
  out.finalize();
  return out;
}

inline Descriptor convolution(const ConvGeometry& g) {
  Descriptor out(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const std::vector<i64> padding{g.pad_h, g.pad_w};
  out.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, i64(2))
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, std::vector<i64>{g.stride_h, g.stride_w})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, std::vector<i64>{1, 1})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, padding)
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, padding);
  out.finalize();
  return out;
}

struct ConvKey {
  ConvGeometry g;
  DType type;
  DType weight_type;  // of the weights, or of their gradient
  Direction direction;
  bool tf32;

  auto operator<=>(const ConvKey&) const = default;

  std::string str() const {
    constexpr const char* directions[] = {"forward", "backward_data", "backward_weights"};
    return text(directions[int(direction)], " ", name(type), " ", name(weight_type), tf32 ? " tf32" : " full", " ", g.n, " ", g.h,
                " ", g.w, " ", g.c_in, " ", g.c_out, " ", g.kh, " ", g.kw, " ", g.stride_h, " ", g.stride_w, " ", g.pad_h, " ",
                g.pad_w);
  }
};

// The graph of one convolution.
struct ConvGraph {
  Descriptor x, w, y, how, operation, graph;

  ConvGraph(cudnnHandle_t handle, const ConvKey& key)
      : x(tensor(id_x, key.type, key.g.n, key.g.c_in, key.g.h, key.g.w)),
        w(tensor(id_w, key.weight_type, key.g.c_out, key.g.c_in, key.g.kh, key.g.kw)),
        y(tensor(id_y, key.type, key.g.n, key.g.c_out, key.g.out_h(), key.g.out_w())),
        how(convolution(key.g)),
        operation(make(key)),
        graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle).set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
    graph.finalize();
  }

 private:
  Descriptor make(const ConvKey& key) const {
    const auto filled = [&](cudnnBackendDescriptorType_t type, cudnnBackendAttributeName_t x_name,
                            cudnnBackendAttributeName_t w_name, cudnnBackendAttributeName_t y_name,
                            cudnnBackendAttributeName_t conv_name, cudnnBackendAttributeName_t alpha,
                            cudnnBackendAttributeName_t beta) {
      Descriptor out(type);
      out.set(x_name, x).set(w_name, w).set(y_name, y).set(conv_name, how);
      out.set(alpha, CUDNN_TYPE_FLOAT, 1.f).set(beta, CUDNN_TYPE_FLOAT, 0.f);
      out.finalize();
      return out;
    };
    switch (key.direction) {
      case Direction::forward:
        return filled(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
      case Direction::backward_data:
        return filled(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
      default:
        return filled(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
    }
  }
};

// Device memory that only grows; shared by all plans, since they run one after another on one stream.
class Workspace {
 public:
  void* at_least(i64 bytes) {
    if (bytes > bytes_) {
      cudaDeviceSynchronize();
      cudaFree(memory_);
      memory_ = nullptr, bytes_ = 0;
      if (cudaMalloc(&memory_, size_t(bytes)) != cudaSuccess)
        throw Error(text("conv2d: no memory for a workspace of ", bytes >> 20, " MiB"), {{"remedy", "use a smaller batch"}});
      bytes_ = bytes;
    }
    return memory_;
  }

 private:
  void* memory_ = nullptr;
  i64 bytes_ = 0;
};
inline Workspace& workspace() {
  static auto* w = new Workspace;
  return *w;
}

struct Plan {
  Descriptor configuration, plan;
  i64 workspace_bytes = 0;
  int place = 0;  // in cuDNN's list

  void run(cudnnHandle_t handle, void* x, void* w, void* y) const {
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, std::vector<i64>{id_x, id_w, id_y})
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, std::vector<void*>{x, w, y})
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace().at_least(workspace_bytes));
    pack.finalize();
    check(cudnnBackendExecute(handle, plan.get(), pack.get()));
  }
};

// What cuDNN says of the engine of a configuration.
inline bool has_note(const Descriptor& configuration, cudnnBackendNumericalNote_t wanted) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  i64 count = 0;
  check(cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                 &handle));
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  check(cudnnBackendGetAttribute(handle, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, i64(notes.size()), &count,
                                 notes.data()));
  return std::find(notes.begin(), notes.begin() + std::min<i64>(count, i64(notes.size())), wanted) != notes.begin() + count;
}

// The configurations that cuDNN proposes, the one it thinks best first.
inline std::vector<Descriptor> proposals(const ConvGraph& graph) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
  heuristics.finalize();
  i64 count = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count,
                                 nullptr));
  std::vector<Descriptor> out;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (i64 i = 0; i < count; ++i) {
    out.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    handles.push_back(out.back().get());
  }
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count,
                                 handles.data()));
  out.erase(out.begin() + count, out.end());
  return out;
}

// The plan of one configuration, or nothing where cuDNN cannot make it or it breaks our rules.
inline std::unique_ptr<Plan> make_plan(cudnnHandle_t handle, Descriptor configuration, int place, bool tf32) {
  constexpr i64 most_workspace = i64(1) << 30;
  try {
    if (has_note(configuration, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return nullptr;
    if (!tf32 && has_note(configuration, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return nullptr;
    Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    plan.finalize();
    i64 bytes = 0, count = 0;
    check(cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes));
    if (bytes > most_workspace) return nullptr;
    return std::make_unique<Plan>(Plan{std::move(configuration), std::move(plan), bytes, place});
  } catch (const CudnnFailure&) {
    return nullptr;
  }
}

// Milliseconds of a run: the least of five after two that warm up.
inline float time_plan(cudnnHandle_t handle, Stream stream, const Plan& plan, void* x, void* w, void* y) {
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  float least = std::numeric_limits<float>::infinity();
  try {
    for (int run = 0; run < 7; ++run) {
      cudaEventRecord(begin, stream);
      plan.run(handle, x, w, y);
      cudaEventRecord(end, stream);
      float ms = 0;
      if (cudaEventSynchronize(end) != cudaSuccess || cudaEventElapsedTime(&ms, begin, end) != cudaSuccess) break;
      if (run >= 2) least = std::min(least, ms);
    }
  } catch (const CudnnFailure&) {
  }
  cudaGetLastError();
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return least;
}

struct Plans {
  std::mutex mutex;
  std::map<ConvKey, std::unique_ptr<Plan>> made;
  std::map<std::string, int> places;  // by ConvKey::str(): chosen here or read from a table
};
inline Plans& plans() {
  static auto* p = new Plans;
  return *p;
}

inline std::string card() {
  cudaDeviceProp properties{};
  return cudaGetDeviceProperties(&properties, 0) == cudaSuccess ? properties.name : "no GPU";
}

// The plan for a geometry: the one that is kept, or that a table names, or the quickest of the first sixteen that can be made.
// Null, and remembered as such, where there is none; `why` is cuDNN's word for it.
inline const Plan* plan_for(cudnnHandle_t handle, Stream stream, const ConvKey& key, void* x, void* w, void* y,
                            std::string& why) {
  constexpr int most_tried = 16;
  Plans& all = plans();
  if (auto found = all.made.find(key); found != all.made.end()) return found->second.get();
  std::unique_ptr<Plan> best;
  try {
    const ConvGraph graph(handle, key);
    std::vector<Descriptor> proposed = proposals(graph);
    const auto known = all.places.find(key.str());
    if (known != all.places.end() && known->second < int(proposed.size()))
      best = make_plan(handle, std::move(proposed[size_t(known->second)]), known->second, key.tf32);
    if (!best) {
      float least = std::numeric_limits<float>::infinity();
      int tried = 0;
      for (int place = 0; place < int(proposed.size()) && tried < most_tried; ++place)
        if (auto candidate = make_plan(handle, std::move(proposed[size_t(place)]), place, key.tf32)) {
          ++tried;
          const float ms = time_plan(handle, stream, *candidate, x, w, y);
          if (ms < least) least = ms, best = std::move(candidate);
        }
    }
  } catch (const CudnnFailure& failure) {
    why = cudnnGetErrorString(failure.status);
  }
  if (best) all.places[key.str()] = best->place;
  return (all.made[key] = std::move(best)).get();
}

inline void* pointer(const void* p) { return const_cast<void*>(p); }

// False where cuDNN has no plan.
inline bool convolve(Stream stream, const ConvKey& key, void* x, void* w, void* y, bool required) {
  std::string why =
      "no plan gives the same bits in every run, takes at most 1 GiB of workspace, and uses TF32 only where allowed";
  const cudnnHandle_t handle = cudnn(stream);
  std::lock_guard lock(plans().mutex);
  try {
    const Plan* plan = plan_for(handle, stream, key, x, w, y, why);
    if (plan) plan->run(handle, x, w, y);
    if (plan || !required) return plan != nullptr;
  } catch (const CudnnFailure& failure) {
    why = cudnnGetErrorString(failure.status);
  }
  throw Error("conv2d: cuDNN cannot compute this geometry", {{"geometry", key.str()},
                                                             {"cudnn", cudnn_version() + ": " + why},
                                                             {"remedy", "channels in multiples of 8, or another precision"}});
}

}  // namespace detail

MINDGAP_INLINE std::string cudnn_version() {
  const size_t v = cudnnGetVersion();
  return text(v / 10000, ".", v / 100 % 100, ".", v % 100);
}

MINDGAP_INLINE std::string plan_table() {
  std::string out = text("card ", detail::card(), ", cudnn ", cudnn_version(), "\n");
  std::lock_guard lock(detail::plans().mutex);
  for (const auto& [key, place] : detail::plans().places) out += text(place, " ", key, "\n");
  return out;
}

MINDGAP_INLINE i64 read_plan_table(const std::string& table) {
  std::istringstream lines(table);
  std::string line;
  if (!std::getline(lines, line) || line != text("card ", detail::card(), ", cudnn ", cudnn_version())) return 0;
  i64 count = 0;
  std::lock_guard lock(detail::plans().mutex);
  while (std::getline(lines, line)) {
    const size_t space = line.find(' ');
    if (space == line.npos || space > 4 || line.find_first_not_of("0123456789") != space) continue;
    detail::plans().places[line.substr(space + 1)] = std::stoi(line.substr(0, space));
    ++count;
  }
  return count;
}

MINDGAP_INLINE void conv2d_forward(Stream stream, const ConvGeometry& g, DType type, void* y, const void* x, const void* w) {
  using namespace detail;
  convolve(stream, {g, type, type, Direction::forward, allow_tf32()}, pointer(x), pointer(w), y, true);
}

MINDGAP_INLINE void conv2d_backward_data(Stream stream, const ConvGeometry& g, DType type, void* grad_x, const void* grad_y,
                                         const void* w) {
  using namespace detail;
  convolve(stream, {g, type, type, Direction::backward_data, allow_tf32()}, grad_x, pointer(w), pointer(grad_y), true);
}

MINDGAP_INLINE bool conv2d_backward_weights(Stream stream, const ConvGeometry& g, DType type, DType grad_type, void* grad_w,
                                            const void* x, const void* grad_y) {
  using namespace detail;
  return convolve(stream, {g, type, grad_type, Direction::backward_weights, allow_tf32()}, pointer(x), grad_w, pointer(grad_y),
                  grad_type == type);
}

}  // namespace cuda
}  // namespace mindgap
