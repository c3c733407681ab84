// The instances that study/training_instances.hpp declares, for CUDA.
#define MINDGAP_GLUE
#include <mindgap/study/training.hpp>

namespace mindgap {
MINDGAP_CUDA_TYPES(MINDGAP_TRAINING, )
}
