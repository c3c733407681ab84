// The size that the header of an image file claims, before memory is asked for it: a file of a few bytes can claim any.
#pragma once

#include <mindgap/core/dtype.hpp>
#include <mindgap/core/error.hpp>

#include <string>

namespace mindgap::detail {

// format: "png", for the message.
inline void check_image_claim(const std::string& format, i64 h, i64 w, const std::string& file) {
  constexpr i64 most = i64(1) << 28;  // 16,384 x 16,384: 768 MiB of RGB
  if (h > most / w)                   // no format knows images without pixels
    throw Error(text(format, ": the file claims an image of ", w, " x ", h, " pixels, more than ", most),
                {{"file", file}, {"remedy", "check that it is the file that is meant, or make the image smaller"}});
}

}  // namespace mindgap::detail
