// The instances that study/training_instances.hpp declares; the network's are those of resnet.cpp.
#define MINDGAP_GLUE
#include <mindgap/models/resnet.hpp>
#undef MINDGAP_INSTANCES
#define MINDGAP_INSTANCES
#include <mindgap/study/training_instances.hpp>
