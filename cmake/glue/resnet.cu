// The instances that models/resnet_instances.hpp declares, for CUDA.
#define MINDGAP_GLUE
#include <mindgap/models/resnet.hpp>

namespace mindgap {
MINDGAP_CUDA_TYPES(MINDGAP_RESNET, )
}
