// Explicit instances: what every program would compile again, compiled once into mindgap::glue at the types that programs use.
//
// A list of them is a macro of a word, a device and an element type. Its header, X_instances.hpp for MINDGAP_X, declares it to
// everybody who links the glue; of each such header cmake/Library.cmake makes a source that defines it for the CPU and one, built
// by nvcc, for CUDA:
//
//   #define MINDGAP_RESNET(word, D, T) word template ResNet<D, Precision<T>>::ResNet(const ResNetConfig&);
//
//   MINDGAP_CPU_TYPES(MINDGAP_RESNET, extern)    MINDGAP_CUDA_TYPES(MINDGAP_RESNET, extern)    declares
//   MINDGAP_CPU_TYPES(MINDGAP_RESNET, )          MINDGAP_CUDA_TYPES(MINDGAP_RESNET, )          defines
//
// A declaration does nothing for what is defined inside its class: compilers instantiate that in any case. A kernel is compiled
// with the host's function that launches it.
#pragma once

#include <mindgap/cuda/library.hpp>  // a declaration already asks what the device is

// list(word, device, element) for each element type that networks have on the device; a list of what has none is list(word,
// device).
#define MINDGAP_CPU_TYPES(list, word) list(word, Cpu, float) list(word, Cpu, bf16)
#define MINDGAP_CPU_ONCE(list, word) list(word, Cpu)
#if defined(__CUDACC__)
#define MINDGAP_CUDA_TYPES(list, word) list(word, Cuda, float) list(word, Cuda, bf16) list(word, Cuda, f16)
#define MINDGAP_CUDA_ONCE(list, word) list(word, Cuda)
#else
#define MINDGAP_CUDA_TYPES(list, word)
#define MINDGAP_CUDA_ONCE(list, word)
#endif
