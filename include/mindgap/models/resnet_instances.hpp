// ResNet on the CPU at its usual types: compiled once into mindgap::glue (cmake/glue/), declared to everybody else.
#pragma once

#include <mindgap/models/resnet.hpp>
#include <mindgap/nn/state_dict.hpp>

#if !defined(MINDGAP_INSTANCES)
#define MINDGAP_INSTANCES extern
#endif

namespace mindgap {

MINDGAP_INSTANCES template ResNet<Cpu, Precision<float>>::ResNet(const ResNetConfig&, u64);
MINDGAP_INSTANCES template Tensor<float, 4> ResNet<Cpu, Precision<float>>::run(const Tensor<float, 4>&, i64, i64);
MINDGAP_INSTANCES template Var<float, 4> ResNet<Cpu, Precision<float>>::run(const Var<float, 4>&, i64, i64);
MINDGAP_INSTANCES template std::vector<StateItem> state_items(ResNet<Cpu, Precision<float>>&, const std::string&);

MINDGAP_INSTANCES template ResNet<Cpu, Precision<bf16>>::ResNet(const ResNetConfig&, u64);
MINDGAP_INSTANCES template Tensor<bf16, 4> ResNet<Cpu, Precision<bf16>>::run(const Tensor<bf16, 4>&, i64, i64);
MINDGAP_INSTANCES template Var<bf16, 4> ResNet<Cpu, Precision<bf16>>::run(const Var<bf16, 4>&, i64, i64);
MINDGAP_INSTANCES template std::vector<StateItem> state_items(ResNet<Cpu, Precision<bf16>>&, const std::string&);

}  // namespace mindgap
