// The instances that diffusion/jobs_instances.hpp declares, for the CPU.
#define MINDGAP_GLUE
#include <mindgap/diffusion/jobs.hpp>

namespace mindgap {
MINDGAP_CPU_TYPES(MINDGAP_JOBS, )
}
