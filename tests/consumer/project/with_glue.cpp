// Use of a prebuilt part (libpng) from another project: a grey image as the bytes of a PNG file.
#include <mindgap/data/png.hpp>

#include <iostream>

int main() {
  const auto image = mindgap::Tensor<mindgap::u8, 3>::full({4, 5, 1}, 128);
  const std::string png = mindgap::encode_png(image);
  std::cout << png.size() << " bytes\n";
  return png.substr(1, 3) == "PNG" ? 0 : 1;
}
