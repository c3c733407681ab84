// The instances that models/unet_instances.hpp declares, for the CPU.
#define MINDGAP_GLUE
#include <mindgap/models/unet.hpp>

namespace mindgap {
MINDGAP_CPU_TYPES(MINDGAP_UNET, )
}
