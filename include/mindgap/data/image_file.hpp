// Image files of people: PNG or JPEG, whatever their name says.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <filesystem>

namespace mindgap {

// [h, w, 3] RGB. Throws for a file that is neither, or is damaged, and above 1 GiB.
Tensor<u8, 3, Cpu> read_image(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_file.ipp>
#endif
