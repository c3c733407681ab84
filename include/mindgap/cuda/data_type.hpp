// CUDA's names of element types, for the .ipp files of its libraries.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <library_types.h>

namespace mindgap::cuda::detail {

inline cudaDataType_t data_type(DType type) {
  return type == DType::f32 ? CUDA_R_32F : type == DType::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}

}  // namespace mindgap::cuda::detail
