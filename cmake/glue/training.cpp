// The instances that study/training_instances.hpp declares, for the CPU.
#define MINDGAP_GLUE
#include <mindgap/study/training.hpp>

namespace mindgap {
MINDGAP_CPU_TYPES(MINDGAP_TRAINING, )
}
