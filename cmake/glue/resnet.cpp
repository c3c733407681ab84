// The instances that models/resnet_instances.hpp declares.
#define MINDGAP_GLUE
#define MINDGAP_INSTANCES
#include <mindgap/models/resnet_instances.hpp>
