// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <string>
#include <vector>

namespace lodestar {
namespace {

// Key 00 01 .. 0f, message 00 01 .. n-1. The first is also the first vector of
// Rust's standard library for SipHash-1-3; all come from a second implementation
// (Python integers) that gives the published value a129ca6149be45e5 for
// SipHash-2-4 of 15 bytes.
TEST(SipHash13, ReferenceVectors) {
  std::string message;
  const HashKey key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  for (int i = 0; i < 64; ++i) message.push_back(static_cast<char>(i));
  const struct {
    std::size_t size;
    std::uint64_t hash;
  } vectors[] = {{0, 0xabac0158050fc4dcULL},  {1, 0xc9f49bf37d57ca93ULL},
                 {7, 0xd3927d989bb11140ULL},  {8, 0x369095118d299a8eULL},
                 {15, 0xd320d86d2a519956ULL}, {16, 0xcc4fdd1a7d908b66ULL},
                 {63, 0x9d199062b7bbb3a8ULL}};
  for (const auto& v : vectors) EXPECT_EQ(siphash13(key, message.data(), v.size), v.hash) << v.size;
}

TEST(SipHash13, KeyAndEveryByteMatter) {
  const std::string text = "the same prompt, told twice";
  const std::uint64_t h = siphash13({1, 2}, text);
  EXPECT_NE(h, siphash13({1, 3}, text));
  EXPECT_NE(h, siphash13({2, 2}, text));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = static_cast<char>(other[i] ^ 1);
    EXPECT_NE(h, siphash13({1, 2}, other)) << i;
  }
  EXPECT_NE(siphash13({1, 2}, std::string(3, '\0')), siphash13({1, 2}, std::string(4, '\0')));
}

TEST(SipHash13, UnalignedInputGivesTheSame) {
  std::vector<char> buffer(64, 'x');
  const std::string text = "aligned or not";
  for (std::size_t offset = 0; offset < 8; ++offset) {
    std::copy(text.begin(), text.end(), buffer.begin() + static_cast<std::ptrdiff_t>(offset));
    EXPECT_EQ(siphash13({5, 6}, buffer.data() + offset, text.size()), siphash13({5, 6}, text));
  }
}

// From a second implementation in Python.
TEST(Hash, GoldenValues) {
  EXPECT_EQ(mix64(1), 0x5692161d100b05e5ULL);
  EXPECT_EQ(hash_combine(1, 2), 0xcd0dc73fecce2871ULL);
  EXPECT_EQ(hash_string(""), 0xf52a15e9a9b5e89bULL);
  EXPECT_EQ(hash_string("abc"), 0x0dd490490804b508ULL);
}

TEST(Hash, CombineDependsOnOrder) {
  EXPECT_NE(hash_combine(hash_combine(0, 1), 2), hash_combine(hash_combine(0, 2), 1));
}

TEST(Hash, OneBitInFlipsHalfOut) {
  double flipped = 0;
  int trials = 0;
  for (std::uint64_t x = 1; x < 200; ++x)
    for (int bit = 0; bit < 64; ++bit, ++trials)
      flipped += std::popcount(mix64(x) ^ mix64(x ^ (1ULL << bit)));
  EXPECT_NEAR(flipped / trials, 32, 0.5);
  std::set<std::uint64_t> seen;
  for (std::uint64_t x = 0; x < 100000; ++x) seen.insert(mix64(x));
  EXPECT_EQ(seen.size(), 100000u) << "a bijection has no collisions";
}

}  // namespace
}  // namespace lodestar
