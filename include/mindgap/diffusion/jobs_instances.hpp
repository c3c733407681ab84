// The jobs of a generator at its usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/diffusion/jobs.hpp>
#include <mindgap/nn/instances.hpp>

#define MINDGAP_JOBS(word, D, T)                                                                                        \
  word template Generator<D, Precision<T>> load_generator(const std::filesystem::path&, std::optional<SamplerKind>);    \
  word template bool train_generator<D, Precision<T>>(const GeneratorTraining&, const Dataset&, const GeneratorOutput&, \
                                                      const JobHooks&);                                                 \
  word template bool write_synthetic_set(GeneratedImages<D, Precision<T>>&, const ShardWriter&, const JobHooks&);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_JOBS, extern)
MINDGAP_CUDA_TYPES(MINDGAP_JOBS, extern)

}  // namespace mindgap
