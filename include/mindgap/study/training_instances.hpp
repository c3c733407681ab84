// Training and evaluation of students on the CPU at their usual types: compiled once into mindgap::glue (cmake/glue/).
#pragma once

#include <mindgap/study/training.hpp>

#if !defined(MINDGAP_INSTANCES)
#define MINDGAP_INSTANCES extern
#endif

namespace mindgap {

MINDGAP_INSTANCES template StudentData<Cpu, Precision<float>>::StudentData(ResNet<Cpu, Precision<float>>&, i64, const Dataset&,
                                                                           const LoaderOptions&);
MINDGAP_INSTANCES template StudentRun<Cpu, Precision<float>>::StudentRun(ResNet<Cpu, Precision<float>>&,
                                                                         const StudentData<Cpu, Precision<float>>&,
                                                                         const TrainingOptions&);
MINDGAP_INSTANCES template std::vector<float> StudentRun<Cpu, Precision<float>>::step();
MINDGAP_INSTANCES template std::vector<float> StudentRun<Cpu, Precision<float>>::wait();
MINDGAP_INSTANCES template std::vector<StateItem> StudentRun<Cpu, Precision<float>>::state();
MINDGAP_INSTANCES template Evaluation evaluate(ResNet<Cpu, Precision<float>>&, const StudentData<Cpu, Precision<float>>&);
MINDGAP_INSTANCES template i64 freeze_units(ResNet<Cpu, Precision<float>>&, const std::vector<std::string>&, StatisticsPolicy,
                                            const Dataset&, const LoaderOptions&);
MINDGAP_INSTANCES template void reestimate_statistics(ResNet<Cpu, Precision<float>>&, const std::vector<std::string>&,
                                                      const Dataset&, LoaderOptions);

MINDGAP_INSTANCES template StudentData<Cpu, Precision<bf16>>::StudentData(ResNet<Cpu, Precision<bf16>>&, i64, const Dataset&,
                                                                          const LoaderOptions&);
MINDGAP_INSTANCES template StudentRun<Cpu, Precision<bf16>>::StudentRun(ResNet<Cpu, Precision<bf16>>&,
                                                                        const StudentData<Cpu, Precision<bf16>>&,
                                                                        const TrainingOptions&);
MINDGAP_INSTANCES template std::vector<float> StudentRun<Cpu, Precision<bf16>>::step();
MINDGAP_INSTANCES template std::vector<float> StudentRun<Cpu, Precision<bf16>>::wait();
MINDGAP_INSTANCES template std::vector<StateItem> StudentRun<Cpu, Precision<bf16>>::state();
MINDGAP_INSTANCES template Evaluation evaluate(ResNet<Cpu, Precision<bf16>>&, const StudentData<Cpu, Precision<bf16>>&);
MINDGAP_INSTANCES template i64 freeze_units(ResNet<Cpu, Precision<bf16>>&, const std::vector<std::string>&, StatisticsPolicy,
                                            const Dataset&, const LoaderOptions&);
MINDGAP_INSTANCES template void reestimate_statistics(ResNet<Cpu, Precision<bf16>>&, const std::vector<std::string>&,
                                                      const Dataset&, LoaderOptions);

}  // namespace mindgap
