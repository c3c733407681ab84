// Image and label files in the IDX format (MNIST, Fashion-MNIST), plain or gzipped.
//
//   images  u32 0x00000803, u32 N, u32 H, u32 W, N H W bytes      ->  u8 [N, H, W, 1]
//   labels  u32 0x00000801, u32 N, N bytes                        ->  i64 [N]
//
// Numbers are big-endian. A file must end exactly where its header says, and a gzipped one must pass its checksum; anything
// else is an Error that names the file. Left out: element types other than bytes.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <filesystem>

namespace mindgap {

Tensor<u8, 4, Cpu> read_idx_images(const std::filesystem::path& path);
Tensor<i64, 1, Cpu> read_idx_labels(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/idx.ipp>
#endif
