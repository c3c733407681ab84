// cuDNN's graph interface, for the files that describe one call each (cudnn.ipp, cudnn_attention.ipp): descriptors, a graph of
// operations, the plans that cuDNN proposes for it, and the choice among them.
//
// A graph is described by finalized descriptors; heuristics propose engine configurations; a configuration makes a plan; a
// variant pack gives a plan its pointers. A call of ours is a key: a struct of its extents and types with
//
//   operator<=>, str()       its name in the autotune cache
//   graph()                  the OperationGraph
//   rules()                  which plans may be taken
//
// The first call of a key makes its plan: the one that the cache names, else the fastest of those that cuDNN proposes. This
// allocates and waits; later calls only queue. Includes cuDNN: for .ipp files alone.
#pragma once

#include <mindgap/core/error.hpp>
#include <mindgap/cuda/autotune_cache.hpp>
#include <mindgap/cuda/timing.hpp>

#include <algorithm>
#include <cstdint>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <deque>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mindgap::cuda::detail {

// A failure inside cuDNN; caught where a plan is looked for, where another one may do.
struct CudnnFailure : LibraryFailure {
  explicit CudnnFailure(cudnnStatus_t s) : status(s) {}
  cudnnStatus_t status;
};
inline void check(cudnnStatus_t status) {
  if (status != CUDNN_STATUS_SUCCESS) throw CudnnFailure(status);
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
  Descriptor& set(cudnnBackendAttributeName_t name, const std::string& value) {
    check(cudnnBackendSetAttribute(handle_, name, CUDNN_TYPE_CHAR, i64(value.size()), value.data()));
    return *this;
  }
  Descriptor& finalize() {
    check(cudnnBackendFinalize(handle_));
    return *this;
  }
  cudnnBackendDescriptor_t get() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

inline cudnnDataType_t cudnn_type(DType type) {
  return type == DType::f32 ? CUDNN_DATA_FLOAT : type == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

// What plans are made for: the GPU of a handle, or a card that is only described.
class Card {
 public:
  explicit Card(cudnnHandle_t handle) : handle_(handle) {}
  explicit Card(const std::string& description) : described_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
    described_->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, description).finalize();
  }

  void name_in_graph(Descriptor& graph) const {
    if (!described_) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle_);
  }
  void name_in_heuristics(Descriptor& heuristics) const {
    if (described_) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *described_);
  }
  void name_in_plan(Descriptor& plan) const {
    if (described_) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *described_);
    else plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
  }

 private:
  cudnnHandle_t handle_ = nullptr;
  std::optional<Descriptor> described_;
};

using Extents = std::vector<i64>;

// Operations, and the tensors that they read and write. cuDNN knows tensors by numbers: those in the caller's memory have a
// number of the caller's, which their pointers are given under; those inside the graph are numbered here.
class OperationGraph {
 public:
  // A tensor in the caller's memory, which begins at a multiple of 16 bytes.
  const Descriptor& tensor(i64 id, DType type, const Extents& extents, const Extents& strides) {
    return filled(id, type, extents, strides).finalize();
  }
  // A tensor that exists inside the plan only.
  const Descriptor& between(DType type, const Extents& extents, const Extents& strides) {
    return filled(next_++, type, extents, strides).set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true).finalize();
  }
  // An f32 in the host's memory, for operations on tensors of four axes.
  const Descriptor& scalar(i64 id) {
    const Extents ones(4, 1);
    return filled(id, DType::f32, ones, ones).set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true).finalize();
  }

  // c = a b, over the last two axes
  void matmul(const Descriptor& c, const Descriptor& a, const Descriptor& b) {
    Descriptor& how = make(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT).finalize();
    operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
        .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how)
        .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a)
        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b)
        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c)
        .finalize();
  }
  // y = mode(x) or mode(x, b); extents of one in b are repeated
  void pointwise(cudnnPointwiseMode_t mode, const Descriptor& y, const Descriptor& x, const Descriptor* b = nullptr) {
    Descriptor& how = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .finalize();
    Descriptor& out = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    out.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (b) out.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    out.finalize();
  }
  // y = x reduced over the axes where y has an extent of one
  void reduce(cudnnReduceTensorOp_t op, const Descriptor& y, const Descriptor& x) {
    Descriptor& how = make(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, op)
        .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .finalize();
    operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y)
        .finalize();
  }
  // The sums of x over all axes but the channels', and of its squares
  void sums(const Descriptor& sum, const Descriptor& square, const Descriptor& x) {
    operation(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_TYPE_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, sum)
        .set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, square)
        .finalize();
  }
  // y = the elements of x under y's extents and strides: a transpose
  void reshape(const Descriptor& y, const Descriptor& x) {
    operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
        .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y)
        .finalize();
  }

  // A descriptor that the graph keeps; an operation besides takes part in it. The caller fills and finalizes them.
  Descriptor& make(cudnnBackendDescriptorType_t type) { return kept_.emplace_back(type); }
  Descriptor& operation(cudnnBackendDescriptorType_t type) {
    Descriptor& out = make(type);
    operations_.push_back(out.get());
    return out;
  }

  Descriptor finalized(const Card& card) const {
    Descriptor out(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    card.name_in_graph(out);
    out.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations_).finalize();
    return out;
  }

 private:
  Descriptor& filled(i64 id, DType type, const Extents& extents, const Extents& strides) {
    return make(CUDNN_BACKEND_TENSOR_DESCRIPTOR)
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, cudnn_type(type))
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, extents)
        .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides)
        .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, i64(16));
  }

  std::deque<Descriptor> kept_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  i64 next_ = 100;
};

