// Use of prebuilt parts (libpng, libjpeg) from another project: a grey image as the bytes of a PNG and a JPEG file. And what
// ships is found where the library was installed, not where it was built.
#include <mindgap/data/jpeg.hpp>
#include <mindgap/data/png.hpp>
#include <mindgap/io/text_file.hpp>

#include <iostream>

int main() {
  const auto image = mindgap::Tensor<mindgap::u8, 3>::full({4, 5, 1}, 128);
  const std::string png = mindgap::encode_png(image), jpeg = mindgap::encode_jpeg(image);
  std::cout << png.size() << " and " << jpeg.size() << " bytes\n";
  const std::string merges = mindgap::shipped_file("clip/merges.txt").string();
  std::cout << merges << "\n";
  if (!merges.ends_with("share/mindgap/clip/merges.txt")) return 1;
  return png.substr(1, 3) == "PNG" && jpeg.substr(6, 4) == "JFIF" ? 0 : 1;
}
