// The instances that diffusion/jobs_instances.hpp declares, for CUDA.
#define MINDGAP_GLUE
#include <mindgap/diffusion/jobs.hpp>

namespace mindgap {
MINDGAP_CUDA_TYPES(MINDGAP_JOBS, )
}
