// ResNet at its usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/models/resnet.hpp>
#include <mindgap/nn/instances.hpp>
#include <mindgap/nn/state_dict.hpp>

#define MINDGAP_RESNET(word, D, T)                                                                                               \
  word template ResNet<D, Precision<T>>::ResNet(const ResNetConfig&);                                                            \
  word template Tensor<T, 4, D> ResNet<D, Precision<T>>::run(const Tensor<T, 4, D>&, i64, i64);                                  \
  word template Var<T, 4, D> ResNet<D, Precision<T>>::run(const Var<T, 4, D>&, i64, i64);                                        \
  word template std::vector<std::string> reinitialise(ResNet<D, Precision<T>>&, u64, const std::vector<std::string>&, Location); \
  word template void initialise(ResNet<D, Precision<T>>&, u64);                                                                  \
  word template std::vector<StateItem> state_items(ResNet<D, Precision<T>>&, const std::string&);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_RESNET, extern)
MINDGAP_CUDA_TYPES(MINDGAP_RESNET, extern)

}  // namespace mindgap
