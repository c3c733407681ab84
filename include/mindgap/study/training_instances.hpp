// Training and evaluation of students at their usual types: compiled once into mindgap::glue, declared to everybody else
// (nn/instances.hpp).
#pragma once

#include <mindgap/nn/instances.hpp>
#include <mindgap/study/training.hpp>

#define MINDGAP_TRAINING(word, D, T)                                                                                          \
  word template class StudentData<D, Precision<T>>;                                                                           \
  word template Trainer<D> student_trainer(ResNet<D, Precision<T>>&, const StudentData<D, Precision<T>>&,                     \
                                           const TrainingOptions&);                                                           \
  word template Evaluation evaluate(ResNet<D, Precision<T>>&, const StudentData<D, Precision<T>>&);                           \
  word template i64 freeze_units(ResNet<D, Precision<T>>&, const std::vector<std::string>&, StatisticsPolicy, const Dataset&, \
                                 const LoaderOptions&);                                                                       \
  word template void reestimate_statistics(ResNet<D, Precision<T>>&, const std::vector<std::string>&, const Dataset&,         \
                                           LoaderOptions);

namespace mindgap {

MINDGAP_CPU_TYPES(MINDGAP_TRAINING, extern)
MINDGAP_CUDA_TYPES(MINDGAP_TRAINING, extern)

}  // namespace mindgap
