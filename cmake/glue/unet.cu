// The instances that models/unet_instances.hpp declares, for CUDA.
#define MINDGAP_GLUE
#include <mindgap/models/unet.hpp>

namespace mindgap {
MINDGAP_CUDA_TYPES(MINDGAP_UNET, )
}
