// SPDX-License-Identifier: Apache-2.0
#include "base/flat_map.h"

#include <gtest/gtest.h>

#include <unordered_map>

#include "base/rng.h"

namespace lodestar {
namespace {

TEST(FlatMap, AgreesWithTheStandardMapUnderRandomOperations) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Rng rng(seed);
    FlatMap64 map;
    std::unordered_map<std::uint64_t, std::uint32_t> naive;
    // Few keys: many overwrites and erasures in the middle of probe runs.
    const std::uint64_t keys = seed % 2 == 0 ? 40 : 4000;
    for (int i = 0; i < 20000; ++i) {
      // Also keys that a weak hash would put into one cell.
      const std::uint64_t key = rng.below(2) == 0 ? rng.below(keys) : rng.below(keys) << 40;
      switch (rng.below(3)) {
        case 0: {
          const auto value = static_cast<std::uint32_t>(rng.below(1000));
          map.put(key, value);
          naive[key] = value;
          break;
        }
        case 1:
          EXPECT_EQ(map.erase(key), naive.erase(key) > 0);
          break;
        default: {
          const auto it = naive.find(key);
          ASSERT_EQ(map.find(key), it == naive.end() ? FlatMap64::kAbsent : it->second);
        }
      }
      ASSERT_EQ(map.size(), naive.size());
    }
    for (const auto& [key, value] : naive) ASSERT_EQ(map.find(key), value);
  }
}

TEST(FlatMap, ClearForgetsEverything) {
  FlatMap64 map;
  for (std::uint64_t k = 0; k < 1000; ++k) map.put(k, 1);
  EXPECT_GE(map.bytes(), 1000 * 16u);
  map.clear();
  EXPECT_EQ(map.size(), 0u);
  for (std::uint64_t k = 0; k < 1000; ++k) EXPECT_EQ(map.find(k), FlatMap64::kAbsent);
}

TEST(FlatMapDeathTest, TheAbsentValueCannotBeStored) {
  FlatMap64 map;
  EXPECT_DEATH(map.put(1, FlatMap64::kAbsent), "invariant");
}

}  // namespace
}  // namespace lodestar
