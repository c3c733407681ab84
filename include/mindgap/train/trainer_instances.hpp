// What trains any network: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/nn/instances.hpp>
#include <mindgap/train/trainer.hpp>

#define MINDGAP_TRAINER(word, D)         \
  word template class FlatParameters<D>; \
  word template class GradientScale<D>;  \
  word template class Ema<D>;            \
  word template class Sgd<D>;            \
  word template class AdamW<D>;          \
  word template class Optimizer<D>;      \
  word template class Trainer<D>;

namespace mindgap {

MINDGAP_CPU_ONCE(MINDGAP_TRAINER, extern)
MINDGAP_CUDA_ONCE(MINDGAP_TRAINER, extern)

}  // namespace mindgap
