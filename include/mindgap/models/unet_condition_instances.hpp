// UNet2DConditionModel at its usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/models/unet_condition.hpp>
#include <mindgap/nn/instances.hpp>
#include <mindgap/nn/state_dict.hpp>

#define MINDGAP_UNET_CONDITION(word, D, T)                                                                     \
  word template UNet2DConditionModel<D, Precision<T>>::UNet2DConditionModel(const UNetConditionConfig&);       \
  word template UNet2DConditionModel<D, Precision<T>>::Text UNet2DConditionModel<D, Precision<T>>::cross_keys( \
      const Tensor<T, 3, D>&, Location) const;                                                                 \
  word template Tensor<T, 4, D> UNet2DConditionModel<D, Precision<T>>::operator()(                             \
      const Tensor<T, 4, D>&, const Tensor<float, 1, D>&, const Text&, Location) const;                        \
  word template std::vector<StateItem> state_items(UNet2DConditionModel<D, Precision<T>>&, const std::string&);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_UNET_CONDITION, extern)
MINDGAP_CUDA_TYPES(MINDGAP_UNET_CONDITION, extern)

}  // namespace mindgap
