// A GPU that does nothing, for programs that were built with CUDA, on machines without one: preloaded, it stands in for the CUDA
// runtime, for cuBLAS, and for what of cuDNN needs a device. Memory is the host's; kernels, products and convolutions are
// counted, not run, and the host reads zeros. cuDNN makes its plans in earnest, for the card that tests/plans/h100.json
// describes, beside the driver of tests/plans.
//
// It is strict where a GPU is: a call that may not be captured, memory that was not allocated, a launch that does not fit, are
// complained of on standard error and fail as they would there (the tensors that cuDNN is given are not looked at); a program
// that ran into one ends with exit code 99. The last line of standard error counts:
//
//   pretended GPU: 2043 launches, 3 of graphs, 0 complaints
//
//   PRETENDED_GPU_MEMORY   MiB of memory; 81920
//   PRETENDED_GPU_LAUNCHES the launch that makes an illegal access: from then on every call fails; none
//   PRETENDED_GPU_TIMES    "rising": each time measured is longer than the one before, so that of two ways the first is the
//                          quicker one; all are equal
//   PRETENDED_GPU_PLANS    of the plans that cuDNN proposes for a call, how many it shows; all
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <dlfcn.h>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace {

long number(const char* variable, long otherwise) {
  const char* value = std::getenv(variable);
  return value ? std::atol(value) : otherwise;
}

using Blocks = std::map<const char*, size_t>;

struct Gpu {
  std::recursive_mutex mutex;
  Blocks device, pinned;
  std::map<const void*, size_t> shared;  // bytes of shared memory that a kernel was allowed
  bool capturing = false, broken = false;
  long captured = 0, launches = 0, graphs = 0, complaints = 0, measured = 0;
  size_t bytes = 0;
  cudaError_t last = cudaSuccess;
  const size_t memory = size_t(number("PRETENDED_GPU_MEMORY", 80 << 10)) << 20;
  const long illegal_launch = number("PRETENDED_GPU_LAUNCHES", -1);

  // Work is queued, or captured; a number of launches after it the GPU may have failed.
  void launch() { ++(capturing ? captured : launches); }
  bool failed() const { return illegal_launch >= 0 && launches + graphs >= illegal_launch; }
};
Gpu& gpu() {
  static auto* one = new Gpu;  // never destroyed: programs free memory when they end
  return *one;
}

struct Report {
  ~Report() {
    const Gpu& g = gpu();
    if (!g.launches && !g.complaints) return;  // a program that asks for no GPU
    std::fprintf(stderr, "pretended GPU: %ld launches, %ld of graphs, %ld complaints\n", g.launches, g.graphs, g.complaints);
    if (g.complaints) ::_exit(99);
  }
} report_at_exit;

int something;  // what handles point to
const cudaStream_t the_stream = reinterpret_cast<cudaStream_t>(&something);

cudaError_t refuse(cudaError_t status) { return gpu().last = status; }
cudaError_t complain(cudaError_t status, const char* why) {
  std::fprintf(stderr, "pretended GPU: %s\n", why);
  ++gpu().complaints;
  gpu().broken = true;
  return refuse(status);
}

bool within(const Blocks& blocks, const void* p, size_t bytes) {
  const char* at = static_cast<const char*>(p);
  auto next = blocks.upper_bound(at);
  if (next == blocks.begin()) return false;
  --next;
  return at + bytes <= next->first + next->second;
}
bool on_device(const void* p, size_t bytes) { return within(gpu().device, p, bytes); }

// The function of that name that this one stands in for.
template <class F>
F* original(F*, const char* name) {
  void* found = ::dlsym(RTLD_NEXT, name);
  if (found) return reinterpret_cast<F*>(found);
  std::fprintf(stderr, "pretended GPU: no %s\n", name);
  std::abort();
}
#define ORIGINAL(name) original(&name, #name)

}  // namespace

// The head of every call that reaches the device, and of those that may not be captured.
#define ENTER                        \
  std::lock_guard lock(gpu().mutex); \
  if (gpu().failed()) return refuse(cudaErrorIllegalAddress)
#define ENTER_OUTSIDE_CAPTURE \
  ENTER;                      \
  if (gpu().capturing)        \
  return complain(cudaErrorStreamCaptureUnsupported, (std::string(__func__) + " while a graph is captured").c_str())

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "pretended H100");
  properties->major = 9;
  properties->multiProcessorCount = 132;
  properties->totalGlobalMem = gpu().memory;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor         ? 9
           : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 227 << 10
                                                                  : 0;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return std::exchange(gpu().last, cudaSuccess); }
const char* cudaGetErrorName(cudaError_t) { return "pretended"; }
const char* cudaGetErrorString(cudaError_t) { return "the pretended GPU refuses"; }

