// From the names of a device and a precision, as on a command line, to the types that code is written for.
//
//   with_precision("auto", "bf16", [&]<class D, class P>(D, P) { ResNet<D, P> net(config, seed); ... });
//
// What this build or this machine lacks is an Error; a program that would rather say it in its own words asks first.
#pragma once

#include <mindgap/cpu/library.hpp>
#include <mindgap/cuda/library.hpp>
#include <mindgap/nn/parameter.hpp>

namespace mindgap {

#if defined(__CUDACC__)
constexpr bool built_for_cuda = true;
static inline bool gpu_available() { return Runtime<Cuda>::available(); }
#else
constexpr bool built_for_cuda = false;
static inline bool gpu_available() { return false; }
#endif

// f(Cpu{}) or f(Cuda{}), for "cpu", "cuda" or "auto", which takes the GPU where this build and this machine have one.
template <class F>
auto with_device(const std::string& device, F&& f) {
  if (device != "cpu" && device != "cuda" && device != "auto")
    throw Error("there is no device '" + device + "'", {{"remedy", "use cpu, cuda or auto"}});
#if defined(__CUDACC__)
  if (device != "cpu" && gpu_available()) return f(Cuda{});
#endif
  if (device == "cuda")
    throw Error(built_for_cuda ? "this machine has no GPU that this build can use" : "this build has no CUDA",
                {{"remedy", built_for_cuda ? "install a GPU driver for CUDA 13" : "configure with -DMINDGAP_CUDA=ON"}});
  return f(Cpu{});
}

// f(D{}, Precision<T>{}). The CPU has "f32" and "bf16", which is slow where it has no instructions for it (cpu::has_bf16); a GPU
// has "f16" and "tf32" (f32 with products rounded to 10 bits of mantissa) too.
template <class F>
auto with_precision(const std::string& device, const std::string& precision, F&& f) {
  return with_device(device, [&]<class D>(D d) {
    if (precision == "bf16") return f(d, Precision<bf16>{});
#if defined(__CUDACC__)
    if constexpr (std::is_same_v<D, Cuda>) {
      if (precision == "f16") return f(d, Precision<f16>{});
      cuda::allow_tf32() = precision == "tf32";
      if (precision == "tf32") return f(d, Precision<float>{});
    }
#endif
    if (precision != "f32")
      throw Error(text("the ", D::name, " does not compute in '", precision, "'"),
                  {{"remedy", "use f32 or bf16, and on a GPU tf32 or f16"}});
    return f(d, Precision<float>{});
  });
}

}  // namespace mindgap
