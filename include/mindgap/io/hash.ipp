// Bodies of io/hash.hpp.
#pragma once

#include <mindgap/core/config.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/io/hash.hpp>

#include <openssl/evp.h>

namespace mindgap {

namespace detail {
inline void check_openssl(int status) {
  if (status != 1) throw Error("SHA-256: OpenSSL refuses it", {{"remedy", "check the system's OpenSSL configuration"}});
}
}  // namespace detail

MINDGAP_INLINE Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
  detail::check_openssl(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
}

MINDGAP_INLINE Sha256& Sha256::update(std::string_view bytes) {
  detail::check_openssl(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
  return *this;
}

MINDGAP_INLINE std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  detail::check_openssl(EVP_DigestFinal_ex(context_.get(), digest, &size));
  std::string out;
  for (unsigned i = 0; i < size; ++i) (out += "0123456789abcdef"[digest[i] >> 4]) += "0123456789abcdef"[digest[i] & 15];
  return out;
}

}  // namespace mindgap
