// CLIPTextModel at its usual types: compiled once into mindgap::glue, declared to everybody else (nn/instances.hpp).
#pragma once

#include <mindgap/models/clip_text.hpp>
#include <mindgap/nn/instances.hpp>
#include <mindgap/nn/state_dict.hpp>

#define MINDGAP_CLIP_TEXT(word, D, T)                                                                                 \
  word template CLIPTextModel<D, Precision<T>>::CLIPTextModel(const ClipTextConfig&);                                 \
  word template Tensor<T, 3, D> CLIPTextModel<D, Precision<T>>::operator()(const Tensor<i64, 2, D>&, Location) const; \
  word template std::vector<StateItem> state_items(CLIPTextModel<D, Precision<T>>&, const std::string&);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_CLIP_TEXT, extern)
MINDGAP_CUDA_TYPES(MINDGAP_CLIP_TEXT, extern)

}  // namespace mindgap
