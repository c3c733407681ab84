// Use of prebuilt parts (libpng, libjpeg) from another project: a grey image as the bytes of a PNG and a JPEG file.
#include <mindgap/data/jpeg.hpp>
#include <mindgap/data/png.hpp>

#include <iostream>

int main() {
  const auto image = mindgap::Tensor<mindgap::u8, 3>::full({4, 5, 1}, 128);
  const std::string png = mindgap::encode_png(image), jpeg = mindgap::encode_jpeg(image);
  std::cout << png.size() << " and " << jpeg.size() << " bytes\n";
  return png.substr(1, 3) == "PNG" && jpeg.substr(6, 4) == "JFIF" ? 0 : 1;
}
