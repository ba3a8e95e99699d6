// SPDX-License-Identifier: Apache-2.0
// Hashes with fixed results on every platform.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace lodestar {

// Finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection on 64 bits.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Order-dependent combination; chain it to hash a sequence. Both sides are spread
// over all bits before they meet, so small numbers (ids, indices) are safe inputs.
constexpr std::uint64_t hash_combine(std::uint64_t h, std::uint64_t v) {
  return mix64(h * 0x9e3779b97f4a7c15ULL + mix64(v + 0xd1b54a32d192ed03ULL));
}

// FNV-1a over bytes, finished by mix64. For labels and names; not keyed.
constexpr std::uint64_t hash_string(std::string_view s) {
  std::uint64_t h = 0xcbf29ce484222325ULL;
  for (char c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix64(h);
}

struct HashKey {
  std::uint64_t k0 = 0, k1 = 0;
};

// SipHash-1-3 (Aumasson, Bernstein 2012): keyed, so that a stored value tells
// nothing of the bytes to whoever has no key.
std::uint64_t siphash13(HashKey key, const void* data, std::size_t size);
inline std::uint64_t siphash13(HashKey key, std::string_view s) {
  return siphash13(key, s.data(), s.size());
}

}  // namespace lodestar