// ---- memory

cudaError_t cudaMalloc(void** p, size_t bytes) {
  ENTER_OUTSIDE_CAPTURE;
  if (gpu().bytes + bytes > gpu().memory) return refuse(cudaErrorMemoryAllocation);
  void* block = ::mmap(nullptr, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return refuse(cudaErrorMemoryAllocation);
  gpu().device[static_cast<char*>(block)] = bytes;
  gpu().bytes += bytes;
  return *p = block, cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  ENTER_OUTSIDE_CAPTURE;
  const auto found = gpu().device.find(static_cast<char*>(p));
  if (found == gpu().device.end()) return complain(cudaErrorInvalidValue, "cudaFree of what cudaMalloc did not give");
  ::munmap(p, found->second + 1);
  gpu().bytes -= found->second;
  gpu().device.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  ENTER_OUTSIDE_CAPTURE;
  *p = std::calloc(1, bytes);
  gpu().pinned[static_cast<char*>(*p)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  ENTER;
  if (stream != the_stream) return complain(cudaErrorInvalidResourceHandle, "a copy on another stream");
  if ((kind != cudaMemcpyDeviceToHost && !on_device(to, bytes)) || (kind != cudaMemcpyHostToDevice && !on_device(from, bytes)))
    return complain(cudaErrorInvalidValue, "a copy beyond device memory");
  if (kind == cudaMemcpyHostToDevice && !within(gpu().pinned, from, bytes))
    return complain(cudaErrorInvalidValue, "a copy from memory that is not pinned: it would wait");
  if (gpu().capturing && kind != cudaMemcpyDeviceToDevice)
    return complain(cudaErrorStreamCaptureUnsupported, "a copy from or to the host while a graph is captured");
  if (gpu().capturing) ++gpu().captured;
  else if (kind == cudaMemcpyDeviceToHost) std::memset(to, 0, bytes);
  else std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  ENTER;
  if (!on_device(to, bytes)) return complain(cudaErrorInvalidValue, "cudaMemsetAsync beyond device memory");
  if (gpu().capturing) ++gpu().captured;
  else std::memset(to, value, bytes);
  return cudaSuccess;
}

// ---- streams, graphs, events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return *stream = the_stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ENTER_OUTSIDE_CAPTURE;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  ENTER;
  return *status = gpu().capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  ENTER_OUTSIDE_CAPTURE;
  gpu().capturing = true, gpu().broken = false, gpu().captured = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  ENTER;
  if (!std::exchange(gpu().capturing, false)) return complain(cudaErrorIllegalState, "cudaStreamEndCapture without a capture");
  if (gpu().broken) return refuse(cudaErrorStreamCaptureInvalidated);
  return *graph = reinterpret_cast<cudaGraph_t>(&something), cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t, unsigned long long) {
  ENTER_OUTSIDE_CAPTURE;
  if (!gpu().captured) return complain(cudaErrorInvalidValue, "a graph of nothing");
  return *exec = reinterpret_cast<cudaGraphExec_t>(&something), cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) {
  ENTER_OUTSIDE_CAPTURE;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  ENTER_OUTSIDE_CAPTURE;
  return ++gpu().graphs, cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = reinterpret_cast<cudaEvent_t>(&something), cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  ENTER_OUTSIDE_CAPTURE;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  ENTER_OUTSIDE_CAPTURE;
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t, void*) {
  ENTER_OUTSIDE_CAPTURE;
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  ENTER_OUTSIDE_CAPTURE;
  if (std::getenv("PRETENDED_GPU_TIMES")) ++gpu().measured;
  return *milliseconds = 1.f + 1e-3f * float(gpu().measured), cudaSuccess;
}

// ---- kernels

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int bytes) {
  ENTER;
  if (bytes > 227 << 10) return complain(cudaErrorInvalidValue, "more shared memory than a block can have");
  gpu().shared[kernel] = size_t(bytes);
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  ENTER;
  *attributes = {};
  attributes->ptxVersion = attributes->binaryVersion = 90;
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel, void**) {
  ENTER;
  if (config->stream != the_stream) return complain(cudaErrorInvalidResourceHandle, "a launch on another stream");
  // A kernel's own shared memory counts too; it is not known here.
  const auto allowed = gpu().shared.find(kernel);
  const size_t shared = config->dynamicSmemBytes;
  if (shared > size_t(40 << 10) && (allowed == gpu().shared.end() || allowed->second < shared))
    return complain(cudaErrorInvalidValue, "a launch with more shared memory than the kernel may have");
  if (config->gridDim.x == 0 || config->blockDim.x == 0 || config->blockDim.x > 1024)
    return complain(cudaErrorInvalidConfiguration, "a launch of no threads, or too many");
  gpu().launch();
  return cudaSuccess;
}

}  // extern "C"

