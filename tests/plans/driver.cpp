// A CUDA driver for machines without one: libcuda.so.1 as cuDNN looks it up while it makes plans. Kernels compile and are
// "loaded"; there is no device, so nothing runs. The names are those that cuDNN 9.19 asks for, and it wants them all; another
// version names on standard error what it misses.
#include <cstddef>

namespace {

constexpr int success = 0, no_device = 100;
int object;  // what handles point to

}  // namespace

#define SUCCEEDS(name) \
  int name() { return success; }
#define GIVES_HANDLE(name)  \
  int name(void** handle) { \
    *handle = &object;      \
    return success;         \
  }
#define GIVES_NUMBER(name, type, value) \
  int name(type* out) {                 \
    *out = value;                       \
    return success;                     \
  }
#define GIVES_TEXT(name)             \
  int name(int, const char** text) { \
    *text = "an error";              \
    return success;                  \
  }

extern "C" {

int cuInit() { return no_device; }
GIVES_NUMBER(cuDriverGetVersion, int, 13000)
GIVES_NUMBER(cuDeviceGetCount, int, 0)
SUCCEEDS(cuDeviceGet)
GIVES_TEXT(cuGetErrorName)
GIVES_TEXT(cuGetErrorString)
GIVES_HANDLE(cuCtxGetCurrent)
GIVES_HANDLE(cuCtxPopCurrent)
SUCCEEDS(cuCtxPushCurrent)
GIVES_NUMBER(cuCtxGetLimit, std::size_t, 0)
SUCCEEDS(cuStreamGetCtx)
SUCCEEDS(cuLinkCreate)
SUCCEEDS(cuLinkAddData)
SUCCEEDS(cuLinkComplete)
SUCCEEDS(cuLinkDestroy)
GIVES_HANDLE(cuModuleLoadData)
GIVES_HANDLE(cuModuleGetFunction)
SUCCEEDS(cuFuncSetAttribute)
GIVES_HANDLE(cuLibraryLoadData)
GIVES_HANDLE(cuLibraryLoadFromFile)
GIVES_HANDLE(cuLibraryGetKernel)
SUCCEEDS(cuLibraryUnload)
SUCCEEDS(cuKernelSetAttribute)
GIVES_NUMBER(cuKernelGetAttribute, int, 0)
SUCCEEDS(cuLaunchKernel)
SUCCEEDS(cuLaunchKernelEx)
SUCCEEDS(cuLaunchCooperativeKernel)
GIVES_NUMBER(cuOccupancyMaxPotentialClusterSize, int, 8)
GIVES_NUMBER(cuOccupancyMaxActiveClusters, int, 16)
GIVES_NUMBER(cuOccupancyMaxActiveBlocksPerMultiprocessor, int, 1)
GIVES_NUMBER(cuOccupancyAvailableDynamicSMemPerBlock, std::size_t, 232448)
}