// Which plans may be taken. Always: no sums in less than f32.
struct Rules {
  bool exact_f32;  // no TF32, to which tensor cores round f32; no Winograd or FFT, whose transforms lose digits
  bool any_bits;   // may differ from run to run
  i64 most_workspace;
  int most_tried;     // of cuDNN's proposals, the most promising first
  int most_compiled;  // of these, where cuDNN would compile the kernel, which takes a second or two
};

struct Pointer {
  i64 id;
  void* to;
};

struct Plan {
  Descriptor configuration, plan;
  i64 workspace_bytes = 0;
  int place = 0;  // in cuDNN's list

  void run(cudnnHandle_t handle, void* workspace, std::span<const Pointer> pointers) const {
    std::vector<i64> ids;
    std::vector<void*> to;
    for (const Pointer& p : pointers) ids.push_back(p.id), to.push_back(p.to);
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, to)
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
        .finalize();
    check(cudnnBackendExecute(handle, plan.get(), pack.get()));
  }
};

// What cuDNN says of the engine of a configuration: of the numbers that it computes, and of how it comes about.
struct Notes {
  std::vector<cudnnBackendNumericalNote_t> numerical;
  std::vector<cudnnBackendBehaviorNote_t> behaviour;

  explicit Notes(const Descriptor& configuration) {
    Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t handle = engine.get();
    i64 count = 0;
    check(cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                   &handle));
    const auto read = [&](auto& notes, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) {
      notes.resize(64);  // more than there are of either kind, in later versions too
      check(cudnnBackendGetAttribute(handle, name, type, i64(notes.size()), &count, notes.data()));
      notes.resize(size_t(count));
    };
    read(numerical, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
    read(behaviour, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE);
  }

  bool compiles() const {
    return std::find(behaviour.begin(), behaviour.end(), CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != behaviour.end();
  }
  bool allowed_by(const Rules& rules) const {
    if (compiles() && rules.most_compiled == 0) return false;
    return std::none_of(numerical.begin(), numerical.end(), [&](cudnnBackendNumericalNote_t note) {
      switch (note) {
        case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
          return true;
        case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
          return !rules.any_bits;
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        case CUDNN_NUMERICAL_NOTE_FFT:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
          return rules.exact_f32;
        default:
          return false;
      }
    });
  }
};

// Without the means to compile kernels cuDNN proposes those that come with it, or none, which looks like success; only its latest
// messages tell. Said once.
inline void say_if_it_cannot_compile() {
  char messages[4096] = "";
  cudnnGetLastErrorString(messages, sizeof messages);
  const std::string_view all(messages), missing = "RUNTIME_PREREQUISITE_MISSING";
  const size_t at = all.find(missing);
  if (at == all.npos) return;
  static std::once_flag said;
  std::call_once(said, [&] {
    const size_t begin = all.rfind('\n', at) + 1;  // 0 where it is the first line
    warn(Error("cuda: cuDNN cannot compile kernels here, so that some calls take slower ways or have none",
               {{"cudnn", cudnn_version() + ", " + std::string(all.substr(begin, all.find('\n', at) - begin))},
                {"remedy", "let LD_LIBRARY_PATH name the folders of libnvrtc.so (CUDA toolkit) and libcuda.so.1 (driver)"}}));
  });
}

// The configurations that cuDNN proposes in one mode, the one it thinks best first.
inline std::vector<Descriptor> proposals(const Descriptor& graph, const Card& card, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  card.name_in_heuristics(heuristics);
  heuristics.finalize();
  i64 count = 0;
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count,
                                 nullptr));
  std::vector<Descriptor> out;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (i64 i = 0; i < count; ++i) handles.push_back(out.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  check(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count,
                                 handles.data()));
  say_if_it_cannot_compile();
  out.erase(out.begin() + count, out.end());
  return out;
}
// All of them, then those that cuDNN falls back on.
inline std::vector<Descriptor> proposals(const Descriptor& graph, const Card& card) {
  std::vector<Descriptor> out;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) try {
      std::vector<Descriptor> more = proposals(graph, card, mode);
      std::move(more.begin(), more.end(), std::back_inserter(out));
    } catch (const CudnnFailure&) {  // none in this mode
    }
  return out;
}

