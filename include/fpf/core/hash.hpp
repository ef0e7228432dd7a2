// SHA-256 (FIPS 180-4) and HMAC (RFC 2104) through libcrypto.
#pragma once

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstddef>
#include <fpf/core/error.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fpf {

/// Incremental SHA-256. Feed bytes with update(), read the 64 lower-case hexadecimal digits once with hex().
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
      throw std::runtime_error("libcrypto cannot start SHA-256");
  }

  Sha256& update(std::span<const std::byte> bytes) {
    if (!bytes.empty() && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
      throw std::runtime_error("libcrypto cannot continue SHA-256");
    return *this;
  }
  Sha256& update(std::string_view text) { return update(std::as_bytes(std::span(text))); }

  std::string hex() {
    std::array<unsigned char, 32> digest{};
    if (EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) != 1)
      throw std::runtime_error("libcrypto cannot finish SHA-256");
    std::string out;
    for (const unsigned char byte : digest) out += fmt::format("{:02x}", byte);
    return out;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

inline std::string sha256_hex(std::span<const std::byte> bytes) { return Sha256{}.update(bytes).hex(); }
inline std::string sha256_hex(std::string_view text) { return Sha256{}.update(text).hex(); }

/// HMAC-SHA256 of a text under a key of any length: 32 bytes.
inline std::string hmac_sha256(std::string_view key, std::string_view text) {
  std::string out(32, '\0');
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
           text.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr) == nullptr)
    throw std::runtime_error("libcrypto cannot make an HMAC");
  return out;
}

/// In a time that does not depend on where two texts of one length differ.
inline bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace fpf
