// SPDX-License-Identifier: Apache-2.0
#include "prefix/canonical.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace lodestar {
namespace {

// Little-endian on every machine: hashes may be compared between processes.
void put_le(char* out, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

}  // namespace

CanonicalHasher::CanonicalHasher(HashKey key, std::size_t block_bytes)
    : key_(key), block_bytes_(block_bytes) {
  LODESTAR_CHECK(block_bytes_ >= kBytesPerToken && block_bytes_ % kBytesPerToken == 0);
  partial_.reserve(block_bytes_);
}

void CanonicalHasher::begin(char mode, std::string_view served_model, std::string_view adapter,
                            std::string_view tenant_salt) {
  std::string space(1, mode);
  for (std::string_view part : {served_model, adapter, tenant_salt}) {
    std::array<char, 8> length;
    put_le(length.data(), part.size(), length.size());
    space.append(length.data(), length.size()).append(part);
  }
  chain_ = siphash13(key_, space);
  partial_.clear();
  hashes_.clear();
  bytes_ = 0;
  tokens_ = 0;
}

void CanonicalHasher::begin_text(std::string_view served_model, std::string_view adapter,
                                 std::string_view tenant_salt) {
  begin('s', served_model, adapter, tenant_salt);
}

void CanonicalHasher::begin_tokens(std::string_view served_model, std::string_view adapter,
                                   std::string_view tenant_salt) {
  begin('k', served_model, adapter, tenant_salt);
}

void CanonicalHasher::close_block(std::string_view block) {
  std::array<char, 16> link;
  put_le(link.data(), chain_, 8);
  put_le(link.data() + 8, siphash13(key_, block), 8);
  chain_ = siphash13(key_, link.data(), link.size());
  hashes_.push_back(chain_);
}

void CanonicalHasher::text(std::string_view bytes) {
  bytes_ += static_cast<std::int64_t>(bytes.size());
  if (!partial_.empty()) {
    const std::size_t take = std::min(block_bytes_ - partial_.size(), bytes.size());
    partial_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (partial_.size() < block_bytes_) return;
    close_block(partial_);
    partial_.clear();
  }
  for (; bytes.size() >= block_bytes_; bytes.remove_prefix(block_bytes_))
    close_block(bytes.substr(0, block_bytes_));
  partial_.append(bytes);
}

void CanonicalHasher::mark(PromptMark what) {
  const std::array<char, 2> pair = {'\xff', static_cast<char>(what)};
  text({pair.data(), pair.size()});
}

void CanonicalHasher::digest_of(std::string_view blob) {
  // Two keyed hashes = 128 bits, in hexadecimal (no 0xFF can occur in it).
  static constexpr char kDigits[] = "0123456789abcdef";
  const HashKey second{key_.k1, ~key_.k0};
  std::array<char, 32> hex;
  for (std::size_t half = 0; half < 2; ++half) {
    const std::uint64_t h = siphash13(half == 0 ? key_ : second, blob);
    for (std::size_t i = 0; i < 16; ++i) hex[half * 16 + i] = kDigits[(h >> (60 - 4 * i)) & 15];
  }
  text({hex.data(), hex.size()});
}

void CanonicalHasher::token(std::uint32_t id) {
  std::array<char, kBytesPerToken> bytes;
  put_le(bytes.data(), id, bytes.size());
  text({bytes.data(), bytes.size()});
  ++tokens_;
}

}  // namespace lodestar
