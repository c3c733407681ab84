// Image files of people: PNG or JPEG, whatever their name says, upright.
//
// A camera stores what its sensor saw and says in EXIF how to turn it. Such an image is turned, as diffusers' load_image and
// Pillow's ImageOps.exif_transpose do it; torchvision's ImageFolder and Pillow's Image.open alone do not. Left out: an
// orientation that only XMP has.
#pragma once

#include <mindgap/core/tensor.hpp>
#include <mindgap/cpu/runtime.hpp>

#include <filesystem>

namespace mindgap {

// [h, w, 3] RGB. Throws for a file that is neither, or is damaged, and above 1 GiB or 2^28 pixels.
Tensor<u8, 3, Cpu> read_image(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/data/image_file.ipp>
#endif
