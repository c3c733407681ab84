// Bodies of io/hash.hpp.
#pragma once

#include <mindgap/core/config.hpp>
#include <mindgap/core/error.hpp>
#include <mindgap/io/file.hpp>
#include <mindgap/io/hash.hpp>

#include <atomic>
#include <fcntl.h>
#include <future>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <thread>
#include <vector>
#include <zlib.h>

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

MINDGAP_INLINE u32 crc32(std::string_view bytes) {
  return u32(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

MINDGAP_INLINE std::string tree_hash_of_file(const std::filesystem::path& path) {
  constexpr i64 piece = 16 << 20;
  const detail::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe would wait for its writer
  struct stat info;
  if (!file || ::fstat(file.get(), &info) != 0) detail::file_error("cannot read the file", path, errno);
  if (!S_ISREG(info.st_mode))
    throw Error("cannot read the file: it is no regular file",
                {{"file", path.string()}, {"remedy", "give the file itself, no folder, pipe or device"}});
  std::vector<std::string> hashes(size_t((i64(info.st_size) + piece - 1) / piece));
  std::atomic<size_t> next = 0;
  std::atomic<int> failed = 0;  // errno
  // Plain threads: whoever computes beside this has those of OpenMP.
  const auto work = [&] {
    std::string bytes;
    for (size_t i; (i = next++) < hashes.size() && !failed;) {
      bytes.resize(size_t(std::min<i64>(piece, i64(info.st_size) - i64(i) * piece)));
      size_t done = 0;
      while (done < bytes.size()) {
        const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done, off_t(i64(i) * piece + i64(done)));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
          failed = got < 0 ? errno : EIO;  // it became shorter
          return;
        }
        done += size_t(got);
      }
      hashes[i] = sha256(bytes);
    }
  };
  std::vector<std::future<void>> others;
  for (size_t i = 1; i < std::min<size_t>(std::thread::hardware_concurrency(), hashes.size()); ++i)
    others.push_back(std::async(std::launch::async, work));
  work();
  for (std::future<void>& other : others) other.get();
  if (failed) detail::file_error("cannot read the file", path, failed);
  Sha256 all;
  for (const std::string& hash : hashes) all.update(hash);
  return all.hex();
}

}  // namespace mindgap
