// Loaders at their usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/data/loader.hpp>
#include <mindgap/nn/instances.hpp>

#define MINDGAP_LOADER(word, D, T) word template class Loader<T, D>;

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_LOADER, extern)
MINDGAP_CUDA_TYPES(MINDGAP_LOADER, extern)

}  // namespace mindgap
