// The instances that models/unet_instances.hpp declares.
#define MINDGAP_GLUE
#define MINDGAP_INSTANCES
#include <mindgap/models/unet_instances.hpp>
