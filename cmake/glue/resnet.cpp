// The instances that models/resnet_instances.hpp declares, for the CPU.
#define MINDGAP_GLUE
#include <mindgap/models/resnet.hpp>

namespace mindgap {
MINDGAP_CPU_TYPES(MINDGAP_RESNET, )
}
