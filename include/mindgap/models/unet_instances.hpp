// UNet2DModel on the CPU at its usual types: compiled once into mindgap::glue (cmake/glue/), declared to everybody else.
#pragma once

#include <mindgap/models/unet.hpp>
#include <mindgap/nn/state_dict.hpp>

#if !defined(MINDGAP_INSTANCES)
#define MINDGAP_INSTANCES extern
#endif

namespace mindgap {

MINDGAP_INSTANCES template UNet2DModel<Cpu, Precision<float>>::UNet2DModel(const UNetConfig&, u64);
MINDGAP_INSTANCES template Tensor<float, 4> UNet2DModel<Cpu, Precision<float>>::operator()(const Tensor<float, 4>&,
                                                                                           const Tensor<float, 1>&,
                                                                                           const Tensor<i64, 1>&) const;
MINDGAP_INSTANCES template Var<float, 4> UNet2DModel<Cpu, Precision<float>>::operator()(const Var<float, 4>&,
                                                                                        const Tensor<float, 1>&,
                                                                                        const Tensor<i64, 1>&) const;
MINDGAP_INSTANCES template std::vector<StateItem> state_items(UNet2DModel<Cpu, Precision<float>>&, const std::string&);

MINDGAP_INSTANCES template UNet2DModel<Cpu, Precision<bf16>>::UNet2DModel(const UNetConfig&, u64);
MINDGAP_INSTANCES template Tensor<bf16, 4> UNet2DModel<Cpu, Precision<bf16>>::operator()(const Tensor<bf16, 4>&,
                                                                                         const Tensor<float, 1>&,
                                                                                         const Tensor<i64, 1>&) const;
MINDGAP_INSTANCES template Var<bf16, 4> UNet2DModel<Cpu, Precision<bf16>>::operator()(const Var<bf16, 4>&,
                                                                                      const Tensor<float, 1>&,
                                                                                      const Tensor<i64, 1>&) const;
MINDGAP_INSTANCES template std::vector<StateItem> state_items(UNet2DModel<Cpu, Precision<bf16>>&, const std::string&);

}  // namespace mindgap