#undef ENTER
#undef ENTER_OUTSIDE_CAPTURE

// ---- cuBLAS

#define ENTER                        \
  std::lock_guard lock(gpu().mutex); \
  if (gpu().failed()) return CUBLAS_STATUS_EXECUTION_FAILED

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  return *handle = reinterpret_cast<cublasHandle_t>(&something), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t, cublasOperation_t trans_a, cublasOperation_t trans_b, int m, int n,
                                          int k, const void*, const void* a, cudaDataType_t a_type, int lda, long long stride_a,
                                          const void* b, cudaDataType_t b_type, int ldb, long long stride_b, const void*, void* c,
                                          cudaDataType_t c_type, int ldc, long long stride_c, int batch, cublasComputeType_t,
                                          cublasGemmAlgo_t) {
  ENTER;
  const auto fits = [&](const void* p, cudaDataType_t type, int rows, int cols, int leading, long long stride) {
    const long long elements = (batch - 1) * stride + (long long)(cols - 1) * leading + rows;
    return leading >= rows && on_device(p, size_t(elements) * (type == CUDA_R_32F ? 4 : 2));
  };
  const bool plain_a = trans_a == CUBLAS_OP_N, plain_b = trans_b == CUBLAS_OP_N;
  if (m < 1 || n < 1 || k < 1 || batch < 1 || !fits(a, a_type, plain_a ? m : k, plain_a ? k : m, lda, stride_a) ||
      !fits(b, b_type, plain_b ? k : n, plain_b ? n : k, ldb, stride_b) || !fits(c, c_type, m, n, ldc, stride_c))
    return complain(cudaErrorInvalidValue, "a product beyond device memory"), CUBLAS_STATUS_INVALID_VALUE;
  gpu().launch();
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return *handle = reinterpret_cast<cublasLtHandle_t>(&something), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int wanted, cublasLtMatmulHeuristicResult_t* results,
                                              int* count) {
  *count = wanted < 2 ? wanted : 2;
  for (int i = 0; i < *count; ++i) results[i] = {}, results[i].workspaceSize = size_t(i) << 20;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void* a, cublasLtMatrixLayout_t,
                              const void* b, cublasLtMatrixLayout_t, const void*, const void* c, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t*, void* workspace, size_t bytes,
                              cudaStream_t stream) {
  ENTER;
  for (const void* p : {a, b, c, static_cast<const void*>(d)})
    if (!on_device(p, 1)) return complain(cudaErrorInvalidValue, "a product beyond device memory"), CUBLAS_STATUS_INVALID_VALUE;
  if ((bytes && !on_device(workspace, bytes)) || stream != the_stream)
    return complain(cudaErrorInvalidValue, "a product without its workspace or stream"), CUBLAS_STATUS_INVALID_VALUE;
  gpu().launch();
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

#undef ENTER

// ---- cuDNN: what names the handle's device names the described card instead

namespace {

cudnnBackendDescriptor_t described_card() {
  static const cudnnBackendDescriptor_t card = [] {
    std::ifstream file(MINDGAP_SOURCE_DIR "/tests/plans/h100.json");
    const std::string json(std::istreambuf_iterator<char>(file), {});
    cudnnBackendDescriptor_t made = nullptr;
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &made) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendSetAttribute(made, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, int64_t(json.size()),
                                 json.data()) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendFinalize(made) != CUDNN_STATUS_SUCCESS) {
      std::fprintf(stderr, "pretended GPU: tests/plans/h100.json describes no card\n");
      std::abort();
    }
    return made;
  }();
  return card;
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  return *handle = reinterpret_cast<cudnnHandle_t>(&something), CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  static const auto set = ORIGINAL(cudnnBackendSetAttribute);
  const auto set_card = [&](cudnnBackendAttributeName_t attribute) {
    const cudnnBackendDescriptor_t card = described_card();
    return set(descriptor, attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &card);
  };
  if (name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE) return CUDNN_STATUS_SUCCESS;
  if (name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE) return set_card(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
  if (name == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)
    if (const cudnnStatus_t status = set_card(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP)) return status;
  return set(descriptor, name, type, count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted, int64_t* count, void* values) {
  static const auto get = ORIGINAL(cudnnBackendGetAttribute);
  static const long most = number("PRETENDED_GPU_PLANS", 1 << 20);
  const cudnnStatus_t status = get(descriptor, name, type, wanted, count, values);
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && wanted == 0 && *count > most) *count = most;
  return status;
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  std::lock_guard lock(gpu().mutex);
  if (gpu().failed()) return CUDNN_STATUS_EXECUTION_FAILED;
  gpu().launch();
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
