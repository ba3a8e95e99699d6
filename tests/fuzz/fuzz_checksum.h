// SPDX-License-Identifier: Apache-2.0
// Files that end in a checksum: without a correct one most mutations stop there.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/hash.h"

namespace lodestar {

// The last eight bytes become the checksum of those before (learn/file_bytes.h).
inline std::string with_checksum(std::string bytes) {
  if (bytes.size() < 8) return bytes;
  const std::uint64_t h = siphash13({}, std::string_view(bytes).substr(0, bytes.size() - 8));
  for (std::size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<char>(h >> (8 * i));
  return bytes;
}

}  // namespace lodestar
