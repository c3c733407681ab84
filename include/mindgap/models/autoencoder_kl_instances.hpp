// AutoencoderKL at its usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/models/autoencoder_kl.hpp>
#include <mindgap/nn/instances.hpp>
#include <mindgap/nn/state_dict.hpp>

#define MINDGAP_AUTOENCODER_KL(word, D, T)                                                                      \
  word template AutoencoderKL<D, Precision<T>>::AutoencoderKL(const AutoencoderConfig&);                        \
  word template Tensor<T, 4, D> AutoencoderKL<D, Precision<T>>::encode(const Tensor<T, 4, D>&, Location) const; \
  word template Tensor<T, 4, D> AutoencoderKL<D, Precision<T>>::decode(const Tensor<T, 4, D>&, Location) const; \
  word template std::vector<StateItem> state_items(AutoencoderKL<D, Precision<T>>&, const std::string&);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_AUTOENCODER_KL, extern)
MINDGAP_CUDA_TYPES(MINDGAP_AUTOENCODER_KL, extern)

}  // namespace mindgap