// The plan of one configuration, or nothing where cuDNN cannot make it or it breaks the rules.
inline std::unique_ptr<Plan> make_plan(const Card& card, Descriptor configuration, int place, const Rules& rules) {
  try {
    if (!Notes(configuration).allowed_by(rules)) return nullptr;
    Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    card.name_in_plan(plan);
    plan.finalize();
    i64 bytes = 0, count = 0;
    check(cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes));
    if (bytes > rules.most_workspace) return nullptr;
    return std::make_unique<Plan>(Plan{std::move(configuration), std::move(plan), bytes, place});
  } catch (const CudnnFailure&) {
    return nullptr;
  }
}

inline cudnnHandle_t cudnn(Stream stream) {
  static const cudnnHandle_t created = [&] {
    refuse_while_capturing(stream, "cuDNN cannot be started");
    cudnnHandle_t h = nullptr;
    const cudnnStatus_t status = cudnnCreate(&h);
    if (status != CUDNN_STATUS_SUCCESS)
      throw DeviceError("cuda: cuDNN did not start",
                        {{"cudnn", cudnnGetErrorString(status)}, {"remedy", "is there a GPU with a driver for CUDA 13?"}});
    return h;
  }();
  cudnnSetStream(created, stream);
  return created;
}

// One call at a time: handle, stream and plans are shared.
inline std::mutex& cudnn_mutex() {
  static std::mutex mutex;
  return mutex;
}

// The plan of a key: the one that is kept, or that the cache names, or the fastest of the first that can be made. Null,
// and remembered as such, where there is none. The pointers are for timing; what they write is overwritten.
template <class Key>
Plan* plan_for(cudnnHandle_t handle, Stream stream, const Key& key, std::span<const Pointer> pointers) {
  static std::map<Key, std::unique_ptr<Plan>> made;
  if (auto found = made.find(key); found != made.end()) return found->second.get();
  refuse_while_capturing(stream, "no plan can be made for " + key.str());
  const std::string name = key.str();
  const Card card(handle);
  std::unique_ptr<Plan> best;
  try {
    const OperationGraph operations = key.graph();
    const Descriptor graph = operations.finalized(card);
    std::vector<Descriptor> proposed = proposals(graph, card);
    const auto plan_at = [&](int place) { return make_plan(card, std::move(proposed[size_t(place)]), place, key.rules()); };
    const int known = known_place(name).value_or(-1);
    if (known >= 0 && known < int(proposed.size())) best = plan_at(known);
    if (!best) {
      TimingMemory memory;
      float least = std::numeric_limits<float>::infinity();
      const Rules rules = key.rules();
      int tried = 0, compiled = 0;
      for (int place = 0; place < int(proposed.size()) && tried < rules.most_tried; ++place) {
        if (place == known) continue;
        const Notes notes(proposed[size_t(place)]);
        if (notes.compiles() && notes.allowed_by(rules) && ++compiled > rules.most_compiled) continue;
        auto candidate = plan_at(place);
        if (!candidate || !memory.grow(candidate->workspace_bytes)) continue;
        ++tried;
        const float ms = least_time(
            stream, [&] { candidate->run(handle, memory.get(), pointers); }, least);
        if (ms < least) least = ms, best = std::move(candidate);
      }
      if (best) keep_place(name, best->place, memory.complete());
    }
  } catch (const CudnnFailure&) {  // cuDNN knows no such graph
  }
  return (made[key] = std::move(best)).get();
}

// Queues the call of a key; false where there is no plan.
template <class Key>
bool run_plan(Stream stream, Scratch scratch, const Key& key, std::span<const Pointer> pointers) {
  std::lock_guard lock(cudnn_mutex());
  const cudnnHandle_t handle = cudnn(stream);
  Plan* plan = plan_for(handle, stream, key, pointers);
  if (!plan) return false;
  note_use(key.str());  // at every call, since uses may be counted afresh at any time
  try {
    plan->run(handle, scratch(plan->workspace_bytes), pointers);
  } catch (const CudnnFailure& failure) {
    throw DeviceError(
        "cuda: cuDNN could not run its plan",
        {{"call", key.str()},
         {"cudnn", cudnnGetErrorString(failure.status)},
         {"remedy", "run with CUDA_LAUNCH_BLOCKING=1: has a kernel failed before? else delete the autotune cache"}});
  }
  return true;
}

// Plans read and write 16 bytes at a time.
inline void require_aligned(const char* op, std::initializer_list<const void*> pointers) {
  for (const void* p : pointers)
    if (reinterpret_cast<std::uintptr_t>(p) % 16)
      throw Error(text(op, ": a tensor does not begin at a multiple of 16 bytes"), {{"remedy", "clone() the slice that it is"}});
}

inline void* writable(const void* p) { return const_cast<void*>(p); }

}  // namespace mindgap::cuda::detail
