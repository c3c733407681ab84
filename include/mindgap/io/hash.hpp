// SHA-256 by OpenSSL, the content hash of data sets, chunks, generators and plans: the digits of sha256sum and Python's hashlib.
// And CRC-32 by zlib, the checksum of lines and of chunks of PNG files.
#pragma once

#include <mindgap/core/dtype.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace mindgap {

class Sha256 {
 public:
  Sha256();
  Sha256& update(std::string_view bytes);
  // The 64 hexadecimal digits; the object is spent afterwards.
  std::string hex();

 private:
  std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

inline std::string sha256(std::string_view bytes) { return Sha256().update(bytes).hex(); }

u32 crc32(std::string_view bytes);

// Of a large file, on all cores: SHA-256 over the SHA-256 (64 digits each) of its pieces of 16 MiB, in their order.
std::string tree_hash_of_file(const std::filesystem::path& path);

}  // namespace mindgap

#if !defined(MINDGAP_GLUE)
#include <mindgap/io/hash.ipp>
#endif
