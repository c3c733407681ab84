// UNet2DModel at its usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/models/unet.hpp>
#include <mindgap/nn/instances.hpp>
#include <mindgap/nn/state_dict.hpp>

#define MINDGAP_UNET(word, D, T)                                                                                             \
  word template UNet2DModel<D, Precision<T>>::UNet2DModel(const UNetConfig&);                                                \
  word template Tensor<T, 4, D> UNet2DModel<D, Precision<T>>::operator()(const Tensor<T, 4, D>&, const Tensor<float, 1, D>&, \
                                                                         const Tensor<i64, 1, D>&, Location) const;          \
  word template Var<T, 4, D> UNet2DModel<D, Precision<T>>::operator()(const Var<T, 4, D>&, const Tensor<float, 1, D>&,       \
                                                                      const Tensor<i64, 1, D>&, Location) const;             \
  word template std::vector<std::string> reinitialise(UNet2DModel<D, Precision<T>>&, u64, const std::vector<std::string>&,   \
                                                      Location);                                                             \
  word template void initialise(UNet2DModel<D, Precision<T>>&, u64);                                                         \
  word template std::vector<StateItem> state_items(UNet2DModel<D, Precision<T>>&, const std::string&);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_UNET, extern)
MINDGAP_CUDA_TYPES(MINDGAP_UNET, extern)

}  // namespace mindgap
